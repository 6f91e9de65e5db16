"""Which names of this disk the server keeps as well."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.domain.errors import StrataError

# Names that no rule is about. Nearly all are such, and looking at the rules takes longer than looking at the disk.
_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_. -]{0,120}[A-Za-z0-9_-])?")
_LIKE_DEVICES = frozenset({"con", "prn", "aux", "nul", "com", "lpt"})


def why_not_kept(name: str) -> "StrataError | None":
    """Why a name can't be kept on the server; None for one that can."""
    if _PLAIN.fullmatch(name) and name[:3].lower() not in _LIKE_DEVICES:
        return None
    from shared.domain.errors import Malformed, NameRefused
    from shared.domain.names import parse_name

    try:
        parse_name(name)
    except (Malformed, NameRefused) as error:
        return error
    return None
