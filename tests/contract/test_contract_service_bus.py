"""What a Service Bus promises about queues and topics, through both clients of the unmodified SDK.

The same suite runs against Azure or Microsoft's emulator when TEST_SERVICEBUS_CONNECTION names one that has the
entities of service_bus_entities.json. Without it the local broker is started, with locks and lives of one second
instead of five, which is the least that Azure allows.
"""

import asyncio
import datetime
import uuid
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageState
from azure.servicebus.amqp import AmqpAnnotatedMessage
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
)

from tests.contract.service_bus import Bus, both_clients, fresh, one, soon, take, text, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
UTC = datetime.UTC


# --- a message


@both_clients
async def test_a_message_arrives_as_it_was_sent(bus: Bus) -> None:
    sent = ServiceBusMessage(
        b"\x00body\xff",
        message_id=fresh(),
        content_type="application/octet-stream",
        correlation_id="correlation",
        subject="subject",
        to="to",
        reply_to="reply",
        reply_to_session_id="reply session",
        application_properties={
            "text": "täxt",
            "number": 7,
            "real": 1.5,
            "flag": True,
            "id": uuid.UUID(int=5),
            "nothing": None,
        },
    )
    before = datetime.datetime.now(UTC) - datetime.timedelta(seconds=60)
    await bus.send("plain", sent)
    [got] = await bus.receive("plain")
    assert b"".join(got.body) == b"\x00body\xff"
    for name in ("message_id", "content_type", "correlation_id", "subject", "to", "reply_to"):
        assert getattr(got, name) == getattr(sent, name), name
    assert got.reply_to_session_id == "reply session"
    properties = got.application_properties
    assert properties is not None
    assert {key.decode(): value for key, value in properties.items() if isinstance(key, bytes)} == {
        "text": "täxt".encode(),
        "number": 7,
        "real": 1.5,
        "flag": True,
        "id": uuid.UUID(int=5),
        "nothing": None,
    }
    assert got.delivery_count == 0
    assert got.state is ServiceBusMessageState.ACTIVE
    assert got.enqueued_time_utc is not None
    assert before < got.enqueued_time_utc < before + datetime.timedelta(seconds=120)


@both_clients
async def test_bodies_may_be_values_and_sequences(bus: Bus) -> None:
    sender = await bus.sender("plain")
    await sender.send_messages(AmqpAnnotatedMessage(value_body={"a": [1, 2.5, None, True]}))
    await sender.send_messages(AmqpAnnotatedMessage(sequence_body=[[1, "two"], [b"three"]]))
    value, sequence = await bus.receive("plain", 2)
    assert value.raw_amqp_message.body == {b"a": [1, 2.5, None, True]}
    assert list(sequence.raw_amqp_message.body) == [[1, b"two"], [b"three"]]


@both_clients
async def test_a_batch_arrives_whole_and_in_order(bus: Bus) -> None:
    names = [fresh() for _ in range(50)]
    sender = await bus.sender("plain")
    batch = await sender.create_message_batch()
    for name in names[:25]:
        batch.add_message(ServiceBusMessage(name))
    await sender.send_messages(batch)
    await bus.send("plain", *(ServiceBusMessage(name) for name in names[25:]))
    got = await bus.receive("plain", 50)
    assert [str(each) for each in got] == names
    numbers = [each.sequence_number for each in got]
    assert numbers == sorted(set(numbers))


@both_clients
async def test_a_message_in_many_frames_arrives_whole(bus: Bus) -> None:
    body = bytes(range(256)) * 900
    await bus.send("plain", ServiceBusMessage(body))
    [got] = await bus.receive("plain")
    assert b"".join(got.body) == body


@both_clients
async def test_a_message_beyond_the_limit_is_refused_and_the_next_is_not(bus: Bus) -> None:
    with pytest.raises(MessageSizeExceededError):
        await bus.send("plain", ServiceBusMessage(b"x" * 1_100_000))
    await bus.send("plain", ServiceBusMessage("small"))
    [got] = await bus.receive("plain")
    assert str(got) == "small"


@pytest.mark.parametrize("entity", ["nowhere", "events/nowhere", "nowhere/all"])
@both_clients
async def test_an_unknown_entity_is_not_found(bus: Bus, entity: str) -> None:
    with pytest.raises(MessagingEntityNotFoundError):
        async with bus.receiver(entity):
            pass
    if "/" not in entity:
        with pytest.raises(MessagingEntityNotFoundError):
            await bus.send(entity, ServiceBusMessage("x"))
        bus._senders.pop(entity)


# --- settling


@both_clients
async def test_a_completed_message_is_gone(bus: Bus) -> None:
    await bus.send("plain", ServiceBusMessage("x"))
    async with bus.receiver("plain") as receiver:
        message = await one(receiver)
        assert message.locked_until_utc is not None
        assert message.locked_until_utc > datetime.datetime.now(UTC)
        await receiver.complete_message(message)
        assert await receiver.peek_messages(1, sequence_number=1) == []


@both_clients
async def test_receive_and_delete_leaves_nothing(bus: Bus) -> None:
    await bus.send("plain", ServiceBusMessage("x"))
    async with bus.receiver("plain", receive_mode="receiveanddelete") as receiver:
        message = await one(receiver)
        assert await receiver.peek_messages(1, sequence_number=1) == []
        with pytest.raises(ValueError, match="RECEIVE_AND_DELETE"):
            await receiver.complete_message(message)


@both_clients
async def test_an_abandoned_message_comes_back_to_its_place(bus: Bus) -> None:
    first, second = fresh(), fresh()
    await bus.send("plain", ServiceBusMessage(first), ServiceBusMessage(second))
    async with bus.receiver("plain") as receiver:
        message = await one(receiver)
        await receiver.abandon_message(message)
        again, after = await take(receiver, 2)
        assert (str(again), again.delivery_count) == (first, 1)
        assert again.sequence_number == message.sequence_number
        assert (str(after), after.delivery_count) == (second, 0)
        for each in (again, after):
            await receiver.complete_message(each)


@both_clients
async def test_a_dead_lettered_message_says_why(bus: Bus) -> None:
    body = fresh()
    await bus.send("plain", ServiceBusMessage(body, application_properties={"kept": 1}))
    async with bus.receiver("plain") as receiver:
        await receiver.dead_letter_message(await one(receiver), reason="bad", error_description="it is")
    async with bus.receiver("plain", dead=True) as receiver:
        message = await one(receiver)
        assert str(message) == body
        assert text(message.dead_letter_reason) == "bad"
        assert text(message.dead_letter_error_description) == "it is"
        assert message.application_properties is not None
        assert message.application_properties[b"kept"] == 1
        await receiver.complete_message(message)
        assert await receiver.peek_messages(1, sequence_number=1) == []


@both_clients
async def test_after_too_many_deliveries_a_message_is_dead_lettered(bus: Bus) -> None:
    await bus.send("brief", ServiceBusMessage("x"))
    async with bus.receiver("brief") as receiver:
        for count in range(2):
            message = await one(receiver)
            assert message.delivery_count == count
            await receiver.abandon_message(message)
        assert await receiver.peek_messages(1, sequence_number=1) == []
    [dead] = await bus.receive("brief", dead=True)
    assert text(dead.dead_letter_reason) == "MaxDeliveryCountExceeded"


@both_clients
async def test_a_deferred_message_is_received_by_its_number_only(bus: Bus) -> None:
    first, second = fresh(), fresh()
    await bus.send("plain", ServiceBusMessage(first), ServiceBusMessage(second))
    async with bus.receiver("plain") as receiver:
        message = await one(receiver)
        number = message.sequence_number
        await receiver.defer_message(message)
        other = await one(receiver)
        assert str(other) == second
        await receiver.complete_message(other)
        [peeked] = await receiver.peek_messages(1, sequence_number=1)
        assert peeked.state is ServiceBusMessageState.DEFERRED
        [deferred] = await receiver.receive_deferred_messages(number)
        assert (str(deferred), deferred.sequence_number) == (first, number)
        await receiver.complete_message(deferred)
        with pytest.raises(MessageNotFoundError):
            await receiver.receive_deferred_messages(number)


# --- locks


@both_clients
async def test_a_lock_that_expires_gives_the_message_to_others(bus: Bus) -> None:
    await bus.send("brief", ServiceBusMessage("x"))
    async with bus.receiver("brief") as receiver, bus.receiver("brief") as other:
        message = await one(receiver)
        [again] = await other.receive_messages(1, max_wait_time=15)
        assert (again.sequence_number, again.delivery_count) == (message.sequence_number, 1)
        with pytest.raises(MessageLockLostError):
            await receiver.complete_message(message)
        await other.complete_message(again)


@both_clients
async def test_a_lock_that_is_lost_can_t_be_renewed(bus: Bus) -> None:
    await bus.send("brief", ServiceBusMessage("x"))
    async with bus.receiver("brief") as receiver:
        message = await one(receiver)
        await receiver.complete_message(message)
        message._settled = False
        with pytest.raises(MessageLockLostError):
            await receiver.renew_message_lock(message)


@both_clients
async def test_a_renewed_lock_holds_longer(bus: Bus) -> None:
    await bus.send("brief", ServiceBusMessage("x"))
    async with bus.receiver("brief") as receiver:
        message = await one(receiver)
        until_first = message.locked_until_utc
        assert until_first is not None
        # Past the middle of the first lock, so that what holds afterwards is the second.
        await asyncio.sleep((until_first - datetime.datetime.now(UTC)).total_seconds() * 0.6)
        renewed = await receiver.renew_message_lock(message)
        assert renewed > until_first
        await asyncio.sleep((until_first - datetime.datetime.now(UTC)).total_seconds() + 0.1)
        await receiver.complete_message(message)
        assert await receiver.peek_messages(1, sequence_number=1) == []


@both_clients
async def test_the_sdk_s_renewer_keeps_a_lock(bus: Bus) -> None:
    await bus.send("renewed", ServiceBusMessage("x"))
    async with bus.receiver("renewed") as receiver:
        message = await one(receiver)
        first = message.locked_until_utc
        assert first is not None
        renewer = bus.lock_renewer()
        await bus.register(renewer, receiver, message, 30)
        await asyncio.sleep((first - datetime.datetime.now(UTC)).total_seconds() + 0.5)
        await receiver.complete_message(message)
        await renewer.close()


# --- receiving


@both_clients
async def test_waiting_for_nothing_ends_with_nothing(bus: Bus) -> None:
    async with bus.receiver("plain") as receiver:
        assert await receiver.receive_messages(1, max_wait_time=0.3) == []


@both_clients
async def test_whoever_waits_gets_what_comes(bus: Bus) -> None:
    body = fresh()
    async with bus.receiver("plain", receive_mode="receiveanddelete") as receiver:
        waiting = asyncio.ensure_future(receiver.receive_messages(1, max_wait_time=15))
        await asyncio.sleep(0.1)
        await bus.send("plain", ServiceBusMessage(body))
        assert [str(each) for each in await waiting] == [body]


@both_clients
async def test_a_receiver_can_be_iterated(bus: Bus) -> None:
    bodies = [fresh() for _ in range(5)]
    await bus.send("plain", *(ServiceBusMessage(each) for each in bodies))
    async with bus.receiver("plain", max_wait_time=5) as receiver:
        assert await bus.iterated(receiver, 5) == bodies
    assert await bus.waiting("plain") == []


@both_clients
async def test_prefetched_messages_are_locked_and_given_back_on_close(bus: Bus) -> None:
    bodies = [fresh() for _ in range(3)]
    await bus.send("plain", *(ServiceBusMessage(each) for each in bodies))
    async with bus.receiver("plain", prefetch_count=10) as receiver:
        message = await one(receiver)
        assert str(message) == bodies[0]
        await receiver.complete_message(message)
        async with bus.receiver("plain") as other:
            assert await other.receive_messages(1, max_wait_time=0.3) == [], "the first receiver has them"
        await bus.settled()
    await bus.settled()
    got = await bus.receive("plain", 2)
    assert [(str(each), each.delivery_count) for each in got] == [(bodies[1], 0), (bodies[2], 0)]


@both_clients
async def test_a_receiver_that_closes_with_credit_left_takes_nothing(bus: Bus) -> None:
    """The SDK drains its link when it closes: what comes afterwards must not go to it."""
    async with bus.receiver("plain") as receiver:
        assert await receiver.receive_messages(20, max_wait_time=0.3) == []
    await bus.settled()
    body = fresh()
    await bus.send("plain", ServiceBusMessage(body))
    [got] = await bus.receive("plain")
    assert (str(got), got.delivery_count) == (body, 0)


@both_clients
async def test_peeking_shows_all_and_takes_nothing(bus: Bus) -> None:
    bodies = [fresh() for _ in range(3)]
    await bus.send("plain", *(ServiceBusMessage(each) for each in bodies))
    async with bus.receiver("plain") as receiver:
        locked = await one(receiver)
        peeked = await receiver.peek_messages(10, sequence_number=1)
        assert [str(each) for each in peeked] == bodies
        later = await receiver.peek_messages(10, sequence_number=peeked[1].sequence_number)
        assert [str(each) for each in later] == bodies[1:]
        await receiver.complete_message(locked)
        for each in await take(receiver, 2):
            assert each.delivery_count == 0
            await receiver.complete_message(each)


# --- time


@both_clients
async def test_an_expired_message_is_gone(bus: Bus) -> None:
    await bus.send("plain", ServiceBusMessage("x", time_to_live=datetime.timedelta(seconds=0.3)))
    async with bus.receiver("plain") as receiver:

        async def is_gone() -> bool:
            return await receiver.peek_messages(1, sequence_number=1) == []

        await until(is_gone)
        assert await receiver.receive_messages(1, max_wait_time=0.2) == []
    assert await bus.waiting("plain", dead=True) == []


@both_clients
async def test_an_expired_message_is_dead_lettered_where_the_queue_says_so(bus: Bus) -> None:
    body = fresh()
    await bus.send("mortal", ServiceBusMessage(body))
    # Nobody looks at the queue itself: that it expires must not depend on a receiver.
    async with bus.receiver("mortal", dead=True) as receiver:
        [dead] = await receiver.receive_messages(1, max_wait_time=30)
        assert (str(dead), text(dead.dead_letter_reason)) == (body, "TTLExpiredException")
        await receiver.complete_message(dead)


@both_clients
async def test_a_scheduled_message_comes_when_it_is_due(bus: Bus) -> None:
    body, due = fresh(), soon(1.0)
    sender = await bus.sender("plain")
    [number] = await sender.schedule_messages(ServiceBusMessage(body), due)
    async with bus.receiver("plain", receive_mode="receiveanddelete") as receiver:
        [peeked] = await receiver.peek_messages(1, sequence_number=1)
        assert (peeked.state, peeked.sequence_number) == (ServiceBusMessageState.SCHEDULED, number)
        [got] = await receiver.receive_messages(1, max_wait_time=30)
        assert str(got) == body
        assert datetime.datetime.now(UTC) >= due


@both_clients
async def test_a_message_can_be_sent_with_its_time(bus: Bus) -> None:
    body, due = fresh(), soon(0.5)
    message = ServiceBusMessage(body, scheduled_enqueue_time_utc=due)
    await bus.send("plain", message)
    [got] = await bus.receive("plain")
    assert str(got) == body
    assert datetime.datetime.now(UTC) >= due


@both_clients
async def test_a_cancelled_message_never_comes(bus: Bus) -> None:
    sender = await bus.sender("plain")
    numbers = await sender.schedule_messages([ServiceBusMessage("a"), ServiceBusMessage("b")], soon(60))
    assert len(set(numbers)) == 2
    await sender.cancel_scheduled_messages(list(numbers))
    assert await bus.waiting("plain") == []
    with pytest.raises(MessageNotFoundError):
        await sender.cancel_scheduled_messages(list(numbers))


@both_clients
async def test_a_duplicate_counts_as_sent_and_goes_nowhere(bus: Bus) -> None:
    twice, other = fresh(), fresh()
    await bus.send("once", ServiceBusMessage("first", message_id=twice))
    await bus.send(
        "once", ServiceBusMessage("second", message_id=twice), ServiceBusMessage("other", message_id=other)
    )
    assert [str(each) for each in await bus.receive("once", 2)] == ["first", "other"]
    await bus.send("once", ServiceBusMessage("third", message_id=twice))
    assert await bus.waiting("once") == [], "received or not: what counts is that it was seen"


# --- topics


@both_clients
async def test_each_subscription_has_a_copy_of_its_own(bus: Bus) -> None:
    body = fresh()
    await bus.send("events", ServiceBusMessage(body, session_id="s", application_properties={"parts": 1}))
    [got] = await bus.receive("events/all")
    assert str(got) == body
    [other] = await bus.receive("events/in-sessions", session_id="s")
    assert str(other) == body
    for subscription in ("correlated", "priced", "computed"):
        assert await bus.waiting(f"events/{subscription}") == []


@both_clients
async def test_filters_choose(bus: Bus) -> None:
    def message(subject: str, **properties: Any) -> ServiceBusMessage:
        body = fresh()
        made = ServiceBusMessage(
            body, subject=subject, session_id="f", application_properties={"parts": 1, **properties}
        )
        chosen[body] = (subject, properties)
        return made

    chosen: dict[str, tuple[str, dict[str, Any]]] = {}
    sent = [
        message("invoice", region="north"),
        message("invoice", region="south"),
        message("letter", region="north"),
        message("letter", price=11, color="green"),
        message("letter", price=11, color="red"),
        message("letter", price=10, color="green"),
        message("order", vip=False),
        message("order", vip=True, note="x"),
        message("letter"),
    ]
    await bus.send("events", *sent)
    got = await bus.receive("events/correlated", 1)
    assert [chosen[str(each)] for each in got] == [("invoice", {"region": "north"})]
    got = await bus.receive("events/priced", 2)
    assert [chosen[str(each)] for each in got] == [
        ("letter", {"price": 11, "color": "green"}),
        ("order", {"vip": False}),
    ]
    assert len(await bus.receive("events/computed", 3)) == 3
    assert len(await bus.receive("events/all", 9)) == 9
    assert len(await bus.receive("events/in-sessions", 9, session_id="f")) == 9


@both_clients
async def test_a_filter_that_fails_dead_letters_in_its_subscription_alone(bus: Bus) -> None:
    body = fresh()
    properties = {"price": 1, "parts": 0}
    await bus.send("events", ServiceBusMessage(body, session_id="e", application_properties=properties))
    [dead] = await bus.receive("events/computed", dead=True)
    assert str(dead) == body
    assert dead.dead_letter_reason
    assert [str(each) for each in await bus.receive("events/all")] == [body]
    await bus.receive("events/in-sessions", session_id="e")


@both_clients
async def test_without_a_session_id_a_subscription_with_sessions_dead_letters(bus: Bus) -> None:
    body = fresh()
    await bus.send("events", ServiceBusMessage(body, application_properties={"parts": 1}))
    [dead] = await bus.receive("events/in-sessions", dead=True)
    assert str(dead) == body
    assert "session" in text(dead.dead_letter_reason).lower()
    assert [str(each) for each in await bus.receive("events/all")] == [body]


@both_clients
async def test_a_scheduled_event_reaches_the_subscriptions_when_it_is_due(bus: Bus) -> None:
    body, due = fresh(), soon(0.5)
    sender = await bus.sender("events")
    message = ServiceBusMessage(body, session_id="d", application_properties={"parts": 1})
    [number] = await sender.schedule_messages(message, due)
    [cancelled] = await sender.schedule_messages(ServiceBusMessage("never", session_id="d"), soon(60))
    await sender.cancel_scheduled_messages(cancelled)
    assert number != cancelled
    async with bus.receiver("events/all", receive_mode="receiveanddelete") as receiver:
        [got] = await receiver.receive_messages(1, max_wait_time=30)
    assert str(got) == body
    assert datetime.datetime.now(UTC) >= due
    assert [str(each) for each in await bus.receive("events/in-sessions", session_id="d")] == [body]
