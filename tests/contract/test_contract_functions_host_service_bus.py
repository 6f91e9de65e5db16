"""Service Bus functions on the local host, over the local Service Bus: what Microsoft's host and extension promise."""

import asyncio
import gc
import json
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient

from tests.contract.service_bus import fresh
from tests.support.leftovers import leftovers as leftovers
from tests.support.leftovers import may_leave_sockets
from tools.local import processes
from tools.local.host import servicebus_receive
from tools.local.host.errors import HostError
from tools.local.host.hostjson import parse_host_json
from tools.local.host.loading import load_app
from tools.local.host.server import Host, Options
from tools.local.running import ServiceBus, running_servicebus, start_servicebus

HEAD = """
import asyncio, json, threading, time
from pathlib import Path
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
lines = Path(__file__).parent / "lines"
lock = threading.Lock()

def note(**what):
    with lock, open(lines, "a") as file:
        file.write(json.dumps(what) + "\\n")

def body(message):
    return message.get_body().decode()
"""
QUEUES = [
    {"Name": "in", "Properties": {"LockDuration": "PT1S", "MaxDeliveryCount": 3}},
    {"Name": "out", "Properties": {}},
    {
        "Name": "sessions",
        "Properties": {"RequiresSession": True, "LockDuration": "PT1S", "MaxDeliveryCount": 3},
    },
]
TOPICS = [{"Name": "events", "Subscriptions": [{"Name": "one"}, {"Name": "two"}]}]
CONFIG = {"UserConfig": {"Namespaces": [{"Name": "n", "Queues": QUEUES, "Topics": TOPICS}]}}

pytestmark = may_leave_sockets


class App:
    """A running host with one app, and a client of the same broker."""

    def __init__(self, folder: Path, host: Host, client: ServiceBusClient) -> None:
        self._folder, self.host, self.client = folder, host, client
        self.port: int = host.triggers[0].port

    def lines(self) -> list[dict[str, Any]]:
        path = self._folder / "lines"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def noted(self, count: int, seconds: float = 25.0) -> list[dict[str, Any]]:
        """The first notes of the functions, once there are so many."""
        async with asyncio.timeout(seconds):
            while len(found := self.lines()) < count:
                await asyncio.sleep(0.03)
        return found

    async def send(self, queue: str, *messages: ServiceBusMessage) -> None:
        async with self.client.get_queue_sender(queue) as sender:
            await sender.send_messages(list(messages))

    async def receive(self, queue: str, *, dead: bool = False) -> Any:
        part = ServiceBusSubQueue.DEAD_LETTER if dead else None
        async with self.client.get_queue_receiver(queue, sub_queue=part) as receiver:
            [message] = await receiver.receive_messages(1, max_wait_time=25)
            await receiver.complete_message(message)
            return message

    async def left(self, queue: str) -> int:
        async with self.client.get_queue_receiver(queue) as receiver:
            return len(await receiver.peek_messages(100, sequence_number=1))

    async def emptied(self, queue: str) -> None:
        async with asyncio.timeout(25):
            while await self.left(queue):
                await asyncio.sleep(0.05)


Serving = Callable[..., Any]


@pytest.fixture(scope="module")
def module_connection(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("host-servicebus")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    with running_servicebus(folder, folder / "config.json") as broker:
        yield broker.connection_string


@pytest.fixture
def serving(tmp_path: Path, module_connection: str) -> Serving:
    @asynccontextmanager
    async def serve(
        source: str, *, grace: float = 10, connection: str = module_connection, **service_bus: Any
    ) -> AsyncIterator[App]:
        (tmp_path / "function_app.py").write_text(HEAD + textwrap.dedent(source))
        environment = {"BUS": connection, "QUEUE": "in"}
        settings = parse_host_json(
            {"version": "2.0", "extensions": {"http": {"routePrefix": ""}, "serviceBus": service_bus}}
        )
        options = Options("127.0.0.1", 0, tmp_path / "state", grace, environment=environment)
        host = Host(load_app(tmp_path, environment), settings, options)
        await host.start()
        async with ServiceBusClient.from_connection_string(connection) as client:
            try:
                yield App(tmp_path, host, client)
            finally:
                await host.stop()

    return serve


async def test_a_queue_s_messages_come_one_by_one_with_all_that_is_known(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="BUS")
    def run(message: func.ServiceBusMessage, context):
        note(body=body(message), id=message.message_id, subject=message.subject, label=message.label,
             properties=message.application_properties, user=message.user_properties, count=message.delivery_count,
             content=message.content_type, correlation=message.correlation_id, to=message.to,
             number=message.sequence_number, token=message.lock_token,
             enqueued=message.enqueued_time_utc.isoformat(), function=context.function_name)
    """
    async with serving(source) as app:
        sent = ServiceBusMessage(
            "täxt",
            message_id="m1",
            subject="s",
            content_type="text/plain",
            correlation_id="c",
            to="t",
            application_properties={"name": "välue", "number": 7, "flag": True},
        )
        await app.send("in", sent)
        [seen] = await app.noted(1)
        await app.emptied("in")
    properties = {"name": "välue", "number": 7, "flag": True}
    assert (seen["body"], seen["id"], seen["subject"], seen["label"]) == ("täxt", "m1", "s", "s")
    assert seen["properties"] == seen["user"] == properties
    assert (seen["content"], seen["correlation"], seen["to"]) == ("text/plain", "c", "t")
    assert seen["count"] == 1, ".NET counts from one"
    assert seen["number"] > 0
    assert seen["token"]
    assert seen["enqueued"].startswith("20")
    assert seen["function"] == "run"


async def test_each_subscription_has_its_functions(serving: Serving) -> None:
    source = """
    @app.service_bus_topic_trigger(arg_name="message", topic_name="events", subscription_name="one", connection="BUS")
    async def first(message: func.ServiceBusMessage):
        note(at="one", body=body(message))

    @app.service_bus_topic_trigger(arg_name="message", topic_name="events", subscription_name="two", connection="BUS")
    async def second(message: func.ServiceBusMessage):
        note(at="two", body=body(message))
    """
    async with serving(source) as app:
        async with app.client.get_topic_sender("events") as sender:
            await sender.send_messages(ServiceBusMessage("x"))
        seen = await app.noted(2)
    assert sorted(each["at"] for each in seen) == ["one", "two"]


async def test_what_fails_comes_again_and_is_dead_lettered_at_last(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="message", queue_name="in", connection="BUS")
    def run(message: func.ServiceBusMessage):
        note(count=message.delivery_count, body=body(message))
        if body(message) == "bad":
            raise ValueError("no")
    """
    async with serving(source) as app:
        await app.send("in", ServiceBusMessage("bad"), ServiceBusMessage("good"))
        dead = await app.receive("in", dead=True)
        await app.emptied("in")
        seen = app.lines()
    assert str(dead) == "bad"
    assert dead.dead_letter_reason in (b"MaxDeliveryCountExceeded", "MaxDeliveryCountExceeded")
    assert [each["count"] for each in seen if each["body"] == "bad"] == [1, 2, 3]
    assert [each["count"] for each in seen if each["body"] == "good"] == [1]


async def test_many_messages_come_in_one_call(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="messages", queue_name="in", connection="BUS", cardinality="many")
    def run(messages: list[func.ServiceBusMessage]):
        note(bodies=[body(each) for each in messages], counts=[each.delivery_count for each in messages],
             properties=[each.user_properties for each in messages])
        time.sleep(0.3)
    """
    async with serving(source, maxMessageBatchSize=4) as app:
        await app.send("in", *(ServiceBusMessage(str(n), application_properties={"n": n}) for n in range(10)))
        await app.emptied("in")
        seen = app.lines()
    assert [n for each in seen for n in each["bodies"]] == [str(n) for n in range(10)]
    assert max(len(each["bodies"]) for each in seen) == 4
    assert [p["n"] for each in seen for p in each["properties"]] == list(range(10))


async def test_a_batch_waits_to_be_full(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="messages", queue_name="out", connection="BUS", cardinality="many")
    def run(messages: list[func.ServiceBusMessage]):
        note(bodies=[body(each) for each in messages])
    """
    async with serving(source, minMessageBatchSize=3, maxBatchWaitTime="00:00:20") as app:
        for number in range(3):
            await app.send("out", ServiceBusMessage(str(number)))
        [seen] = await app.noted(1)
        await app.emptied("out")
    assert seen["bodies"] == ["0", "1", "2"]


async def test_invocations_run_side_by_side_up_to_the_limit(serving: Serving) -> None:
    source = """
    running = 0
    @app.service_bus_queue_trigger(arg_name="message", queue_name="in", connection="BUS")
    async def run(message: func.ServiceBusMessage):
        global running
        running += 1
        await asyncio.sleep(0.4)
        note(running=running)
        running -= 1
    """
    async with serving(source, maxConcurrentCalls=3) as app:
        await app.send("in", *(ServiceBusMessage(str(n)) for n in range(20)))
        seen = await app.noted(20)
        await app.emptied("in")
    assert max(each["running"] for each in seen) == 3


async def test_a_lock_is_kept_while_its_function_runs(serving: Serving) -> None:
    """The lock is one second, the function takes three: without renewal another worker would get the message."""
    source = """
    @app.service_bus_queue_trigger(arg_name="message", queue_name="in", connection="BUS")
    async def run(message: func.ServiceBusMessage):
        note(count=message.delivery_count)
        await asyncio.sleep(3)
    """
    async with serving(source) as app:
        await app.send("in", ServiceBusMessage("slow"))
        await app.noted(1)
        await app.emptied("in")
        assert [each["count"] for each in app.lines()] == [1]


async def test_a_lock_is_not_kept_for_ever(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="message", queue_name="in", connection="BUS")
    async def run(message: func.ServiceBusMessage):
        note(count=message.delivery_count)
        if message.delivery_count == 1:
            await asyncio.sleep(4)
    """
    async with serving(source, maxAutoLockRenewalDuration="00:00:01") as app:
        await app.send("in", ServiceBusMessage("slow"))
        seen = await app.noted(2)
        await app.emptied("in")
    assert [each["count"] for each in seen] == [1, 2]


async def test_sessions_keep_their_order_and_share_the_work(serving: Serving) -> None:
    source = """
    running, most, together = set(), 0, 0
    @app.service_bus_queue_trigger(arg_name="message", queue_name="sessions", connection="BUS",
                                   is_sessions_enabled=True)
    async def run(message: func.ServiceBusMessage):
        global together
        assert message.session_id not in running
        running.add(message.session_id)
        together = max(together, len(running))
        await asyncio.sleep(0.1)
        running.discard(message.session_id)
        note(session=message.session_id, body=body(message), together=together)
    """
    names = [fresh() for _ in range(3)]
    async with serving(source, maxConcurrentSessions=2, sessionIdleTimeout="00:00:01") as app:
        for number in range(4):
            await app.send("sessions", *(ServiceBusMessage(str(number), session_id=name) for name in names))
        seen = await app.noted(12)
    for name in names:
        assert [each["body"] for each in seen if each["session"] == name] == ["0", "1", "2", "3"]
    assert seen[-1]["together"] == 2


async def test_a_failure_in_a_session_keeps_the_order(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="message", queue_name="sessions", connection="BUS",
                                   is_sessions_enabled=True)
    async def run(message: func.ServiceBusMessage):
        note(body=body(message), count=message.delivery_count)
        if body(message) == "0" and message.delivery_count < 3:
            raise ValueError("not yet")
    """
    name = fresh()
    async with serving(source, sessionIdleTimeout="00:00:01") as app:
        await app.send("sessions", *(ServiceBusMessage(str(n), session_id=name) for n in range(3)))
        seen = await app.noted(5)
    assert [(each["body"], each["count"]) for each in seen] == [
        ("0", 1),
        ("0", 2),
        ("0", 3),
        ("1", 1),
        ("2", 1),
    ]


async def test_many_messages_of_one_session(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="messages", queue_name="sessions", connection="BUS",
                                   is_sessions_enabled=True, cardinality="many")
    async def run(messages: list[func.ServiceBusMessage]):
        note(sessions=sorted({each.session_id for each in messages}), bodies=[body(each) for each in messages])
        await asyncio.sleep(2.5)
    """
    names = sorted(fresh() for _ in range(2))
    async with serving(source, sessionIdleTimeout="00:00:01") as app:
        await app.send(
            "sessions", *(ServiceBusMessage(str(n), session_id=s) for s in names for n in range(3))
        )
        seen = await app.noted(2)
        await app.emptied("out")
        await asyncio.sleep(3.2)
        assert len(app.lines()) == 2, "the session was kept locked while its function ran"
    assert sorted(each["sessions"] for each in seen) == [[name] for name in names]
    assert all(each["bodies"] == ["0", "1", "2"] for each in seen)


async def test_outputs_are_sent_after_success_and_only_then(serving: Serving) -> None:
    source = """
    @app.route(route="set", methods=["POST"])
    @app.service_bus_queue_output(arg_name="out", queue_name="out", connection="BUS")
    def set(req: func.HttpRequest, out: func.Out[str]):
        out.set(req.get_body().decode())
        if req.get_body() == b"fail":
            raise ValueError("no")
        return "set"

    @app.service_bus_queue_trigger(arg_name="message", queue_name="in", connection="BUS")
    @app.service_bus_topic_output(arg_name="$return", topic_name="events", connection="BUS")
    def forward(message: func.ServiceBusMessage):
        return body(message).upper()

    @app.service_bus_topic_trigger(arg_name="message", topic_name="events", subscription_name="one", connection="BUS")
    async def sink(message: func.ServiceBusMessage):
        note(body=body(message), content=message.content_type)

    @app.service_bus_topic_trigger(arg_name="message", topic_name="events", subscription_name="two", connection="BUS")
    async def other(message: func.ServiceBusMessage):
        pass
    """
    async with serving(source) as app, aiohttp.ClientSession(f"http://127.0.0.1:{app.port}") as http:
        async with http.post("/set", data=b"fail") as answer:
            assert answer.status == 500
        async with http.post("/set", data=b"hello") as answer:
            assert (answer.status, await answer.text()) == (200, "set")
        message = await app.receive("out")
        assert (str(message), message.content_type) == ("hello", "text/plain")
        assert await app.left("out") == 0
        await app.send("in", ServiceBusMessage("shout"))
        assert (await app.noted(1))[0]["body"] == "SHOUT"


async def test_an_output_that_can_t_be_sent_fails_the_invocation(serving: Serving) -> None:
    source = """
    @app.route(route="set")
    @app.service_bus_queue_output(arg_name="out", queue_name="out", connection="BUS")
    def set(req: func.HttpRequest, out: func.Out[str]):
        out.set({"a": 1})
        return "set"
    """
    async with serving(source) as app, aiohttp.ClientSession(f"http://127.0.0.1:{app.port}") as http:
        async with http.get("/set") as answer:
            assert answer.status == 500
        assert await app.left("out") == 0


async def test_stopping_waits_for_what_runs_and_gives_back_the_rest(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="message", queue_name="in", connection="BUS")
    async def run(message: func.ServiceBusMessage):
        note(begins=body(message))
        await asyncio.sleep(0.8)
        note(ends=body(message))
    """
    async with serving(source, maxConcurrentCalls=1) as app:
        await app.send("in", *(ServiceBusMessage(str(n)) for n in range(6)))
        await app.noted(1)
        await app.host.stop()
        begun = [each["begins"] for each in app.lines() if "begins" in each]
        assert [each["ends"] for each in app.lines() if "ends" in each] == begun
        rest = [name for name in "012345" if name not in begun]
        assert rest, "it has not waited for all of them"
        async with app.client.get_queue_receiver("in", receive_mode="receiveanddelete") as receiver:
            found: list[Any] = []
            while len(found) < len(rest):
                found += await receiver.receive_messages(len(rest) - len(found), max_wait_time=10)
    assert [(str(each), each.delivery_count) for each in found] == [(name, 0) for name in rest]


async def test_admin_runs_a_function_with_a_message_of_its_own(serving: Serving) -> None:
    source = """
    @app.service_bus_queue_trigger(arg_name="message", queue_name="in", connection="BUS")
    async def run(message: func.ServiceBusMessage):
        note(body=body(message))
    """
    async with serving(source) as app:
        trigger = app.host.admin.runners["serviceBusTrigger"]
        [loaded] = [each for each in app.host._app.functions if each.name == "run"]
        await trigger.run_now(loaded, "by hand")
        assert app.lines() == [{"body": "by hand"}]


async def test_a_broker_that_goes_away_and_comes_back_is_found_again(
    tmp_path: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servicebus_receive, "_LONGEST_PAUSE", 1.0)
    source = """
    @app.service_bus_queue_trigger(arg_name="message", queue_name="in", connection="BUS")
    async def queue(message: func.ServiceBusMessage):
        note(body=body(message))

    @app.service_bus_queue_trigger(arg_name="message", queue_name="sessions", connection="BUS",
                                   is_sessions_enabled=True)
    async def sessions(message: func.ServiceBusMessage):
        note(body=body(message))
    """
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    [port] = processes.free_ports(1)

    def start() -> ServiceBus:
        return start_servicebus(tmp_path / "bus.db", port, tmp_path / "bus.log", tmp_path / "config.json")

    broker = start()
    try:
        async with serving(source, connection=broker.connection_string) as app:
            await app.send("in", ServiceBusMessage("before"))
            await app.noted(1)
            broker.child.kill()
            broker = await asyncio.to_thread(start)
            await app.send("in", ServiceBusMessage("after"))
            await app.send("sessions", ServiceBusMessage("in a session", session_id="s"))
            seen = await app.noted(3, seconds=60)
            assert sorted(each["body"] for each in seen[1:]) == ["after", "in a session"]
            broker.child.kill()
            # Without a broker it ends as well.
            await asyncio.wait_for(app.host.stop(), 30)
    finally:
        broker.child.stop()
    gc.collect()
    await asyncio.sleep(0.1)


BAD = {
    "no queue": (
        '@app.service_bus_queue_trigger(arg_name="m", queue_name="", connection="BUS")',
        "needs a queue",
    ),
    "no setting": (
        '@app.service_bus_queue_trigger(arg_name="m", queue_name="in", connection="NONE")',
        "NONE",
    ),
    "no resolution": (
        '@app.service_bus_queue_trigger(arg_name="m", queue_name="%NONE%", connection="BUS")',
        "NONE",
    ),
    "settling by hand": (
        '@app.service_bus_queue_trigger(arg_name="m", queue_name="in", connection="BUS", auto_complete_messages=False)',
        "autoCompleteMessages",
    ),
    "another parameter": (
        '@app.service_bus_queue_trigger(arg_name="x", queue_name="in", connection="BUS")',
        "parameters must be",
    ),
    "an output to nowhere": (
        '@app.service_bus_queue_output(arg_name="$return", queue_name="", connection="BUS")\n'
        '@app.service_bus_queue_trigger(arg_name="m", queue_name="in", connection="BUS")',
        "name of a queue or of a topic",
    ),
}


@pytest.mark.parametrize("what", BAD)
async def test_what_can_t_be_served_is_refused_at_start(serving: Serving, what: str) -> None:
    decorator, words = BAD[what]
    with pytest.raises(HostError, match=words):
        async with serving(f"{textwrap.indent(decorator, '    ')}\n    def run(m):\n        pass\n"):
            pass
