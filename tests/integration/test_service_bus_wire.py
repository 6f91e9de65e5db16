"""Clients that misbehave, each over a real socket: their connection ends, and everybody else's goes on."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.amqp_client import RawClient, error_of, message, raw_client, section
from tools.local.servicebus.amqp.frames import AMQP_FRAME, AMQP_HEADER, SASL_HEADER, frame
from tools.local.servicebus.amqp.performatives import (
    RECEIVER,
    SENDER,
    Accepted,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    Rejected,
    Released,
    Source,
    Target,
    Transfer,
    write_performative,
)
from tools.local.servicebus.amqp.values import Described, ULong
from tools.local.servicebus.entities import parse_config
from tools.local.servicebus.server import Server

QUEUES = [
    {"Name": "q", "Properties": {"LockDuration": "PT1M"}},
    {"Name": "s", "Properties": {"RequiresSession": True}},
    {"Name": "big", "Properties": {}},
]
CONFIG = {"UserConfig": {"Namespaces": [{"Name": "n", "Queues": QUEUES, "Topics": []}]}}
Serving = Callable[..., Any]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    @asynccontextmanager
    async def serve(**options: Any) -> AsyncIterator[tuple[Server, int]]:
        server = Server(parse_config(CONFIG), tmp_path / "bus.db", **options)
        port = await server.start(0)
        try:
            yield server, port
        finally:
            await server.stop()

    return serve


async def works(port: int) -> None:
    """Send a message and get it, as somebody who does everything right."""
    async with raw_client(port) as client:
        sender = await client.sender("q")
        client.send(sender, message(b"fine"))
        assert accepted(await client.wait_for(Disposition))
        await client.receiver("q", credit=1, settled=True)
        assert (await client.message())[1].data == (b"fine",)


def accepted(disposition: Disposition) -> bool:
    state = disposition.state
    return isinstance(state, Described) and state.descriptor == ULong(Accepted.CODE)


# --- bytes that aren't AMQP

GARBAGE = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "AMQP 0.9": b"AMQP\x00\x00\x09\x01",
    "SASL with a frame of four gigabytes": SASL_HEADER + b"\xff\xff\xff\xff\x02\x01\x00\x00",
    "SASL with an AMQP frame": SASL_HEADER + frame(AMQP_FRAME, 0, b""),
    "SASL with nonsense": SASL_HEADER + frame(1, 0, b"\x00\x53\x41\xc0\xff\x01"),
    "another mechanism": SASL_HEADER + frame(1, 0, section(0x41, [])),
    "begin before open": AMQP_HEADER + frame(0, 0, write_performative(Begin())),
    "random bytes after the header": AMQP_HEADER + random.Random(7).randbytes(4_096),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_what_isn_t_amqp_ends_its_connection_only(serving: Serving, what: str) -> None:
    async with serving() as (server, port):
        async with raw_client(port, ready=False) as client:
            client.writer.write(GARBAGE[what])
            await client.ended()
        await works(port)
        assert not server.failed.done()


def unknown_handle(client: RawClient) -> None:
    client.say(Attach(name="x", handle=5_000, role=SENDER, target=Target("q").described()))


def handle_in_use(client: RawClient) -> None:
    for _ in range(2):
        client.say(
            Attach(name="x", handle=9, role=SENDER, target=Target("q").described(), initial_delivery_count=0)
        )


def channel_in_use(client: RawClient) -> None:
    client.say(Begin())


def no_such_channel(client: RawClient) -> None:
    flow = Flow(incoming_window=1, next_outgoing_id=0, outgoing_window=1)
    client.writer.write(frame(AMQP_FRAME, 77, write_performative(flow)))


def open_twice(client: RawClient) -> None:
    client.say(Open("again"))


def a_frame_that_is_too_large(client: RawClient) -> None:
    client.writer.write(struct.pack(">IBBH", 100_000, 2, 0, 0) + bytes(1_000))


def nonsense_in_a_frame(client: RawClient) -> None:
    client.writer.write(frame(AMQP_FRAME, 0, b"\x00\x53\x14\xd0\xff\xff\xff\xff\xff\xff\xff\xff"))


WRONG = [
    unknown_handle,
    handle_in_use,
    channel_in_use,
    no_such_channel,
    open_twice,
    a_frame_that_is_too_large,
    nonsense_in_a_frame,
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.__name__)
async def test_what_breaks_the_protocol_is_answered_and_ended(
    serving: Serving, wrong: Callable[[RawClient], None]
) -> None:
    async with serving() as (_, port):
        async with raw_client(port) as client:
            wrong(client)
            close = await client.wait_for(Close)
            assert error_of(close.error)[0] == "amqp:decode-error"
            await client.ended()
        await works(port)


async def test_random_damage_never_reaches_others(serving: Serving) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    good = frame(
        AMQP_FRAME, 0, write_performative(Flow(incoming_window=9, next_outgoing_id=0, outgoing_window=9))
    )
    async with serving() as (server, port):
        for _ in range(40):
            async with raw_client(port) as client:
                damaged = bytearray(good * 3)
                for _ in range(chance.randint(1, 6)):
                    damaged[chance.randrange(len(damaged))] = chance.randrange(256)
                client.writer.write(bytes(damaged[: chance.randint(1, len(damaged))]))
                client.writer.write_eof()
                await client.ended()
        await works(port)
        assert not server.failed.done()


async def test_a_message_that_is_nonsense_is_refused_alone(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        sender = await client.sender("q")
        client.send(sender, b"\xff\xff")
        refused = await client.wait_for(Disposition)
        assert isinstance(refused.state, Described)
        assert refused.state.descriptor == ULong(Rejected.CODE)
        client.send(sender, message(b"good"))
        assert accepted(await client.wait_for(Disposition))


# --- clients that don't speak


async def test_who_doesn_t_open_is_dropped(serving: Serving) -> None:
    async with serving(handshake_within=0.2) as (server, port):
        async with raw_client(port, ready=False) as silent, raw_client(port, ready=False) as halfway:
            halfway.writer.write(SASL_HEADER + frame(1, 0, b"")[:6])
            await asyncio.gather(silent.ended(), halfway.ended())
        assert server.connections == 0
        await works(port)


async def test_who_falls_silent_is_dropped_and_gives_back_what_it_had(serving: Serving) -> None:
    async with serving(idle_timeout=0.3) as (_, port), raw_client(port) as client:
        await client.receiver("s", filters={"com.microsoft:session-filter": "device"})
        async with raw_client(port) as other:
            refused = await other.receiver("s", filters={"com.microsoft:session-filter": "device"})
            assert refused.source is None
        # It says nothing more, as after a cable is cut; the server can't know the difference.
        await client.ended()
        async with raw_client(port) as other:
            granted = await other.receiver("s", filters={"com.microsoft:session-filter": "device"})
            assert granted.source is not None


async def test_who_asks_for_signs_of_life_gets_them(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port, idle_timeout=200) as client:
        async with asyncio.timeout(5):
            while await client.next_body():
                pass


# --- clients that don't read


async def test_a_receiver_that_doesn_t_read_costs_little_and_holds_up_nobody(serving: Serving) -> None:
    body, count = bytes(100_000), 300
    async with serving() as (server, port), raw_client(port) as slow:
        slow.writer.transport.pause_reading()
        async with raw_client(port) as client:
            sender = await client.sender("big")
            for _ in range(count):
                client.send(sender, message(body)[:60_000], more=True)
                client.more(sender, message(body)[60_000:], more=False)
                assert accepted(await client.wait_for(Disposition))
            link = Attach(
                name="r",
                handle=7,
                role=RECEIVER,
                snd_settle_mode=1,
                source=Source("big").described(),
                target=Target("here").described(),
            )
            slow.say(link)
            slow.flow(link, 1_000_000)
            queue = server.dispatcher.broker.queue("big")
            assert queue is not None
            # Until the server stops sending to it: the buffers of the system are full, and its own is.
            async with asyncio.timeout(20):
                while all(each.is_writable for each in server._connections):
                    await asyncio.sleep(0.02)
            left = len(queue.messages)
            assert left > count // 2, "the rest stays in the queue"
            await works(port)
            assert len(queue.messages) == left
        slow.writer.transport.resume_reading()
        slow.heard.clear()
        for _ in range(count):
            assert (await slow.message())[1].data == (body,)
        assert queue.messages == {}


async def test_a_sender_that_doesn_t_listen_is_not_read_from(serving: Serving) -> None:
    count = 10_000
    async with serving() as (server, port), raw_client(port) as client:
        sender = await client.sender("q")
        client.writer.transport.pause_reading()
        for _ in range(count):
            client.send(sender, message(b"x" * 200))
        await works_elsewhere(port)
        queue = server.dispatcher.broker.queue("q")
        assert queue is not None
        client.writer.transport.resume_reading()
        for _ in range(count):
            assert accepted(await client.wait_for(Disposition))
        assert len(queue.messages) == count


async def works_elsewhere(port: int) -> None:
    async with raw_client(port) as client:
        sender = await client.sender("s")
        client.send(sender, message(b"fine", session="a"))
        assert accepted(await client.wait_for(Disposition))


async def test_messages_that_never_end_are_bounded(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        for _ in range(24):
            sender = await client.sender("q")
            client.send(sender, bytes(60_000), more=True)
            client.more(sender, bytes(60_000))
            client.more(sender, bytes(60_000))
        close = await client.wait_for(Close)
        assert "aren't complete" in error_of(close.error)[1]
        await works(port)


async def test_parts_of_links_that_ended_are_not_held(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        for _ in range(40):
            sender = await client.sender("q")
            for _ in range(3):
                client.send(sender, bytes(60_000), more=True)
            client.say(Detach(sender.handle, closed=True))
            await client.wait_for(Detach)
        sender = await client.sender("q")
        client.send(sender, message(b"fine"))
        assert accepted(await client.wait_for(Disposition))


async def test_a_message_beyond_the_limit_is_let_through_unread(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        sender = await client.sender("q")
        client.send(sender, bytes(60_000), more=True)
        for _ in range(200):
            client.more(sender, bytes(60_000))
        client.more(sender, b"", more=False)
        refused = await client.wait_for(Disposition)
        assert isinstance(refused.state, Described)
        assert "message-size-exceeded" in str(refused.state)


async def test_answers_that_nobody_takes_are_bounded(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        sender = await client.sender("q/$management")
        await client.receiver("q/$management", credit=0)
        ask = section(0x73, [1]) + section(0x74, {"operation": "nothing"}) + section(0x77, {})
        for _ in range(300):
            client.send(sender, ask)
        detach = await client.wait_for(Detach)
        assert error_of(detach.error)[0] == "amqp:resource-limit-exceeded"
        await works(port)


# --- many


async def test_two_hundred_connections_at_once(serving: Serving) -> None:
    async with serving() as (server, port):
        together = asyncio.Barrier(200)

        async def one(number: int) -> None:
            async with raw_client(port) as client:
                sender = await client.sender("q")
                await together.wait()
                for each in range(5):
                    client.send(sender, message(f"{number}.{each}".encode()))
                for _ in range(5):
                    assert accepted(await client.wait_for(Disposition))
                if number == 0:
                    assert server.connections == 200
                await together.wait()

        await asyncio.gather(*(one(number) for number in range(200)))
        queue = server.dispatcher.broker.queue("q")
        assert queue is not None
        bodies = [each.message.data[0] for each in queue.messages.values()]
        assert sorted(bodies) == sorted(
            f"{number}.{each}".encode() for number in range(200) for each in range(5)
        )
        async with asyncio.timeout(10):
            while server.connections:
                await asyncio.sleep(0.01)


async def test_more_connections_than_allowed_are_dropped(serving: Serving) -> None:
    async with serving(most_connections=2) as (_, port):
        async with raw_client(port), raw_client(port) as second:
            async with raw_client(port, ready=False) as third:
                third.writer.write(SASL_HEADER)
                await third.ended()
            await second.sender("q")
        await asyncio.sleep(0.05)
        await works(port)


# --- what the SDK doesn't show


async def test_without_a_token_nothing_is_served(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port, ready=False) as client:
        await client.sasl()
        await client.open()
        await client.begin()
        assert (await client.sender("q")).source is None
        detach = await client.wait_for(Detach)
        assert error_of(detach.error)[0] == "amqp:unauthorized-access"


async def test_draining_gives_back_the_credit_that_is_left(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        sender = await client.sender("q")
        for each in (b"a", b"b"):
            client.send(sender, message(each))
            await client.wait_for(Disposition)
        link = await client.receiver("q")
        client.flow(link, 10, drain=True)
        flow = await client.wait_for(Flow)
        assert (flow.handle, flow.link_credit, flow.delivery_count, flow.drain) == (link.handle, 0, 10, True)
        assert sum(isinstance(each, Transfer) for each, _ in client.heard) == 2
        client.send(sender, message(b"c"))
        await client.wait_for(Disposition)
        client.flow(link, 1, delivery_count=10)
        assert (await client.message())[1].data == (b"c",)


async def test_credit_is_counted_from_what_the_client_has_seen(serving: Serving) -> None:
    """Two messages are on their way when the client says "three, of which I have seen none": one more may come."""
    async with serving() as (_, port), raw_client(port) as client:
        sender = await client.sender("q")
        for number in range(5):
            client.send(sender, message(str(number).encode()))
            await client.wait_for(Disposition)
        link = await client.receiver("q", credit=2)
        for _ in range(2):
            await client.message()
        client.flow(link, 3, delivery_count=0)
        client.flow(link, 0, delivery_count=3, drain=True)
        await client.wait_for(Flow)
        assert sum(isinstance(each, Transfer) for each, _ in client.heard) <= 2


async def test_a_window_that_is_full_holds_messages_back(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        sender = await client.sender("q")
        for number in range(5):
            client.send(sender, message(str(number).encode()))
            await client.wait_for(Disposition)
        link = await client.receiver("q")
        heard = len(client.heard)
        client.say(
            Flow(
                next_incoming_id=1,
                incoming_window=2,
                next_outgoing_id=0,
                outgoing_window=9,
                handle=link.handle,
                link_credit=5,
                delivery_count=0,
            )
        )
        client.say(
            Flow(next_incoming_id=1, incoming_window=2, next_outgoing_id=0, outgoing_window=9, echo=True)
        )
        await client.wait_for(Flow)
        assert sum(isinstance(each, Transfer) for each, _ in client.heard[heard:]) == 2
        client.say(Flow(next_incoming_id=3, incoming_window=100, next_outgoing_id=0, outgoing_window=9))
        for number in (2, 3, 4):
            assert (await client.message())[1].data == (str(number).encode(),)


async def test_a_small_frame_size_is_respected(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port, max_frame_size=512) as client:
        sender = await client.sender("q")
        client.send(sender, message(bytes(5_000)))
        await client.wait_for(Disposition)
        await client.receiver("q", credit=1, settled=True)
        sizes = []
        more: bool | None = True
        while more:
            transfer, payload = await client.wait_with_payload(Transfer)
            sizes.append(len(payload))
            more = transfer.more
        assert sum(sizes) > 5_000
        assert max(sizes) < 512


async def test_a_released_message_goes_to_the_next(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        sender = await client.sender("q")
        client.send(sender, message(b"x"))
        await client.wait_for(Disposition)
        await client.receiver("q", credit=1)
        transfer, _ = await client.message()
        client.settle(transfer, Released())
        disposition = await client.wait_for(Disposition)
        assert isinstance(disposition.state, Described)
        assert (disposition.settled, disposition.state.descriptor) == (True, ULong(Released.CODE))
        await client.receiver("q", credit=1)
        again, _ = await client.message()
        assert again.delivery_tag != transfer.delivery_tag


async def test_a_session_that_ends_lets_go_of_its_links(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        await client.receiver("s", filters={"com.microsoft:session-filter": "device"})
        client.say(End())
        await client.wait_for(End)
        await client.begin()
        granted = await client.receiver("s", filters={"com.microsoft:session-filter": "device"})
        assert granted.source is not None


async def test_an_outcome_that_is_none_ends_the_connection(serving: Serving) -> None:
    async with serving() as (_, port), raw_client(port) as client:
        sender = await client.sender("q")
        client.send(sender, message(b"x"))
        await client.wait_for(Disposition)
        await client.receiver("q", credit=1)
        transfer, _ = await client.message()
        assert transfer.delivery_id is not None
        state = Described(ULong(0x99), [])
        client.say(Disposition(role=RECEIVER, first=transfer.delivery_id, state=state))
        assert error_of((await client.wait_for(Close)).error)[0] == "amqp:decode-error"


async def test_who_leaves_while_waiting_for_a_session_gets_none(serving: Serving) -> None:
    async with serving() as (_, port):
        async with raw_client(port) as waiting:
            await waiting.receiver("s", filters={"com.microsoft:session-filter": None}, answered=False)
            await asyncio.sleep(0.05)
        async with raw_client(port) as client:
            sender = await client.sender("s")
            client.send(sender, message(b"x", session="device"))
            await client.wait_for(Disposition)
            granted = await client.receiver("s", filters={"com.microsoft:session-filter": None})
            assert granted.source is not None


async def test_stopping_says_so(serving: Serving) -> None:
    async with serving() as (server, port), raw_client(port) as client:
        await server.stop()
        close = await client.wait_for(Close)
        assert error_of(close.error)[0] == "amqp:connection:forced"
        await client.ended()
