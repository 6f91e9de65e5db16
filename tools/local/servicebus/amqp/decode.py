"""Bytes to values, believing nothing.

Sizes and counts come from outside and are compared with what is there before anything is allocated for them; nesting is
bounded; whatever can go wrong is one exception, Malformed.
"""

import struct
import uuid
from collections.abc import Callable

from tools.local.servicebus.amqp.values import (
    Array,
    Byte,
    Char,
    Described,
    Float32,
    Int,
    Malformed,
    Opaque,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)

DEEPEST = 32
"""Levels of nesting at most; nothing in the protocol needs ten."""

_MOST_EMPTY = 4096
# Items without a byte of their own (null, true, empty list) in one array: their count is bounded by nothing else.

_U32 = struct.Struct(">I")
_Decoder = Callable[[bytes, int, int], tuple[object, int]]


def decode(octets: bytes) -> object:
    """The one value that the bytes are. Raises Malformed when they are less than that, or more."""
    value, end = decode_at(octets, 0)
    if end != len(octets):
        raise Malformed(f"{len(octets) - end} bytes follow the value")
    return value


def decode_at(octets: bytes, start: int, depth: int = 0) -> tuple[object, int]:
    """The value that begins at `start`, and where it ends. Raises Malformed."""
    if depth > DEEPEST:
        raise Malformed("nested too deeply")
    try:
        constructor = octets[start]
        decoder = _DECODERS[constructor]
    except IndexError:
        raise Malformed("the bytes end where a value should begin") from None
    if decoder is None:
        raise Malformed(f"there is no type 0x{constructor:02x}")
    return decoder(octets, start + 1, depth)


def _take(octets: bytes, start: int, size: int) -> bytes:
    taken = octets[start : start + size]
    if len(taken) != size:
        raise Malformed("the bytes end within a value")
    return taken


def _constant(value: object) -> _Decoder:
    return lambda octets, start, depth: (value, start)


def _empty_list(octets: bytes, start: int, depth: int) -> tuple[object, int]:
    return [], start


def _number(form: str, kind: type) -> _Decoder:
    layout = struct.Struct(form)
    size = layout.size

    def read(octets: bytes, start: int, depth: int) -> tuple[object, int]:
        try:
            return kind(layout.unpack_from(octets, start)[0]), start + size
        except struct.error:
            raise Malformed("the bytes end within a number") from None

    return read


def _boolean(octets: bytes, start: int, depth: int) -> tuple[object, int]:
    octet = _take(octets, start, 1)[0]
    if octet > 1:
        raise Malformed("a boolean is 0 or 1")
    return octet == 1, start + 1


def _char(octets: bytes, start: int, depth: int) -> tuple[object, int]:
    try:
        return Char(chr(_U32.unpack(_take(octets, start, 4))[0])), start + 4
    except (ValueError, OverflowError):
        raise Malformed("not a character") from None


def _uuid(octets: bytes, start: int, depth: int) -> tuple[object, int]:
    return uuid.UUID(bytes=_take(octets, start, 16)), start + 16


def _opaque(constructor: int, size: int) -> _Decoder:
    return lambda octets, start, depth: (Opaque(constructor, _take(octets, start, size)), start + size)


def _length(octets: bytes, start: int, width: int) -> tuple[int, int]:
    return int.from_bytes(_take(octets, start, width), "big"), start + width


def _binary(width: int) -> _Decoder:
    def read(octets: bytes, start: int, depth: int) -> tuple[object, int]:
        size, begin = _length(octets, start, width)
        return _take(octets, begin, size), begin + size

    return read


def _text(width: int, encoding: str, kind: type[str]) -> _Decoder:
    def read(octets: bytes, start: int, depth: int) -> tuple[object, int]:
        size, begin = _length(octets, start, width)
        try:
            return kind(_take(octets, begin, size), encoding), begin + size
        except UnicodeDecodeError:
            raise Malformed(f"text is not {encoding}") from None

    return read


def _header(octets: bytes, start: int, width: int) -> tuple[int, int, int]:
    """Count, where the items begin, where they have to end."""
    size, counted = _length(octets, start, width)
    end = counted + size
    count, begin = _length(octets, counted, width)
    if end > len(octets) or begin > end:
        raise Malformed("a compound value is longer than what holds it")
    return count, begin, end


def _items(octets: bytes, start: int, width: int, depth: int) -> tuple[list[object], int]:
    count, position, end = _header(octets, start, width)
    # Every item of a list or map takes a byte at least.
    if count > end - position:
        raise Malformed("more items than bytes")
    items = []
    for _ in range(count):
        item, position = decode_at(octets, position, depth + 1)
        items.append(item)
    if position != end:
        raise Malformed("a compound value has another size than it says")
    return items, end


def _list(width: int) -> _Decoder:
    return lambda octets, start, depth: _items(octets, start, width, depth)


def _map(width: int) -> _Decoder:
    def read(octets: bytes, start: int, depth: int) -> tuple[object, int]:
        items, end = _items(octets, start, width, depth)
        if len(items) % 2:
            raise Malformed("a map has a key without a value")
        try:
            return dict(zip(items[::2], items[1::2], strict=True)), end
        except TypeError:
            raise Malformed("a list or map can't be a key") from None

    return read


def _array(width: int) -> _Decoder:
    def read(octets: bytes, start: int, depth: int) -> tuple[object, int]:
        # Arrays in arrays come here directly, not by way of `decode_at`.
        if depth > DEEPEST:
            raise Malformed("nested too deeply")
        count, position, end = _header(octets, start, width)
        constructor = _take(octets, position, 1)[0]
        position += 1
        descriptor: object = None
        if constructor == 0x00:
            descriptor, position = decode_at(octets, position, depth + 1)
            described, constructor = True, _take(octets, position, 1)[0]
            position += 1
        else:
            described = False
        decoder, kind = _DECODERS[constructor], _KINDS.get(constructor)
        if decoder is None or kind is None:
            raise Malformed(f"an array can't hold the type 0x{constructor:02x}")
        if count > max(end - position, _MOST_EMPTY):
            raise Malformed("more items than bytes")
        items: list[object] = []
        for _ in range(count):
            item, position = decoder(octets, position, depth + 1)
            items.append(Described(descriptor, item) if described else item)
        if position != end:
            raise Malformed("an array has another size than it says")
        return Array(Described if described else kind, items), end

    return read


def _described(octets: bytes, start: int, depth: int) -> tuple[object, int]:
    descriptor, position = decode_at(octets, start, depth + 1)
    value, end = decode_at(octets, position, depth + 1)
    return Described(descriptor, value), end


_KNOWN: dict[int, tuple[type, _Decoder]] = {
    0x40: (type(None), _constant(None)),
    0x41: (bool, _constant(True)),
    0x42: (bool, _constant(False)),
    0x43: (UInt, _constant(UInt(0))),
    0x44: (ULong, _constant(ULong(0))),
    0x45: (list, _empty_list),
    0x50: (UByte, _number(">B", UByte)),
    0x51: (Byte, _number(">b", Byte)),
    0x52: (UInt, _number(">B", UInt)),
    0x53: (ULong, _number(">B", ULong)),
    0x54: (Int, _number(">b", Int)),
    0x55: (int, _number(">b", int)),
    0x56: (bool, _boolean),
    0x60: (UShort, _number(">H", UShort)),
    0x61: (Short, _number(">h", Short)),
    0x70: (UInt, _number(">I", UInt)),
    0x71: (Int, _number(">i", Int)),
    0x72: (Float32, _number(">f", Float32)),
    0x73: (Char, _char),
    0x74: (Opaque, _opaque(0x74, 4)),
    0x80: (ULong, _number(">Q", ULong)),
    0x81: (int, _number(">q", int)),
    0x82: (float, _number(">d", float)),
    0x83: (Timestamp, _number(">q", Timestamp)),
    0x84: (Opaque, _opaque(0x84, 8)),
    0x94: (Opaque, _opaque(0x94, 16)),
    0x98: (uuid.UUID, _uuid),
    0xA0: (bytes, _binary(1)),
    0xA1: (str, _text(1, "utf-8", str)),
    0xA3: (Symbol, _text(1, "ascii", Symbol)),
    0xB0: (bytes, _binary(4)),
    0xB1: (str, _text(4, "utf-8", str)),
    0xB3: (Symbol, _text(4, "ascii", Symbol)),
    0xC0: (list, _list(1)),
    0xC1: (dict, _map(1)),
    0xD0: (list, _list(4)),
    0xD1: (dict, _map(4)),
    0xE0: (Array, _array(1)),
    0xF0: (Array, _array(4)),
}
_KINDS = {constructor: kind for constructor, (kind, _) in _KNOWN.items()}
_DECODERS: list[_Decoder | None] = [
    _described if each == 0 else _KNOWN[each][1] if each in _KNOWN else None for each in range(256)
]
