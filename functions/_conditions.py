"""Conditions, ranges and file names in headers: RFC 9110 (13.1, 14), RFC 6266 and RFC 8187."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from shared.domain.errors import Malformed, UnsatisfiableRange

_TAGS = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `start` to `stop` (exclusive) of a representation."""

    start: int
    stop: int


def parse_tags(header: str | None) -> frozenset[str] | None:
    """The entity tags of a condition, `*` standing for any; None when there is no header.

    Raises Malformed for what is not a list of tags.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return frozenset("*")
    tags = set()
    for part in header.split(","):
        found = _TAGS.fullmatch(part)
        if not found:
            raise Malformed('If-Match and If-None-Match take * or a list of quoted tags, such as "abc"')
        tags.add(found[1])
    return frozenset(tags)


def parse_range(header: str | None, *, size: int) -> Span | None:
    """The one range that is asked for, None for the whole.

    Several ranges, other units and what can't be read are answered with the whole, as RFC 9110 allows. Raises
    UnsatisfiableRange for a range that begins behind the end.
    """
    found = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if not found or found[1] == found[2] == "":
        return None
    first, last = found[1], found[2]
    if first == "":
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
