"""What a Service Bus promises about sessions, through both clients of the unmodified SDK.

The offline queue is made of them: a session for each device, whose messages come in order to one receiver at a time.
"""

import asyncio
import datetime

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

from tests.contract.service_bus import Bus, both_clients, fresh, one, take

pytestmark = pytest.mark.asyncio(loop_scope="module")
UTC = datetime.UTC


def of(session: str, *bodies: str) -> list[ServiceBusMessage]:
    return [ServiceBusMessage(body, session_id=session) for body in bodies]


@both_clients
async def test_a_session_is_received_alone_and_in_order(bus: Bus) -> None:
    mine, other = fresh("mine-"), fresh("other-")
    for number in range(5):
        await bus.send("sessions", *of(mine, f"m{number}"), *of(other, f"o{number}"))
    async with bus.receiver("sessions", session_id=mine) as receiver:
        got = await take(receiver, 5)
        assert [str(each) for each in got] == [f"m{number}" for number in range(5)]
        assert {each.session_id for each in got} == {mine}
        assert await receiver.receive_messages(1, max_wait_time=0.3) == [], "the other's are not for it"
        for each in got:
            await receiver.complete_message(each)
    assert [str(each) for each in await bus.receive("sessions", 5, session_id=other)] == [
        f"o{number}" for number in range(5)
    ]


@both_clients
async def test_an_abandoned_message_comes_back_before_its_successors(bus: Bus) -> None:
    session = fresh()
    await bus.send("sessions", *of(session, "first", "second"))
    async with bus.receiver("sessions", session_id=session) as receiver:
        await receiver.abandon_message(await one(receiver))
        again, second = await take(receiver, 2)
        assert [str(again), str(second)] == ["first", "second"]
        assert again.delivery_count == 1
        for each in (again, second):
            await receiver.complete_message(each)


@both_clients
async def test_each_session_has_one_receiver(bus: Bus) -> None:
    session = fresh()
    await bus.send("sessions", *of(session, "x"))
    async with bus.receiver("sessions", session_id=session) as receiver:
        with pytest.raises(SessionCannotBeLockedError):
            async with bus.receiver("sessions", session_id=session):
                pass
        await receiver.complete_message(await one(receiver))
    await bus.settled()
    async with bus.receiver("sessions", session_id=session):
        """Let go of, it can be had again, even without messages."""


@both_clients
async def test_the_next_sessions_go_to_different_receivers(bus: Bus) -> None:
    sessions = sorted(fresh() for _ in range(2))
    for session in sessions:
        await bus.send("sessions", *of(session, "x"))
    options = {"session_id": NEXT_AVAILABLE_SESSION, "max_wait_time": 10}
    async with bus.receiver("sessions", **options) as one_of, bus.receiver("sessions", **options) as other:
        ids = [(await bus.session(each)).session_id for each in (one_of, other)]
        assert sorted(ids) == sessions
        for receiver in (one_of, other):
            await receiver.complete_message(await one(receiver))


@both_clients
async def test_waiting_for_a_session_ends_when_one_comes(bus: Bus) -> None:
    session = fresh()

    async def next_session() -> str:
        async with bus.receiver("sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=20) as receiver:
            await receiver.complete_message(await one(receiver))
            return str((await bus.session(receiver)).session_id)

    waiting = asyncio.ensure_future(next_session())
    await asyncio.sleep(0.6)
    await bus.send("sessions", *of(session, "x"))
    assert await waiting == session


@both_clients
async def test_waiting_for_a_session_in_vain_times_out(bus: Bus) -> None:
    with pytest.raises(OperationTimeoutError):
        async with bus.receiver("sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1):
            pass


@both_clients
async def test_state_outlives_the_receiver(bus: Bus) -> None:
    name = fresh()
    async with bus.receiver("sessions", session_id=name) as receiver:
        session = await bus.session(receiver)
        assert await session.get_state() is None
        await session.set_state(b"\x00state")
        assert await session.get_state() == b"\x00state"
    await bus.settled()
    async with bus.receiver("sessions", session_id=name) as receiver:
        session = await bus.session(receiver)
        assert await session.get_state() == b"\x00state"
        assert name in await bus.sessions("sessions")
        await session.set_state(None)
        assert await session.get_state() is None
    assert name not in await bus.sessions("sessions")


@both_clients
async def test_sessions_with_messages_are_listed(bus: Bus) -> None:
    names = {fresh(), fresh()}
    for name in names:
        await bus.send("sessions", *of(name, "x"))
    assert names <= set(await bus.sessions("sessions"))
    for name in names:
        await bus.receive("sessions", session_id=name)
    assert not names & set(await bus.sessions("sessions"))


@both_clients
async def test_a_renewed_session_is_kept(bus: Bus) -> None:
    name = fresh()
    await bus.send("brief-sessions", *of(name, "x"))
    async with bus.receiver("brief-sessions", session_id=name) as receiver:
        message = await one(receiver)
        session = await bus.session(receiver)
        first = session.locked_until_utc
        await asyncio.sleep((first - datetime.datetime.now(UTC)).total_seconds() * 0.6)
        assert await session.renew_lock() > first
        await asyncio.sleep((first - datetime.datetime.now(UTC)).total_seconds() + 0.1)
        await receiver.complete_message(message)


@both_clients
async def test_an_expired_session_is_lost_and_its_delivery_counted(bus: Bus) -> None:
    name = fresh()
    await bus.send("brief-sessions", *of(name, "x"))
    async with bus.receiver("brief-sessions", session_id=name) as receiver:
        message = await one(receiver)
        session = await bus.session(receiver)
        await asyncio.sleep((session.locked_until_utc - datetime.datetime.now(UTC)).total_seconds() + 0.2)
        with pytest.raises((SessionLockLostError, ServiceBusError)):
            await receiver.complete_message(message)
    async with bus.receiver("brief-sessions", session_id=name) as receiver:
        again = await one(receiver)
        assert (str(again), again.delivery_count) == ("x", 1)
        await receiver.complete_message(again)


@both_clients
async def test_letting_go_of_a_session_counts_nothing(bus: Bus) -> None:
    name = fresh()
    await bus.send("sessions", *of(name, "x"))
    async with bus.receiver("sessions", session_id=name) as receiver:
        await one(receiver)
    await bus.settled()
    [again] = await bus.receive("sessions", session_id=name)
    assert (str(again), again.delivery_count) == ("x", 0)


@both_clients
async def test_deferred_messages_belong_to_their_session(bus: Bus) -> None:
    name = fresh()
    await bus.send("sessions", *of(name, "later", "now"))
    async with bus.receiver("sessions", session_id=name) as receiver:
        message = await one(receiver)
        await receiver.defer_message(message)
        now = await one(receiver)
        assert str(now) == "now"
        await receiver.complete_message(now)
        [later] = await receiver.receive_deferred_messages(message.sequence_number)
        assert str(later) == "later"
        await receiver.complete_message(later)


@both_clients
async def test_without_a_session_id_nothing_is_sent(bus: Bus) -> None:
    with pytest.raises(ServiceBusError, match="SessionId"):
        await bus.send("sessions", ServiceBusMessage("x"))


@both_clients
async def test_receivers_must_know_whether_there_are_sessions(bus: Bus) -> None:
    with pytest.raises(ServiceBusError, match=r"requires? sessions"):
        async with bus.receiver("sessions"):
            pass
    with pytest.raises(ServiceBusError, match="require sessions"):
        async with bus.receiver("plain", session_id="x"):
            pass


@both_clients
async def test_many_sessions_share_few_receivers_and_keep_their_order(bus: Bus) -> None:
    """What the host does: workers that each take the next session, empty it and let go of it."""
    names = [fresh() for _ in range(6)]
    for number in range(4):
        await bus.send("sessions", *(each for name in names for each in of(name, str(number))))
    seen: dict[str, list[str]] = {name: [] for name in names}

    async def work() -> None:
        while any(len(each) < 4 for each in seen.values()):
            try:
                async with bus.receiver(
                    "sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1
                ) as receiver:
                    for message in await receiver.receive_messages(4, max_wait_time=5):
                        seen[str(message.session_id)].append(str(message))
                        await receiver.complete_message(message)
            except OperationTimeoutError:
                return

    await asyncio.gather(work(), work(), work())
    assert seen == {name: ["0", "1", "2", "3"] for name in names}
