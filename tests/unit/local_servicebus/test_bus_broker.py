"""The broker without sockets, disk or time: the clock is a number that the test sets."""

import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest

from tools.local.servicebus.amqp.encode import encode
from tools.local.servicebus.amqp.message import read_message
from tools.local.servicebus.amqp.values import Described, Symbol, Timestamp, UInt, ULong
from tools.local.servicebus.broker import Broker, Incoming, Refused
from tools.local.servicebus.entities import parse_config
from tools.local.servicebus.journal import Journal
from tools.local.servicebus.messages import State, Stored
from tools.local.servicebus.queues import LockLost, NotFound, Queue
from tools.local.servicebus.sessions import SessionBusy, SessionQueue


def incoming(
    body: str = "x",
    *,
    message_id: str | None = None,
    session: str | None = None,
    ttl: int | None = None,
    due: int | None = None,
    **properties: Any,
) -> Incoming:
    sections: list[tuple[int, object]] = []
    if ttl is not None:
        sections.append((0x70, [None, None, UInt(ttl)]))
    if due is not None:
        sections.append((0x72, {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(due)}))
    sections.append((0x73, [message_id, *[None] * 9, session]))
    sections += [(0x74, properties), (0x75, body.encode())]
    raw = b"".join(encode(Described(ULong(code), value)) for code, value in sections)
    return Incoming(raw, read_message(raw))


def body(stored: Stored | None) -> str | None:
    return None if stored is None else stored.message.data[0].decode()


def config(properties: dict[str, Any] | None = None, **topic: Any) -> Any:
    queues = [
        {"Name": "q", "Properties": {"LockDuration": "PT10S", "MaxDeliveryCount": 3, **(properties or {})}}
    ]
    topics = [{"Name": "t", **topic}] if topic else []
    return {"UserConfig": {"Namespaces": [{"Name": "n", "Queues": queues, "Topics": topics}]}}


@dataclass
class World:
    """A broker, and what is on its disk: messages by their place, kept up from the journal."""

    document: Any
    now: int = 1_000_000
    most_bytes: int = 10**9
    journal: Journal = field(default_factory=Journal)
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        entities = parse_config(self.document)
        self.broker = Broker(
            entities,
            self.journal,
            wake=lambda queue: self.woken.append(queue.path),
            most_bytes=self.most_bytes,
        )

    def send(self, path: str, *messages: Incoming) -> list[int]:
        publication = self.broker.prepare(path, messages, self.now)
        self.broker.admit(publication)
        return publication.sequences

    def queue(self, path: str = "q") -> Queue:
        found = self.broker.queue(path)
        assert found is not None
        return found

    def sessions(self, path: str = "q") -> SessionQueue:
        found = self.queue(path)
        assert isinstance(found, SessionQueue)
        return found

    def after(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.broker.sweep(self.now)

    def bodies(self, path: str = "q") -> list[str | None]:
        return [body(each) for each in self.queue(path).peek(0, 100, self.now)]

    def token(self, stored: Stored | None) -> uuid.UUID:
        assert stored is not None
        assert stored.lock is not None
        return stored.lock.token


DEAD = "q/$DeadLetterQueue"


# --- locks


def test_messages_are_taken_in_their_order_and_once() -> None:
    world = World(config())
    world.send("q", *(incoming(each) for each in "abc"))
    queue = world.queue()
    assert [body(queue.take(world.now)) for _ in range(4)] == ["a", "b", "c", None]


def test_a_lock_ends_to_the_millisecond() -> None:
    world = World(config())
    world.send("q", incoming())
    taken = world.queue().take(world.now)
    token = world.token(taken)
    world.after(9_999)
    assert world.queue().take(world.now) is None
    world.after(1)
    with pytest.raises(LockLost):
        world.queue().complete(token, world.now)
    again = world.queue().take(world.now)
    assert again is taken
    assert again is not None
    assert again.delivery_count == 1


def test_a_lock_is_lost_even_when_nobody_has_swept() -> None:
    world = World(config())
    world.send("q", incoming())
    token = world.token(world.queue().take(world.now))
    world.now += 10_000
    with pytest.raises(LockLost):
        world.queue().complete(token, world.now)
    assert world.bodies() == ["x"]


def test_a_renewed_lock_counts_from_its_renewal() -> None:
    world = World(config())
    world.send("q", incoming())
    token = world.token(world.queue().take(world.now))
    world.after(8_000)
    assert world.queue().renew(token, world.now) == world.now + 10_000
    world.after(9_000)
    world.queue().complete(token, world.now)
    assert world.bodies() == []


def test_deliveries_that_fail_end_in_the_dead_letter_queue() -> None:
    world = World(config())
    world.send("q", incoming())
    for _ in range(2):
        world.queue().abandon(world.token(world.queue().take(world.now)), world.now)
    world.queue().take(world.now)
    world.after(10_000)
    assert (world.bodies(), world.bodies(DEAD)) == ([], ["x"])
    dead = world.queue(DEAD).take(world.now)
    assert dead is not None
    assert dead.reason == "MaxDeliveryCountExceeded"
    # There it may fail as often as it likes.
    for _ in range(5):
        world.queue(DEAD).abandon(world.token(dead), world.now)
        dead = world.queue(DEAD).take(world.now)
        assert dead is not None


def test_nothing_is_dead_lettered_from_a_dead_letter_queue() -> None:
    world = World(config())
    world.send("q", incoming())
    world.queue().dead_letter(world.token(world.queue().take(world.now)), "r", "d", world.now)
    world.queue(DEAD).dead_letter(world.token(world.queue(DEAD).take(world.now)), "r2", "d2", world.now)
    dead = world.queue(DEAD).take(world.now)
    assert dead is not None
    assert (dead.reason, dead.description) == ("r", "d")


def test_released_counts_nothing_and_deferred_waits_for_its_number() -> None:
    world = World(config())
    world.send("q", incoming("a"), incoming("b"))
    queue = world.queue()
    first = queue.take(world.now)
    queue.release(world.token(first), world.now)
    first = queue.take(world.now)
    assert first is not None
    assert (body(first), first.delivery_count) == ("a", 0)
    queue.defer(world.token(first), world.now)
    assert body(queue.take(world.now)) == "b"
    assert queue.take(world.now) is None
    [deferred] = queue.take_deferred([first.sequence], world.now)
    with pytest.raises(NotFound):
        queue.take_deferred([first.sequence], world.now)
    # A deferred message that nobody settles stays deferred, however often.
    for _ in range(4):
        world.after(10_000)
        [deferred] = queue.take_deferred([first.sequence], world.now)
    assert deferred.state is State.DEFERRED
    queue.complete(world.token(deferred), world.now)
    assert first.sequence not in queue.messages


def test_whoever_waits_is_woken_by_all_that_brings_a_message() -> None:
    world = World(config())
    queue = world.queue()

    def woken() -> bool:
        found, world.woken[:] = world.woken == ["q"], []
        return found

    world.send("q", incoming())
    assert woken()
    for act in (queue.abandon, queue.release):
        act(world.token(queue.take(world.now)), world.now)
        assert woken()
    queue.take(world.now)
    assert not woken()
    world.after(10_000)
    assert woken()
    queue.dead_letter(world.token(queue.take(world.now)), None, None, world.now)
    assert world.woken == [DEAD]
    world.woken.clear()
    world.broker.redrive(world.queue(DEAD), world.now, 1)
    assert woken()
    world.send("q", incoming(due=world.now + 10))
    assert not woken()
    world.after(10)
    assert woken()


def test_a_token_is_of_one_queue() -> None:
    world = World(config())
    world.send("q", incoming())
    token = world.token(world.queue().take(world.now))
    with pytest.raises(LockLost):
        world.queue(DEAD).complete(token, world.now)
    with pytest.raises(LockLost):
        world.queue().complete(uuid.uuid4(), world.now)


# --- time to live


def test_a_message_ends_with_its_time() -> None:
    world = World(config())
    world.send("q", incoming("short", ttl=500), incoming("long"))
    world.now += 500
    # Without a sweep too: it is not delivered after its end.
    assert body(world.queue().take(world.now)) == "long"
    assert world.bodies(DEAD) == []


def test_the_queue_s_time_is_the_longest() -> None:
    world = World(config({"DefaultMessageTimeToLive": "PT1S", "DeadLetteringOnMessageExpiration": True}))
    world.send("q", incoming("default"), incoming("longer", ttl=60_000), incoming("shorter", ttl=300))
    world.after(999)
    assert world.bodies() == ["default", "longer"]
    assert world.bodies(DEAD) == ["shorter"]
    world.after(1)
    assert world.bodies(DEAD) == ["default", "longer", "shorter"]
    assert world.queue(DEAD).messages[1].reason == "TTLExpiredException"
    world.after(10**9)
    assert len(world.bodies(DEAD)) == 3, "in a dead-letter queue nothing expires"


def test_whoever_has_a_message_may_finish_it_after_its_end() -> None:
    world = World(config({"DeadLetteringOnMessageExpiration": True}))
    world.send("q", incoming("kept", ttl=100), incoming("dropped", ttl=100))
    kept, dropped = world.queue().take(world.now), world.queue().take(world.now)
    world.after(5_000)
    world.queue().complete(world.token(kept), world.now)
    world.queue().abandon(world.token(dropped), world.now)
    world.after(0)
    assert (world.bodies(), world.bodies(DEAD)) == ([], ["dropped"])


# --- scheduling


def test_a_scheduled_message_gets_a_new_number_when_it_is_due() -> None:
    world = World(config({"DefaultMessageTimeToLive": "PT1S"}))
    [number] = world.send("q", incoming("later", due=world.now + 5_000))
    world.send("q", incoming("now"))
    world.after(4_999)
    assert world.queue().take(world.now) is None, "the other has expired, this one isn't due"
    world.after(1)
    taken = world.queue().take(world.now)
    assert taken is not None
    assert (body(taken), taken.sequence > number, taken.enqueued) == ("later", True, world.now)
    assert taken.expires == world.now + 1_000, "its life begins when it is enqueued"
    with pytest.raises(NotFound):
        world.broker.cancel("q", [number])


def test_cancelling_is_all_or_nothing() -> None:
    world = World(config())
    numbers = world.send("q", incoming(due=world.now + 10), incoming(due=world.now + 10))
    with pytest.raises(NotFound):
        world.broker.cancel("q", [*numbers, 99])
    assert len(world.bodies()) == 2
    world.broker.cancel("q", numbers)
    world.after(20)
    assert world.bodies() == []


def test_what_is_due_already_is_sent_at_once() -> None:
    world = World(config())
    assert world.send("q", incoming("past", due=world.now)) == []
    assert body(world.queue().take(world.now)) == "past"


# --- duplicates


def test_duplicates_are_those_within_the_window() -> None:
    world = World(config({"RequiresDuplicateDetection": True, "DuplicateDetectionHistoryTimeWindow": "PT1M"}))
    world.send(
        "q", incoming("a", message_id="1"), incoming("b", message_id="1"), incoming("c"), incoming("d")
    )
    world.after(59_999)
    world.send("q", incoming("e", message_id="1"))
    assert world.bodies() == ["a", "c", "d"]
    world.after(1)
    world.send("q", incoming("f", message_id="1"))
    assert world.bodies() == ["a", "c", "d", "f"]


def test_without_detection_ids_mean_nothing() -> None:
    world = World(config())
    world.send("q", incoming("a", message_id="1"), incoming("b", message_id="1"))
    assert world.bodies() == ["a", "b"]


# --- topics


def topic(**settings: Any) -> Any:
    def sql(text: str) -> list[dict[str, Any]]:
        return [{"Name": "r", "Properties": {"FilterType": "Sql", "SqlFilter": {"SqlExpression": text}}}]

    subscriptions = [
        {"Name": "all"},
        {"Name": "some", "Rules": sql("size > 5")},
        {"Name": "broken", "Rules": sql("1 / size = 7")},
        {"Name": "ordered", "Properties": {"RequiresSession": True}},
    ]
    return config(Subscriptions=subscriptions, **({"Properties": settings} if settings else {}))


SUBSCRIPTION = "t/Subscriptions/"


def test_a_publication_is_seen_by_all_subscriptions_or_none() -> None:
    world = World(topic())
    publication = world.broker.prepare("t", [incoming("a", size=9, session="s")], world.now)
    assert all(not each.messages for each in world.broker.queues.values())
    statements = world.journal.take()
    assert sum("INTO messages" in text for text, _ in statements) == 3
    world.broker.admit(publication)
    places = {path for path, each in world.broker.queues.items() if each.messages}
    assert places == {f"{SUBSCRIPTION}{name}".lower() for name in ("all", "some", "ordered")}


def test_a_failing_filter_and_a_missing_session_dead_letter_there_alone() -> None:
    world = World(topic())
    world.send("t", incoming("a", size=0))
    assert world.bodies(f"{SUBSCRIPTION}all") == ["a"]
    assert world.bodies(f"{SUBSCRIPTION}some") == []
    [broken] = world.queue(f"{SUBSCRIPTION}broken/$DeadLetterQueue").messages.values()
    assert broken.reason == "FilterException"
    [unordered] = world.queue(f"{SUBSCRIPTION}ordered/$DeadLetterQueue").messages.values()
    assert unordered.reason == "Session id is null."


def test_a_batch_with_a_message_that_is_refused_leaves_nothing() -> None:
    world = World(config({"RequiresSession": True, "RequiresDuplicateDetection": True}))
    good = incoming("a", message_id="1", session="s")
    with pytest.raises(Refused, match="SessionId"):
        world.send("q", good, incoming("b", message_id="2"))
    assert world.journal.take() == []
    world.send("q", good)
    assert world.bodies() == ["a"], "the first was not remembered as sent"


def test_a_scheduled_publication_fans_out_when_it_is_due() -> None:
    world = World(topic())
    world.send("t", incoming("later", size=1, session="s", due=world.now + 100))
    assert world.bodies(f"{SUBSCRIPTION}all") == []
    world.after(100)
    assert world.bodies(f"{SUBSCRIPTION}all") == ["later"]
    assert world.broker.topics["t"].scheduled.messages == {}


def test_a_full_broker_refuses() -> None:
    world = World(config(), most_bytes=400)
    world.send("q", incoming("a" * 200))
    with pytest.raises(Refused) as refused:
        world.send("q", incoming("b" * 200))
    assert refused.value.condition == "amqp:resource-limit-exceeded"
    world.queue().take_away(world.now)
    world.send("q", incoming("c" * 200))


def test_redriven_messages_are_new_and_last() -> None:
    world = World(config())
    world.send("q", *(incoming(each) for each in "abc"))
    for _ in "ab":
        world.queue().dead_letter(world.token(world.queue().take(world.now)), "r", None, world.now)
    assert world.broker.redrive(world.queue(DEAD), world.now, 10) == 2
    assert (world.bodies(), world.bodies(DEAD)) == (["c", "a", "b"], [])
    again = [world.queue().take(world.now) for _ in range(3)]
    assert [each.reason for each in again if each] == [None] * 3
    with pytest.raises(NotFound):
        world.broker.redrive(world.queue(), world.now, 10)


# --- sessions


def with_sessions() -> World:
    return World(config({"RequiresSession": True}))


def test_a_session_has_one_owner_and_its_own_order() -> None:
    world = with_sessions()
    world.send("q", incoming("a1", session="a"), incoming("b1", session="b"), incoming("a2", session="a"))
    queue = world.sessions()
    owner = queue.accept("a", world.now)
    with pytest.raises(SessionBusy):
        queue.accept("a", world.now)
    assert [body(queue.take_of(owner, world.now)) for _ in range(3)] == ["a1", "a2", None]
    other = queue.accept_next(world.now)
    assert other is not None
    assert other.session == "b"
    assert queue.accept_next(world.now) is None


def test_the_next_session_is_that_of_the_oldest_message() -> None:
    world = with_sessions()
    names = ["c", "a", "b"]
    world.send("q", *(incoming(each, session=each) for each in names))
    queue = world.sessions()
    owners = [queue.accept_next(world.now) for _ in names]
    assert [each.session for each in owners if each] == names


def test_an_expired_session_counts_and_a_released_one_doesn_t() -> None:
    world = with_sessions()
    world.send("q", incoming("x", session="s"))
    queue = world.sessions()
    owner = queue.accept("s", world.now)
    queue.take_of(owner, world.now)
    queue.release_session(owner)
    owner = queue.accept("s", world.now)
    taken = queue.take_of(owner, world.now)
    assert taken is not None
    assert taken.delivery_count == 0
    token = world.token(taken)
    world.after(10_000)
    assert queue.lost == [owner]
    for late in (lambda: queue.complete(token, world.now), lambda: queue.renew_session(owner, world.now)):
        with pytest.raises(LockLost):
            late()
    again = queue.accept_next(world.now)
    assert again is not None
    taken = queue.take_of(again, world.now)
    assert taken is not None
    assert taken.delivery_count == 1


def test_messages_of_a_session_are_held_as_long_as_it_is() -> None:
    world = with_sessions()
    world.send("q", incoming("x", session="s"))
    queue = world.sessions()
    owner = queue.accept("s", world.now)
    token = world.token(queue.take_of(owner, world.now))
    for _ in range(5):
        world.after(9_000)
        queue.renew_session(owner, world.now)
    queue.complete(token, world.now)
    assert world.bodies() == []


def test_state_is_for_the_owner_to_set() -> None:
    world = with_sessions()
    queue = world.sessions()
    owner = queue.accept("s", world.now)
    queue.set_state(owner, b"state", world.now)
    queue.release_session(owner)
    assert queue.state_of("s") == b"state"
    with pytest.raises(LockLost):
        queue.set_state(owner, b"late", world.now)
    assert queue.sessions(None) == ["s"]
    assert (queue.sessions(world.now - 1), queue.sessions(world.now)) == (["s"], [])


def test_sessions_that_are_empty_are_forgotten() -> None:
    world = with_sessions()
    queue = world.sessions()
    for number in range(5_000):
        world.send("q", incoming(session=f"s{number}"))
        owner = queue.accept(f"s{number}", world.now)
        queue.take_away_of(owner, world.now)
        queue.release_session(owner)
    assert len(queue._sessions) == 0
    assert len(queue._offers) < 2_000


def test_what_is_over_leaves_no_alarm_behind() -> None:
    world = World(config())
    for _ in range(20_000):
        world.send("q", incoming(ttl=10**6))
        world.queue().take_away(world.now)
    assert len(world.queue()._alarms) < 2_000


def test_dead_lettering_in_a_session_goes_to_a_queue_without() -> None:
    world = with_sessions()
    world.send("q", incoming("x", session="s"))
    queue = world.sessions()
    owner = queue.accept("s", world.now)
    queue.dead_letter(world.token(queue.take_of(owner, world.now)), "r", None, world.now)
    assert body(world.queue(DEAD).take(world.now)) == "x"


# --- anything, in any order


@pytest.mark.parametrize("attempt", range(6))
def test_no_message_is_lost_or_doubled_whatever_is_done(attempt: int) -> None:
    """Each message is in exactly one place, and what the journal says of the disk is what memory holds."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    world = World(config({"MaxDeliveryCount": 4}))
    queue, dead = world.queue(), world.queue(DEAD)
    disk: set[tuple[str, int]] = set()
    sent = completed = 0
    tokens: list[tuple[Queue, uuid.UUID]] = []
    for _ in range(1_500):
        match chance.choice(["send", "take", "take", "settle", "settle", "wait", "redrive"]):
            case "send":
                world.send("q", *(incoming(str(sent + each)) for each in range(chance.randint(1, 3))))
                sent = world.queue().next_sequence
            case "take":
                chosen = chance.choice([queue, dead])
                taken = chosen.take(world.now)
                if taken is not None:
                    tokens.append((chosen, world.token(taken)))
            case "settle" if tokens:
                where, token = tokens.pop(chance.randrange(len(tokens)))
                act = chance.choice(["complete", "abandon", "release", "defer", "dead"])
                try:
                    match act:
                        case "complete":
                            where.complete(token, world.now)
                            completed += 1
                        case "abandon":
                            where.abandon(token, world.now)
                        case "release":
                            where.release(token, world.now)
                        case "defer":
                            stored = where.locked(token, world.now)
                            where.defer(token, world.now)
                            if chance.random() < 0.7:
                                where.take_deferred([stored.sequence], world.now)
                        case _:
                            where.dead_letter(token, "r", None, world.now)
                except LockLost:
                    assert act
            case "wait":
                world.after(chance.choice([1, 2_000, 10_000]))
            case "redrive":
                world.broker.redrive(dead, world.now, 2)
        for text, values in world.journal.take():
            if text.startswith("INSERT INTO messages"):
                disk.add((str(values[0]), int(str(values[1]))))
            elif text.startswith("DELETE FROM messages"):
                disk.remove((str(values[0]), int(str(values[1]))))
            elif "SET entity" in text:
                disk.remove((str(values[-2]), int(str(values[-1]))))
                disk.add((str(values[0]), int(str(values[1]))))
        assert disk == {(each.path, number) for each in (queue, dead) for number in each.messages}
    assert completed > 0
    bodies = [body(each) for each in (*queue.messages.values(), *dead.messages.values())]
    assert len(set(bodies)) == len(bodies)
