"""What survives the broker: started again over the same file, it goes on where it was."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.amqp_client import message
from tools.local.servicebus.amqp.encode import encode
from tools.local.servicebus.amqp.message import read_message
from tools.local.servicebus.amqp.values import Described, Symbol, Timestamp, ULong
from tools.local.servicebus.broker import Incoming
from tools.local.servicebus.dispatch import Dispatcher
from tools.local.servicebus.entities import parse_config
from tools.local.servicebus.messages import State
from tools.local.servicebus.queues import Queue
from tools.local.servicebus.server import Server
from tools.local.servicebus.sessions import SessionQueue
from tools.local.servicebus.store import Store, StoreFailed


def config(**queue: Any) -> Any:
    once = {"RequiresDuplicateDetection": True, "DuplicateDetectionHistoryTimeWindow": "PT1M"}
    queues = [
        {"Name": "q", "Properties": queue},
        {"Name": "s", "Properties": {"RequiresSession": True}},
        {"Name": "once", "Properties": once},
    ]
    topics = [{"Name": "t", "Subscriptions": [{"Name": "a"}, {"Name": "b"}]}]
    return {"UserConfig": {"Namespaces": [{"Name": "n", "Queues": queues, "Topics": topics}]}}


class Broker:
    """A dispatcher over a file, with a clock that the test sets."""

    def __init__(self, path: Path, document: Any = None, now: int = 1_000_000) -> None:
        self.now = now
        self.failures: list[StoreFailed] = []
        entities = parse_config(document or config())
        self.dispatcher = Dispatcher(entities, lambda: Store(path, self.failures.append), lambda: self.now)

    async def send(self, path: str, *raws: bytes) -> None:
        await self.dispatcher.publish(path, [Incoming(raw, read_message(raw)) for raw in raws])

    async def change(self, operation: Callable[[int], Any]) -> None:
        await self.dispatcher.change(operation)

    def queue(self, path: str = "q") -> Queue:
        found = self.dispatcher.broker.queue(path)
        assert found is not None
        return found

    def sessions(self) -> SessionQueue:
        found = self.queue("s")
        assert isinstance(found, SessionQueue)
        return found

    def bodies(self, path: str = "q") -> list[bytes]:
        return [each.message.data[0] for each in self.queue(path).peek(0, 99, self.now)]


async def test_messages_keep_their_places_and_states(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    broker = Broker(path)
    await broker.send("q", *(message(each) for each in (b"a", b"b", b"c", b"d", b"e")))
    queue = broker.queue()
    taken = [queue.take(broker.now) for _ in range(4)]
    tokens = [each.lock.token for each in taken if each and each.lock]
    await broker.change(lambda now: queue.complete(tokens[0], now))
    await broker.change(lambda now: queue.abandon(tokens[1], now))
    await broker.change(lambda now: queue.defer(tokens[2], now))
    await broker.change(lambda now: queue.dead_letter(tokens[3], "why", "because", now))
    broker.dispatcher.close()

    again = Broker(path)
    assert again.bodies() == [b"b", b"c", b"e"]
    abandoned, deferred, _ = again.queue().peek(0, 9, again.now)
    assert (abandoned.delivery_count, abandoned.state) == (1, State.ACTIVE)
    assert deferred.state is State.DEFERRED
    [dead] = again.queue("q/$DeadLetterQueue").messages.values()
    assert (dead.reason, dead.description) == ("why", "because")
    await again.send("q", message(b"f"))
    numbers = [each.sequence for each in again.queue().peek(0, 9, again.now)]
    assert numbers == [2, 3, 5, 6], "a number is never given twice"
    again.dispatcher.close()


async def test_numbers_go_on_after_an_empty_queue(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    broker = Broker(path)
    await broker.send("q", message(b"a"))
    await broker.change(lambda now: broker.queue().take_away(now))
    broker.dispatcher.close()
    again = Broker(path)
    await again.send("q", message(b"b"))
    assert list(again.queue().messages) == [2]
    again.dispatcher.close()


async def test_locks_end_with_the_broker_and_count_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    broker = Broker(path)
    await broker.send("q", message(b"a"))
    await broker.send("s", message(b"b", session="x"))
    broker.queue().take(broker.now)
    owner = broker.sessions().accept("x", broker.now)
    broker.sessions().take_of(owner, broker.now)
    await broker.change(lambda now: broker.sessions().set_state(owner, b"state", now))
    broker.dispatcher.close()
    again = Broker(path)
    taken = again.queue().take(again.now)
    assert taken is not None
    assert taken.delivery_count == 0
    accepted = again.sessions().accept_next(again.now)
    assert accepted is not None
    assert again.sessions().state_of("x") == b"state"
    again.dispatcher.close()


async def test_time_passes_while_the_broker_is_away(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    document = config(DefaultMessageTimeToLive="PT10S", DeadLetteringOnMessageExpiration=True)
    broker = Broker(path, document)
    due = encode(
        Described(ULong(0x72), {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(broker.now + 5_000)})
    )
    await broker.send("q", message(b"mortal"), due + message(b"later"))
    await broker.send("t", due + message(b"event"))
    broker.dispatcher.close()
    again = Broker(path, document, now=1_000_000 + 12_000)
    # The sweep comes with the timer, which is due already.
    async with asyncio.timeout(10):
        while again.bodies("q/$DeadLetterQueue") != [b"mortal"]:
            await asyncio.sleep(0.01)
    assert again.bodies() == [b"later"]
    assert again.bodies("t/Subscriptions/a") == again.bodies("t/Subscriptions/b") == [b"event"]
    again.dispatcher.close()


async def test_duplicates_are_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    broker = Broker(path)
    await broker.send("once", message(b"first", message_id="1"))
    await broker.change(lambda now: broker.queue("once").take_away(now))
    broker.dispatcher.close()
    again = Broker(path)
    await again.send("once", message(b"again", message_id="1"))
    assert again.bodies("once") == []
    again.now += 60_000
    await again.send("once", message(b"later", message_id="1"))
    assert again.bodies("once") == [b"later"]
    again.dispatcher.close()


async def test_entities_that_are_gone_keep_their_messages(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bus.db"
    broker = Broker(path)
    await broker.send("q", message(b"a"))
    broker.dispatcher.close()
    other = {"UserConfig": {"Namespaces": [{"Name": "n", "Queues": [{"Name": "other"}]}]}}
    without = Broker(path, other)
    assert "1 message(s) of q" in caplog.text
    without.dispatcher.close()
    again = Broker(path)
    assert again.bodies() == [b"a"]
    again.dispatcher.close()


async def test_a_queue_that_got_sessions_dead_letters_what_has_none(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    broker = Broker(path)
    await broker.send("q", message(b"a"), message(b"b", session="x"))
    broker.dispatcher.close()
    again = Broker(path, config(RequiresSession=True))
    assert again.bodies() == [b"b"]
    assert again.bodies("q/$DeadLetterQueue") == [b"a"]
    again.dispatcher.close()


async def test_two_brokers_never_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    broker = Broker(path)
    with pytest.raises(StoreFailed, match="another broker"):
        Broker(path)
    broker.dispatcher.close()
    Broker(path).dispatcher.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
async def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bus.db"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreFailed):
        Broker(path)
    assert path.read_bytes()[:64] == content[:64]


async def test_writes_that_wait_share_a_commit(tmp_path: Path) -> None:
    path = tmp_path / "bus.db"
    broker = Broker(path)
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    broker.dispatcher._store._connection.set_trace_callback(count)
    await asyncio.gather(*(broker.send("q", message(b"x")) for _ in range(400)))
    assert 1 <= commits < 100
    broker.dispatcher.close()


async def test_a_store_that_fails_ends_the_broker_and_confirms_nothing(tmp_path: Path) -> None:
    server = Server(parse_config(config()), tmp_path / "bus.db")
    server.dispatcher._store._connection.execute("DROP TABLE messages")
    raw = message(b"x")
    publishing = server.dispatcher.publish("q", [Incoming(raw, read_message(raw))])
    failure = await asyncio.wait_for(server.failed, 10)
    assert "can't be written" in str(failure)
    with pytest.raises(asyncio.CancelledError):
        await publishing
    queue = server.dispatcher.broker.queue("q")
    assert queue is not None
    assert queue.messages == {}
    await server.stop()
