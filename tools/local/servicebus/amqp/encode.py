"""Values to bytes, each in the shortest form that its type has."""

import struct
import uuid
from collections.abc import Callable, Sequence

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

_U16, _U32, _U64 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
_I8, _I16, _I32, _I64 = struct.Struct(">b"), struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_F32, _F64 = struct.Struct(">f"), struct.Struct(">d")


def encode(value: object) -> bytes:
    """The encoding of one value, in its shortest form. Raises Malformed for a value that has none."""
    out = bytearray()
    encode_into(out, value)
    return bytes(out)


def encode_into(out: bytearray, value: object) -> None:
    """Append the encoding of one value. Raises Malformed for a value that has none."""
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise Malformed(f"{type(value).__name__} has no AMQP type")
    try:
        writer(out, value)
    except (struct.error, UnicodeError) as error:
        raise Malformed(f"{value!r} is out of range for its type: {error}") from None


def _write_none(out: bytearray, value: None) -> None:
    out.append(0x40)


def _write_bool(out: bytearray, value: bool) -> None:
    out.append(0x41 if value else 0x42)


def _write_uint(out: bytearray, value: int) -> None:
    if value == 0:
        out.append(0x43)
    elif 0 < value < 256:
        out += bytes((0x52, value))
    else:
        out += b"\x70" + _U32.pack(value)


def _write_ulong(out: bytearray, value: int) -> None:
    if value == 0:
        out.append(0x44)
    elif 0 < value < 256:
        out += bytes((0x53, value))
    else:
        out += b"\x80" + _U64.pack(value)


def _write_int(out: bytearray, value: int) -> None:
    if -128 <= value < 128:
        out += b"\x54" + _I8.pack(value)
    else:
        out += b"\x71" + _I32.pack(value)


def _write_long(out: bytearray, value: int) -> None:
    if -128 <= value < 128:
        out += b"\x55" + _I8.pack(value)
    else:
        out += b"\x81" + _I64.pack(value)


def _fixed(constructor: int, form: struct.Struct) -> Callable[[bytearray, float], None]:
    def write(out: bytearray, value: float) -> None:
        packed = form.pack(value)
        out.append(constructor)
        out += packed

    return write


def _variable(small: int, large: int, out: bytearray, octets: bytes) -> None:
    if len(octets) < 256:
        out += bytes((small, len(octets)))
    else:
        out.append(large)
        out += _U32.pack(len(octets))
    out += octets


def _write_binary(out: bytearray, value: bytes) -> None:
    _variable(0xA0, 0xB0, out, value)


def _write_string(out: bytearray, value: str) -> None:
    _variable(0xA1, 0xB1, out, value.encode())


def _write_symbol(out: bytearray, value: str) -> None:
    _variable(0xA3, 0xB3, out, value.encode("ascii"))


def _write_char(out: bytearray, value: str) -> None:
    if len(value) != 1:
        raise Malformed("a char is one character")
    out += b"\x73" + _U32.pack(ord(value))


def _write_uuid(out: bytearray, value: uuid.UUID) -> None:
    out += b"\x98" + value.bytes


def _write_opaque(out: bytearray, value: Opaque) -> None:
    out.append(value.constructor)
    out += value.octets


def _write_described(out: bytearray, value: Described) -> None:
    out.append(0x00)
    encode_into(out, value.descriptor)
    encode_into(out, value.value)


def _compound(small: int, large: int, out: bytearray, count: int, items: bytes) -> None:
    if count < 256 and len(items) < 255:
        out += bytes((small, len(items) + 1, count))
    else:
        out.append(large)
        out += _U32.pack(len(items) + 4) + _U32.pack(count)
    out += items


def _write_list(out: bytearray, value: Sequence[object]) -> None:
    if not value:
        out.append(0x45)
        return
    items = bytearray()
    for item in value:
        encode_into(items, item)
    _compound(0xC0, 0xD0, out, len(value), bytes(items))


def _write_map(out: bytearray, value: dict[object, object]) -> None:
    items = bytearray()
    for key, item in value.items():
        encode_into(items, key)
        encode_into(items, item)
    _compound(0xC1, 0xD1, out, len(value) * 2, bytes(items))


def _write_array(out: bytearray, value: Array) -> None:
    known = _ARRAY_ITEMS.get(value.kind)
    if known is None:
        raise Malformed(f"arrays of {value.kind.__name__} are not written")
    constructor, pack = known
    items = bytearray((constructor,))
    for item in value:
        if type(item) is not value.kind:
            raise Malformed(f"an array of {value.kind.__name__} holds a {type(item).__name__}")
        items += pack(item)
    _compound(0xE0, 0xF0, out, len(value), bytes(items))


def _sized(octets: bytes) -> bytes:
    return _U32.pack(len(octets)) + octets


# The constructors of arrays are always the widest: one constructor holds for all items.
_ARRAY_ITEMS: dict[type, tuple[int, Callable[..., bytes]]] = {
    bool: (0x56, lambda item: b"\x01" if item else b"\x00"),
    UByte: (0x50, lambda item: bytes((item,))),
    UShort: (0x60, _U16.pack),
    UInt: (0x70, _U32.pack),
    ULong: (0x80, _U64.pack),
    Byte: (0x51, _I8.pack),
    Short: (0x61, _I16.pack),
    Int: (0x71, _I32.pack),
    int: (0x81, _I64.pack),
    Float32: (0x72, _F32.pack),
    float: (0x82, _F64.pack),
    Timestamp: (0x83, _I64.pack),
    uuid.UUID: (0x98, lambda item: item.bytes),
    bytes: (0xB0, _sized),
    str: (0xB1, lambda item: _sized(item.encode())),
    Symbol: (0xB3, lambda item: _sized(item.encode("ascii"))),
}

_WRITERS: dict[type, Callable[..., None]] = {
    type(None): _write_none,
    bool: _write_bool,
    UByte: _fixed(0x50, struct.Struct(">B")),
    UShort: _fixed(0x60, _U16),
    UInt: _write_uint,
    ULong: _write_ulong,
    Byte: _fixed(0x51, _I8),
    Short: _fixed(0x61, _I16),
    Int: _write_int,
    int: _write_long,
    Float32: _fixed(0x72, _F32),
    float: _fixed(0x82, _F64),
    Timestamp: _fixed(0x83, _I64),
    Char: _write_char,
    uuid.UUID: _write_uuid,
    bytes: _write_binary,
    bytearray: _write_binary,
    str: _write_string,
    Symbol: _write_symbol,
    Opaque: _write_opaque,
    Described: _write_described,
    list: _write_list,
    tuple: _write_list,
    dict: _write_map,
    Array: _write_array,
}
