"""Events and hints on the wire: what was written is read, and of anything else is said why it can't be."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.events import (
    WIRE,
    FileEvent,
    Hint,
    Unreadable,
    read_event,
    read_hint,
    write_event,
    write_hint,
)
from shared.domain.ids import DeviceId, NamespaceId
from tests.support.doubles import START

NS, DEVICE = NamespaceId("a" * 32), DeviceId("b" * 32)
EVENT = FileEvent(namespace=NS, epoch=2, seq=7, device=DEVICE, at=START, kinds={"file_moved": 3})
WRITTEN = json.loads(write_event(EVENT))


def reason_of(body: bytes) -> str:
    with pytest.raises(Unreadable) as refused:
        read_event(body)
    assert str(refused.value)
    return refused.value.reason


def test_what_is_written_is_read() -> None:
    assert read_event(write_event(EVENT)) == EVENT
    hint = Hint(device=DEVICE, namespace=NS, seq=7)
    assert read_hint(DEVICE, write_hint(hint)) == hint


def test_the_form_on_the_wire() -> None:
    """Messages outlive the program that wrote them, so this may only change together with WIRE."""
    assert WRITTEN == {
        "version": WIRE,
        "kind": "changed",
        "namespace": "a" * 32,
        "epoch": 2,
        "seq": 7,
        "device": "b" * 32,
        "at": "2026-01-31T12:00:00Z",
        "kinds": {"file_moved": 3},
    }
    hint = Hint(device=DEVICE, namespace=NS, seq=7)
    assert json.loads(write_hint(hint)) == {"version": 1, "namespace": NS, "seq": 7}


def test_ids_of_messages_fit_and_are_the_same_for_the_same_thing() -> None:
    assert EVENT.message_id == f"{NS}:2:7"
    longest = msgspec.structs.replace(EVENT, epoch=2**31, seq=2**63)
    assert len(longest.message_id) <= 128
    assert len(Hint(device=DEVICE, namespace=NS, seq=2**63).message_id) <= 128


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": WIRE + 1}, "FutureVersion"),
        ({"version": WIRE + 1, "namespace": 3, "new": True}, "FutureVersion"),
        ({"version": 0}, "Malformed"),
        ({"version": "1"}, "Malformed"),
        ({"kind": "renamed"}, "UnknownKind"),
        ({"namespace": "A" * 32}, "Malformed"),
        ({"namespace": "a" * 33}, "Malformed"),
        ({"seq": 0}, "Malformed"),
        ({"seq": 1.5}, "Malformed"),
        ({"at": "yesterday"}, "Malformed"),
        ({"at": "2026-01-31T12:00:00"}, "Malformed"),
        ({"kinds": {"file_moved": "many"}}, "Malformed"),
        ({"kinds": None}, "Malformed"),
        ({"kinds": {"k" * 33: 1}}, "Malformed"),
        ({"kinds": {f"k{number}": 1 for number in range(65)}}, "Malformed"),
    ],
)
def test_what_can_t_be_read_says_why(change: dict[str, object], reason: str) -> None:
    assert reason_of(json.dumps({**WRITTEN, **change}).encode()) == reason


@pytest.mark.parametrize("name", list(WRITTEN))
def test_nothing_may_be_missing(name: str) -> None:
    assert (
        reason_of(json.dumps({key: WRITTEN[key] for key in WRITTEN if key != name}).encode()) == "Malformed"
    )


def test_what_is_added_without_a_new_version_is_passed_over() -> None:
    assert read_event(json.dumps({**WRITTEN, "colour": "blue"}).encode()) == EVENT


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_bytes_of_any_kind_are_read_or_refused(body: bytes) -> None:
    for read in (read_event, lambda given: read_hint(DEVICE, given)):
        try:
            read(body)
        except Unreadable as why:
            assert why.reason in ("Malformed", "FutureVersion", "UnknownKind")
