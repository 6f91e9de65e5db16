"""What frames say (part 2 of the standard, section 2.7; SASL: part 5, section 5.3), as typed values.

A performative is a list of fields with a number for a name; trailing fields that are null are left out. Each class
lists its fields in the standard's order, and their wire types beside them: that is all there is to reading and writing
one. A field of the wrong type is Malformed, so code that handles a performative need not look again.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import ClassVar, Self

from tools.local.servicebus.amqp.decode import decode_at
from tools.local.servicebus.amqp.encode import encode
from tools.local.servicebus.amqp.values import (
    Array,
    Described,
    Malformed,
    Symbol,
    UByte,
    UInt,
    ULong,
    UShort,
)


@dataclass(frozen=True, slots=True)
class Performative:
    """Reading from a list of fields and writing to one. KINDS has the wire type per field; `object` is any."""

    CODE: ClassVar[int]
    KINDS: ClassVar[tuple[type, ...]] = ()

    def described(self) -> Described:
        """The value that goes on the wire."""
        values: list[object] = []
        for each, kind in zip(fields(self), self.KINDS, strict=True):
            value = getattr(self, each.name)
            values.append(value if value is None or kind in _AS_THEY_ARE else kind(value))
        while values and values[-1] is None:
            values.pop()
        return Described(ULong(self.CODE), values)

    @classmethod
    def of(cls, values: list[object]) -> Self:
        """Raises Malformed for a missing field, one too many, or one of the wrong type."""
        known = fields(cls)
        if len(values) > len(known):
            raise Malformed(f"{cls.__name__} has {len(known)} fields, not {len(values)}")
        given: dict[str, object] = {}
        for each, kind, value in zip(known, cls.KINDS, values, strict=False):
            # Null stands for the default, wherever it is.
            if value is not None:
                given[each.name] = _checked(f"{cls.__name__}.{each.name}", kind, value)
        for each in known:
            if each.name not in given and each.default is MISSING and each.default_factory is MISSING:
                raise Malformed(f"{cls.__name__} needs {each.name}")
        build: Callable[..., Self] = cls
        return build(**given)


_AS_THEY_ARE = (object, bool, Array, dict, list, Described)


def _checked(name: str, kind: type, value: object) -> object:
    if kind is object or type(value) is kind:
        return value
    # One symbol may stand for an array of one.
    if kind is Array and type(value) is Symbol:
        return Array(Symbol, [value])
    raise Malformed(f"{name} must be {kind.__name__}, not {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Open(Performative):
    """Of a connection. `idle_timeout` in milliseconds."""

    CODE = 0x10
    KINDS = (str, str, UInt, UShort, UInt, Array, Array, Array, Array, dict)
    container_id: str
    hostname: str | None = None
    max_frame_size: int = 4_294_967_295
    channel_max: int = 65_535
    idle_timeout: int | None = None
    outgoing_locales: Array | None = None
    incoming_locales: Array | None = None
    offered_capabilities: Array | None = None
    desired_capabilities: Array | None = None
    properties: dict[object, object] | None = None


@dataclass(frozen=True, slots=True)
class Begin(Performative):
    """Of a session."""

    CODE = 0x11
    KINDS = (UShort, UInt, UInt, UInt, UInt, Array, Array, dict)
    remote_channel: int | None = None
    next_outgoing_id: int = 0
    incoming_window: int = 0
    outgoing_window: int = 0
    handle_max: int = 4_294_967_295
    offered_capabilities: Array | None = None
    desired_capabilities: Array | None = None
    properties: dict[object, object] | None = None


SENDER, RECEIVER = False, True
"""Roles."""


@dataclass(frozen=True, slots=True)
class Attach(Performative):
    """Of a link. Source and target are left as they came: they are echoed."""

    CODE = 0x12
    KINDS = (
        *(str, UInt, bool, UByte, UByte, Described, Described),
        *(dict, bool, UInt, ULong, Array, Array, dict),
    )
    name: str
    handle: int
    role: bool
    snd_settle_mode: int = 2
    rcv_settle_mode: int = 0
    source: Described | None = None
    target: Described | None = None
    unsettled: dict[object, object] | None = None
    incomplete_unsettled: bool | None = None
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: Array | None = None
    desired_capabilities: Array | None = None
    properties: dict[object, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow(Performative):
    """Windows of a session; with a handle also the credit of a link."""

    CODE = 0x13
    KINDS = (UInt, UInt, UInt, UInt, UInt, UInt, UInt, UInt, bool, bool, dict)
    next_incoming_id: int | None = None
    incoming_window: int
    next_outgoing_id: int
    outgoing_window: int
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool | None = None
    echo: bool | None = None
    properties: dict[object, object] | None = None


@dataclass(frozen=True, slots=True)
class Transfer(Performative):
    """A message, or a part of one; the bytes follow the performative."""

    CODE = 0x14
    KINDS = (UInt, UInt, bytes, UInt, bool, bool, UByte, object, bool, bool, bool)
    handle: int
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: int | None = None
    state: object = None
    resume: bool | None = None
    aborted: bool | None = None
    batchable: bool | None = None


@dataclass(frozen=True, slots=True)
class Disposition(Performative):
    """What became of deliveries `first` to `last`."""

    CODE = 0x15
    KINDS = (bool, UInt, UInt, bool, object, bool)
    role: bool
    first: int
    last: int | None = None
    settled: bool | None = None
    state: object = None
    batchable: bool | None = None


@dataclass(frozen=True, slots=True)
class Detach(Performative):
    CODE = 0x16
    KINDS = (UInt, bool, object)
    handle: int
    closed: bool | None = None
    error: object = None


@dataclass(frozen=True, slots=True)
class End(Performative):
    CODE = 0x17
    KINDS = (object,)
    error: object = None


@dataclass(frozen=True, slots=True)
class Close(Performative):
    CODE = 0x18
    KINDS = (object,)
    error: object = None


@dataclass(frozen=True, slots=True)
class SaslMechanisms(Performative):
    CODE = 0x40
    KINDS = (Array,)
    mechanisms: Array


@dataclass(frozen=True, slots=True)
class SaslInit(Performative):
    CODE = 0x41
    KINDS = (Symbol, bytes, str)
    mechanism: str
    initial_response: bytes | None = None
    hostname: str | None = None


@dataclass(frozen=True, slots=True)
class SaslOutcome(Performative):
    CODE = 0x44
    KINDS = (UByte, bytes)
    code: int
    additional: bytes | None = None


@dataclass(frozen=True, slots=True)
class Error(Performative):
    """Why something ended. The SDK reads all three fields without looking how many there are, so all are sent."""

    CODE = 0x1D
    KINDS = (Symbol, str, dict)
    condition: str
    description: str | None = None
    info: dict[object, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted(Performative):
    CODE = 0x24


@dataclass(frozen=True, slots=True)
class Rejected(Performative):
    CODE = 0x25
    KINDS = (object,)
    error: object = None


@dataclass(frozen=True, slots=True)
class Released(Performative):
    CODE = 0x26


@dataclass(frozen=True, slots=True)
class Modified(Performative):
    CODE = 0x27
    KINDS = (bool, bool, dict)
    delivery_failed: bool | None = None
    undeliverable_here: bool | None = None
    message_annotations: dict[object, object] | None = None


@dataclass(frozen=True, slots=True)
class Source(Performative):
    CODE = 0x28
    KINDS = (object, UInt, Symbol, UInt, bool, dict, Symbol, dict, object, Array, Array)
    address: object = None
    durable: int | None = None
    expiry_policy: str | None = None
    timeout: int | None = None
    dynamic: bool | None = None
    dynamic_node_properties: dict[object, object] | None = None
    distribution_mode: str | None = None
    filter: dict[object, object] | None = None
    default_outcome: object = None
    outcomes: Array | None = None
    capabilities: Array | None = None


@dataclass(frozen=True, slots=True)
class Target(Performative):
    CODE = 0x29
    KINDS = (object, UInt, Symbol, UInt, bool, dict, Array)
    address: object = None
    durable: int | None = None
    expiry_policy: str | None = None
    timeout: int | None = None
    dynamic: bool | None = None
    dynamic_node_properties: dict[object, object] | None = None
    capabilities: Array | None = None


FRAME_BODIES = (Open, Begin, Attach, Flow, Transfer, Disposition, Detach, End, Close)
SASL_BODIES = (SaslMechanisms, SaslInit, SaslOutcome)
OUTCOMES = (Accepted, Rejected, Released, Modified)
_BY_CODE: Mapping[int, type[Performative]] = {
    each.CODE: each for each in (*FRAME_BODIES, *SASL_BODIES, *OUTCOMES, Error, Source, Target)
}
_BY_SYMBOL: Mapping[str, type[Performative]] = {
    "amqp:error:list": Error,
    "amqp:accepted:list": Accepted,
    "amqp:rejected:list": Rejected,
    "amqp:released:list": Released,
    "amqp:modified:list": Modified,
    "amqp:source:list": Source,
    "amqp:target:list": Target,
}


def read_performative(body: bytes) -> tuple[Performative, bytes]:
    """The performative at the front of a frame's body, and the payload after it. Raises Malformed."""
    value, end = decode_at(body, 0)
    return as_performative(value), body[end:]


def as_performative(value: object) -> Performative:
    """The typed form of a described value. Raises Malformed when it has none."""
    if isinstance(value, Described) and isinstance(value.value, list):
        name = value.descriptor
        known = _BY_CODE.get(name) if isinstance(name, ULong) else _BY_SYMBOL.get(str(name))
        if known is not None:
            return known.of(value.value)
    raise Malformed("this is no performative")


def write_performative(performative: Performative, payload: bytes = b"") -> bytes:
    """The body of a frame."""
    return encode(performative.described()) + payload


def refusal(condition: str, description: str) -> Described:
    """An error as it goes into a detach, an end, a close or a rejected outcome."""
    return Error(condition, description).described()
