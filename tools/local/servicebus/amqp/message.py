"""A message's sections (part 3 of the standard, section 3.2), read once and put together again for each delivery.

    header | delivery annotations | message annotations | properties | application properties | body | footer
    \\____________ the broker's to write ____________/   \\___________ the sender's, kept as they came _________/

The sender's sections are kept as bytes and handed on without being encoded anew; only dead-lettering adds application
properties to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tools.local.servicebus.amqp.decode import decode_at
from tools.local.servicebus.amqp.encode import encode
from tools.local.servicebus.amqp.values import Described, Malformed, Symbol, UByte, UInt, ULong

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)

BATCH_FORMAT = 0x80013700
"""The message format that says: each data section is a message of its own."""

_PROPERTY_NAMES = (
    *("message_id", "user_id", "to", "subject", "reply_to", "correlation_id", "content_type"),
    *("content_encoding", "absolute_expiry_time", "creation_time", "group_id", "group_sequence"),
    "reply_to_group_id",
)


@dataclass(frozen=True, slots=True)
class Header:
    """`ttl` in milliseconds; None for no limit of its own."""

    durable: bool | None = None
    priority: int | None = None
    ttl: int | None = None

    def encoded(self, delivery_count: int) -> bytes:
        priority = None if self.priority is None else UByte(self.priority)
        ttl = None if self.ttl is None else UInt(self.ttl)
        return _section(HEADER, [self.durable, priority, ttl, None, UInt(delivery_count)])


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was sent. `properties` by name, only those that are set; the raw parts are whole sections."""

    header: Header
    annotations: Mapping[object, object]
    properties: Mapping[str, object]
    application: Mapping[object, object]
    raw_properties: bytes
    raw_application: bytes
    raw_body: bytes
    data: tuple[bytes, ...] = ()
    value: object = None

    @property
    def size(self) -> int:
        """Bytes of the sender's sections."""
        return len(self.raw_properties) + len(self.raw_application) + len(self.raw_body)

    def text(self, name: str) -> str | None:
        """A property as text: ids may be numbers, UUIDs or bytes on the wire."""
        value = self.properties.get(name)
        if value is None:
            return None
        return value.hex() if isinstance(value, bytes) else str(value)

    def encoded(
        self,
        delivery_count: int,
        annotations: Mapping[object, object],
        application: Mapping[object, object] | None = None,
    ) -> bytes:
        """The bytes of a delivery: with these annotations and, if given, these application properties besides."""
        head = self.header.encoded(delivery_count)
        notes = {**self.annotations, **annotations}
        written = self.raw_application
        if application:
            written = _section(APPLICATION_PROPERTIES, {**self.application, **application})
        noted = _section(MESSAGE_ANNOTATIONS, notes) if notes else b""
        return head + noted + self.raw_properties + written + self.raw_body


@dataclass(slots=True)
class _Parts:
    header: Header = field(default_factory=Header)
    annotations: dict[object, object] = field(default_factory=dict)
    properties: dict[str, object] = field(default_factory=dict)
    application: dict[object, object] = field(default_factory=dict)
    raw_properties: bytes = b""
    raw_application: bytes = b""
    data: list[bytes] = field(default_factory=list)
    value: object = None


def read_message(octets: bytes) -> Message:
    """Take a message apart. Raises Malformed for anything but sections in their order."""
    parts = _Parts()
    position, reached, body = 0, HEADER - 1, len(octets)
    while position < len(octets):
        start = position
        section, position = decode_at(octets, position)
        if not isinstance(section, Described) or not isinstance(section.descriptor, ULong):
            raise Malformed("a message is made of described sections")
        code = int(section.descriptor)
        # Only the sections of the body may come more than once.
        if (
            not HEADER <= code <= FOOTER
            or code < reached
            or (code == reached and code not in (DATA, SEQUENCE))
        ):
            raise Malformed(f"section 0x{code:02x} is out of place")
        reached = code
        if code >= DATA:
            body = min(body, start)
        _read_section(parts, code, section.value, octets[start:position])
    return Message(
        header=parts.header,
        annotations=parts.annotations,
        properties=parts.properties,
        application=parts.application,
        raw_properties=parts.raw_properties,
        raw_application=parts.raw_application,
        raw_body=octets[body:],
        data=tuple(parts.data),
        value=parts.value,
    )


def _read_section(parts: _Parts, code: int, value: object, raw: bytes) -> None:
    if code == HEADER:
        parts.header = _header(_list(value))
    elif code == MESSAGE_ANNOTATIONS:
        parts.annotations = _map(value)
    elif code == PROPERTIES:
        values = _list(value)
        if len(values) > len(_PROPERTY_NAMES):
            raise Malformed("too many properties")
        named = zip(_PROPERTY_NAMES, values, strict=False)
        parts.properties = {name: each for name, each in named if each is not None}
        parts.raw_properties = raw
    elif code == APPLICATION_PROPERTIES:
        parts.application, parts.raw_application = _map(value), raw
        if not all(isinstance(key, str) for key in parts.application):
            raise Malformed("application properties have names of text")
    elif code == DATA:
        if not isinstance(value, bytes):
            raise Malformed("a data section holds bytes")
        parts.data.append(value)
    elif code == VALUE:
        parts.value = value


def _header(values: list[object]) -> Header:
    durable, priority, ttl = (*values, None, None, None)[:3]
    if not isinstance(durable, bool | None) or not isinstance(priority, int | None):
        raise Malformed("the header has fields of the wrong type")
    if not isinstance(ttl, UInt | None):
        raise Malformed("a time to live is a uint of milliseconds")
    return Header(durable, priority, ttl)


def _list(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    raise Malformed("this section holds a list")


def _map(value: object) -> dict[object, object]:
    if isinstance(value, dict):
        return value
    raise Malformed("this section holds a map")


def _section(code: int, value: object) -> bytes:
    return encode(Described(ULong(code), value))


def write_message(
    value: object, *, correlation_id: object, application: Mapping[str, object], to: str | None = None
) -> bytes:
    """The bytes of an answer from the broker itself: its body is one value."""
    properties = [None, None, to, None, None, correlation_id]
    return (
        _section(PROPERTIES, properties)
        + _section(APPLICATION_PROPERTIES, dict(application))
        + _section(VALUE, value)
    )


def symbols(values: Mapping[str, object]) -> dict[object, object]:
    """A map whose keys are symbols, as annotations and properties of links have them."""
    return {Symbol(key): value for key, value in values.items()}
