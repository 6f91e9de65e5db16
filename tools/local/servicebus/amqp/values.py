"""The values of AMQP 1.0 (part 1 of the standard), as Python sees them.

A broker hands on what it was given: a property that was sent as a `short` must arrive as one. So decoding keeps the
wire's type in subclasses of Python's (`Short` is an int, `Symbol` a str), and encoding a decoded value gives
the same type again. Plain values have their natural type: int is `long`, float `double`, str `string`, bytes `binary`.

One loss is accepted: keys of a map that are equal in Python (1 and true) become one.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class Malformed(Exception):
    """The bytes are not AMQP, or not the AMQP that belongs here; or a value has no encoding."""


class Symbol(str):
    """Text from a fixed vocabulary, ASCII only."""

    __slots__ = ()


class UByte(int):
    """0 to 2^8 - 1."""


class UShort(int):
    """0 to 2^16 - 1."""


class UInt(int):
    """0 to 2^32 - 1."""


class ULong(int):
    """0 to 2^64 - 1."""


class Byte(int):
    """-2^7 to 2^7 - 1."""


class Short(int):
    """-2^15 to 2^15 - 1."""


class Int(int):
    """-2^31 to 2^31 - 1."""


class Timestamp(int):
    """Milliseconds since 1970, UTC."""


class Char(str):
    """One character."""

    __slots__ = ()


class Float32(float):
    """A float of 32 bits."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A decimal, carried through as it came: Python has no type with its exact range."""

    constructor: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor, which says what the value means."""

    descriptor: object
    value: object


class Array(list[object]):
    """Values of one type. `kind` is that type, as a class of this module or Python's; empty arrays have one too."""

    def __init__(self, kind: type, items: Sequence[object] = ()) -> None:
        super().__init__(items)
        self.kind = kind
