"""AMQP's types, frames and messages: what is written is read again, and what is nonsense is one kind of error."""

import contextlib
import random
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.local.servicebus.amqp.decode import DEEPEST, decode, decode_at
from tools.local.servicebus.amqp.encode import encode
from tools.local.servicebus.amqp.frames import AMQP_FRAME, FrameBuffer, frame
from tools.local.servicebus.amqp.message import read_message, write_message
from tools.local.servicebus.amqp.performatives import (
    SENDER,
    Attach,
    Disposition,
    Error,
    Flow,
    Open,
    Transfer,
    as_performative,
    read_performative,
    write_performative,
)
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


def whole(kind: type, bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high).map(kind)


ASCII = st.text(st.characters(min_codepoint=0, max_codepoint=127), max_size=300)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    whole(UByte, 8, signed=False),
    whole(UShort, 16, signed=False),
    whole(UInt, 32, signed=False),
    whole(ULong, 64, signed=False),
    whole(Byte, 8, signed=True),
    whole(Short, 16, signed=True),
    whole(Int, 32, signed=True),
    whole(int, 64, signed=True),
    whole(Timestamp, 64, signed=True),
    st.floats(width=32, allow_nan=False).map(Float32),
    st.floats(allow_nan=False),
    st.characters(exclude_categories=["Cs"]).map(Char),
    st.uuids(),
    st.binary(max_size=300),
    st.text(max_size=300),
    ASCII.map(Symbol),
    st.binary(min_size=16, max_size=16).map(lambda octets: Opaque(0x94, octets)),
)
ARRAYS = st.one_of(
    st.lists(whole(int, 64, signed=True)).map(lambda items: Array(int, items)),
    st.lists(st.text(max_size=20)).map(lambda items: Array(str, items)),
    st.lists(st.uuids()).map(lambda items: Array(uuid.UUID, items)),
    st.lists(whole(Timestamp, 64, signed=True)).map(lambda items: Array(Timestamp, items)),
    st.lists(st.booleans()).map(lambda items: Array(bool, items)),
)
# Keys of one type: 1 and true would be one key in Python.
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(st.text(max_size=20), inner, max_size=6),
        st.builds(Described, whole(ULong, 64, signed=False), inner),
    ),
    max_leaves=20,
)


def alike(one: object, other: object) -> bool:
    """Equal, and of the same types all the way down: an Int that came back as a Short would be a different message."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Array) and isinstance(other, Array) and one.kind is not other.kind:
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, Described) and isinstance(other, Described):
        return alike(one.descriptor, other.descriptor) and alike(one.value, other.value)
    return one == other


@given(VALUES)
def test_what_is_written_is_read_again(value: object) -> None:
    assert alike(decode(encode(value)), value)


@given(VALUES, st.randoms(use_true_random=False))
def test_damaged_bytes_are_malformed_or_another_value(value: object, chance: random.Random) -> None:
    octets = bytearray(encode(value))
    for _ in range(chance.randint(1, 4)):
        octets[chance.randrange(len(octets))] = chance.randrange(256)
    with contextlib.suppress(Malformed):
        decode(bytes(octets))


@given(st.binary(max_size=200))
def test_any_bytes_are_malformed_or_a_value(octets: bytes) -> None:
    for read in (decode, read_performative, read_message):
        with contextlib.suppress(Malformed):
            read(octets)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x3f", id="no such type"),
        pytest.param(b"\xa1\x05ab", id="text that ends too early"),
        pytest.param(b"\xa1\x02\xff\xfe", id="text that isn't UTF-8"),
        pytest.param(b"\xd0\xff\xff\xff\xff\xff\xff\xff\xff", id="a list of four billion"),
        pytest.param(b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40", id="an array of four billion nulls"),
        pytest.param(b"\xc1\x02\x01\x40", id="a key without a value"),
        pytest.param(b"\xc1\x03\x02\x45\x40", id="a list for a key"),
        pytest.param(b"\xc0\x05\x01\x40", id="a list that is longer than its frame"),
        pytest.param(b"\xc0\x03\x01\x40\x40", id="a list with too many bytes"),
        pytest.param(b"\x56\x02", id="neither true nor false"),
        pytest.param(b"\x40\x40", id="two values"),
        pytest.param(b"\x00\x53\x10" * 200 + b"\x40", id="descriptors without end"),
        pytest.param(b"\x73\xff\xff\xff\xff", id="not a character"),
    ],
)
def test_nonsense_is_malformed(octets: bytes) -> None:
    with pytest.raises(Malformed):
        decode(octets)


def test_nesting_is_bounded() -> None:
    value: object = None
    for _ in range(DEEPEST + 2):
        value = [value]
    with pytest.raises(Malformed, match="deep"):
        decode(encode(value))
    # Arrays in arrays, each of one element that is the next.
    octets = b"\x40"
    for _ in range(DEEPEST + 2):
        octets = b"\xf0" + struct.pack(">II", len(octets) + 4, 1) + octets
    with pytest.raises(Malformed):
        decode(octets)


@pytest.mark.parametrize("value", [object(), UByte(256), Int(2**31), 2**63, Symbol("ä"), Array(dict, [])])
def test_what_has_no_encoding_is_malformed_too(value: object) -> None:
    with pytest.raises(Malformed):
        encode(value)


# --- frames


@given(st.lists(st.binary(max_size=50), max_size=8), st.randoms(use_true_random=False))
def test_frames_are_found_however_they_arrive(bodies: list[bytes], chance: random.Random) -> None:
    stream = b"".join(frame(AMQP_FRAME, number, body) for number, body in enumerate(bodies))
    buffer, found = FrameBuffer(), []
    while stream:
        size = chance.randint(1, 30)
        buffer.feed(stream[:size])
        stream = stream[size:]
        while (each := buffer.frame()) is not None:
            found.append((each.channel, each.body))
    assert found == list(enumerate(bodies))


@pytest.mark.parametrize(
    "head",
    [
        struct.pack(">IBBH", 7, 2, 0, 0),
        struct.pack(">IBBH", 70_000, 2, 0, 0),
        struct.pack(">IBBH", 0xFFFFFFFF, 2, 0, 0),
        struct.pack(">IBBH", 8, 1, 0, 0),
        struct.pack(">IBBH", 8, 3, 0, 0),
        struct.pack(">IBBH", 8, 2, 9, 0),
    ],
)
def test_a_frame_is_refused_by_its_head(head: bytes) -> None:
    buffer = FrameBuffer()
    buffer.feed(head)
    with pytest.raises(Malformed):
        buffer.frame()


# --- performatives


@pytest.mark.parametrize(
    "performative",
    [
        Open("id", hostname="h", max_frame_size=512, idle_timeout=1000),
        Attach(name="l", handle=3, role=SENDER, properties={Symbol("a"): 1}),
        Flow(incoming_window=1, next_outgoing_id=2, outgoing_window=3, handle=4, link_credit=6, drain=True),
        Transfer(handle=1, delivery_id=0, delivery_tag=b"t", settled=False),
        Disposition(role=True, first=1, last=2, settled=True, state=Described(ULong(0x24), [])),
        Error("amqp:not-found", "text"),
    ],
)
def test_performatives_are_read_as_they_were_written(performative: object) -> None:
    assert isinstance(performative, Open | Attach | Flow | Transfer | Disposition | Error)
    read, payload = read_performative(write_performative(performative, b"payload"))
    assert (read, payload) == (performative, b"payload")


@pytest.mark.parametrize(
    "value",
    [
        Described(ULong(0x10), []),
        Described(ULong(0x10), [Symbol("not a string")]),
        Described(ULong(0x14), ["handle"]),
        Described(ULong(0x17), [None, None]),
        Described(ULong(0x99), []),
        Described(ULong(0x10), {"a": 1}),
        [1, 2],
    ],
)
def test_a_performative_of_the_wrong_shape_is_malformed(value: object) -> None:
    with pytest.raises(Malformed):
        as_performative(value)


def test_an_error_has_all_three_fields_on_the_wire() -> None:
    """The SDK reads them by position, and hangs when one is left out."""
    assert Error("a:b", "text").described().value == [Symbol("a:b"), "text", {}]


# --- messages


def section(code: int, value: object) -> bytes:
    return encode(Described(ULong(code), value))


BODY = section(0x75, b"body")


def test_the_sender_s_sections_pass_through_byte_by_byte() -> None:
    properties = section(0x73, ["id", None, "to"])
    application = section(0x74, {"count": Short(5), "mark": Symbol("x")})
    footer = section(0x78, {Symbol("f"): 1})
    raw = (
        section(0x70, [True, UByte(4), UInt(1000)]) + section(0x71, {}) + section(0x72, {Symbol("a"): Int(1)})
    )
    message = read_message(raw + properties + application + BODY + footer)
    delivered = message.encoded(3, {Symbol("x-opt-sequence-number"): 9})
    assert delivered.endswith(properties + application + BODY + footer)
    again = read_message(delivered)
    assert again.annotations == {"a": 1, "x-opt-sequence-number": 9}
    assert (again.header.ttl, again.text("message_id"), again.data) == (1000, "id", (b"body",))
    assert type(again.application["count"]) is Short


def test_properties_can_be_added_without_changing_the_others() -> None:
    message = read_message(section(0x74, {"count": Short(5), "reason": "old"}) + BODY)
    again = read_message(message.encoded(0, {}, {"reason": "new"}))
    assert again.application == {"count": 5, "reason": "new"}
    assert type(again.application["count"]) is Short


@pytest.mark.parametrize(
    "raw",
    [
        BODY + section(0x73, []),
        section(0x73, []) + section(0x73, []),
        section(0x70, {}),
        section(0x74, {1: "x"}),
        section(0x75, "text"),
        section(0x70, [True, None, -5]),
        section(0x60, []),
        encode(5),
        section(0x73, [None] * 14),
    ],
)
def test_sections_out_of_place_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_message(raw)


def test_an_answer_keeps_the_type_of_its_correlation_id() -> None:
    asked = uuid.uuid4()
    answer = read_message(write_message({"a": 1}, correlation_id=asked, application={"status": Int(200)}))
    assert answer.properties["correlation_id"] == asked
    assert (answer.value, answer.application) == ({"a": 1}, {"status": 200})


def test_decoding_starts_anywhere() -> None:
    assert decode_at(b"junk" + encode("x") + b"more", 4) == ("x", 7)
