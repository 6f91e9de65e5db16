"""Conditions, ranges and file names in headers: RFC 9110 (13.1, 14), RFC 6266 and RFC 8187."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from shared.domain.errors import Malformed, UnsatisfiableRange

# A tag may hold commas, so a list can't be cut at them.
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_TAGS = re.compile(rf"{_TAG.pattern}(?:[ \t]*,[ \t]*{_TAG.pattern})*")
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `start` to `stop` (exclusive) of a representation."""

    start: int
    stop: int


def parse_tags(header: str | None, *, strong: bool = False) -> frozenset[str] | None:
    """The entity tags of a condition, `*` standing for any; None when there is no header.

    `strong` leaves weak tags out, as they never satisfy If-Match. Raises Malformed for what is not a list of tags.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return frozenset("*")
    listed = header.strip(" \t")
    if not _TAGS.fullmatch(listed):
        raise Malformed('If-Match and If-None-Match take * or a list of quoted tags, such as "abc"')
    # The tag "*" is not the asterisk that stands for any, and can't be a hash.
    return frozenset(tag for weak, tag in _TAG.findall(listed) if tag != "*" and not (weak and strong))


def parse_range(header: str | None, *, size: int) -> Span | None:
    """The one range that is asked for, None for the whole.

    Several ranges, other units and what can't be read are answered with the whole, as RFC 9110 allows. Raises
    UnsatisfiableRange for a range that begins behind the end.
    """
    found = _RANGE.fullmatch(header.strip(" \t")) if header else None
    if not found or found[1] == found[2] == "":
        return None
    first, last = found[1], found[2]
    if first == "":
        if size == 0 and int(last) > 0:
            # The end of an empty file can be asked for, but Content-Range has no words for it.
            return None
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None
    if start >= stop:
        raise UnsatisfiableRange(f"the file has {size} bytes", size=size)
    return Span(start, stop)


def attachment(name: str) -> str:
    """A Content-Disposition that saves under `name` everywhere and never displays."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def decode_name(header: str) -> str:
    """A file name from a header: percent-encoded UTF-8, as headers hold no other characters."""
    try:
        return unquote_to_bytes(header).decode()
    except UnicodeDecodeError as error:
        raise Malformed("X-File-Name must be percent-encoded UTF-8") from error
