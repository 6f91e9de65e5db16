"""Remote paths, as they are typed and as they are sent.

`/` is the root of one's own tree; a leading slash is optional. A trailing slash says "into this folder", as cp
and rsync users know it; without one, a path names the very file or folder that is meant.
"""

import msgspec

from client.errors import Refused
from shared.domain.errors import Malformed, NameRefused
from shared.domain.names import MAX_DEPTH, parse_path


class RemotePath(msgspec.Struct, frozen=True):
    """`names` from the root down, none for the root itself; `into` when it was typed with a trailing slash."""

    names: tuple[str, ...]
    into: bool = False

    def __str__(self) -> str:
        return "/" + "/".join(self.names)

    @property
    def name(self) -> str:
        return self.names[-1] if self.names else ""

    def child(self, *names: str) -> "RemotePath":
        """The path of something below this one; raises Refused for a name that Strata doesn't hold."""
        below = parse_remote("/".join(names))
        if len(self.names) + len(below.names) > MAX_DEPTH:
            raise Refused(
                f"{self}/{'/'.join(names)}: a path may have at most {MAX_DEPTH} names", code="name_refused"
            )
        return RemotePath((*self.names, *below.names))


def parse_remote(text: str) -> RemotePath:
    """Read a path; raises Refused, saying which name can't be and why."""
    trimmed = text.removesuffix("/") if text != "/" else text
    try:
        names = parse_path(trimmed)
    except (Malformed, NameRefused) as error:
        raise Refused(str(error), code=error.code) from None
    return RemotePath(tuple(name.text for name in names), into=text.endswith("/"))
