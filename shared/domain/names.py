"""Names and paths that every system can hold.

A name is stored as it is given, in Unicode's composed form (NFC). Two names clash in a folder when their
keys are equal: NFC(casefold(NFC(name))), since the file systems of Windows and macOS can't keep such a
pair apart. Refused are names that some client could not create, or that could deceive the reader; the
reasons stand beside the rules. Characters that this Unicode version doesn't know are allowed: the next will.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from shared.domain.errors import Malformed, NameRefused

MAX_NAME_BYTES = 255
"""Of UTF-8: the limit of ext4, APFS and most others."""

MAX_DEPTH = 64
"""Folders above a file: deep enough for people, shallow enough that walking up is cheap."""

_SEPARATORS = re.compile(r"[/\\]")
_WINDOWS_CHARACTERS = re.compile(r'[<>:"|?*]')
# Bidirectional overrides and isolates make "gpj.exe" read as "exe.jpg".
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
# C0, DEL, C1, and the two separators that some programs take for line ends.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# U+FDD0 to U+FDEF, and the last two of each plane: Unicode promises never to give them a meaning.
_NONCHARACTERS = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
# Windows opens a device for these, with any extension; the superscripts count as digits there.
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it is shown (`text`), and what it clashes by (`key`)."""

    text: str
    key: str


# A path's folders come again with every file in them.
@lru_cache(4096)
def parse_name(raw: str) -> Name:
    """Return the name to store; raises Malformed for lone surrogates, NameRefused for all else, with why."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise Malformed("a name must be valid Unicode: this one has a lone surrogate") from None
    text = unicodedata.normalize("NFC", raw)
    reason = _refusal(text)
    if reason:
        raise NameRefused(f"{_shown(text)!r}: {reason}")
    return Name(text, name_key(text))


def name_key(text: str) -> str:
    """What two clashing names have in common."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def parse_path(raw: str) -> tuple[Name, ...]:
    """Return the names of a path, outermost first; a leading slash is optional, `/` alone is the empty tuple.

    Raises what `parse_name` raises: doubled or trailing slashes are empty names.
    """
    inner = raw.removeprefix("/")
    if not inner:
        return ()
    names = tuple(parse_name(part) for part in inner.split("/"))
    if len(names) > MAX_DEPTH:
        raise NameRefused(f"a path may have at most {MAX_DEPTH} names")
    return names


def _refusal(text: str) -> str | None:
    if not text:
        return "a name can't be empty"
    if text in (".", ".."):
        return "this name means a folder itself or its parent"
    if len(text.encode()) > MAX_NAME_BYTES:
        return f"a name may have at most {MAX_NAME_BYTES} bytes of UTF-8"
    if _SEPARATORS.search(text):
        return "a name can't contain a slash or a backslash"
    if _CONTROL.search(text):
        return "a name can't contain control characters"
    if _BIDI.search(text):
        return "a name can't contain characters that reverse the reading direction"
    if _NONCHARACTERS.search(text):
        return "a name can't contain Unicode noncharacters"
    if _WINDOWS_CHARACTERS.search(text):
        return "Windows can't store names with any of < > : \" | ? *"
    if text.endswith((".", " ")):
        return "Windows can't store names that end with a dot or a space"
    if _WINDOWS_DEVICES.fullmatch(text):
        return "Windows reserves this name for a device"
    return None


def _shown(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"
