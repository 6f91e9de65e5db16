"""How a change travels, with real parts: two hosts, Service Bus, Redis, the audit log; and without each of them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.storage.blob import BlobServiceClient

from tests.support.leftovers import leftovers as leftovers
from tests.support.leftovers import may_leave_sockets
from tests.support.system import PASSWORD, ROOT, System
from tools.local.processes import free_ports
from tools.local.running import (
    FunctionsHost,
    Redis,
    ServiceBus,
    running_azurite,
    running_host,
    start_redis,
    start_servicebus,
)
from tools.local.servicebus.address import connection_string

pytestmark = may_leave_sockets
SOON = 30.0


def within(holds: Callable[[], Any], seconds: float = SOON) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return found


@dataclass
class Device:
    """A login, at one of the hosts."""

    client: httpx.Client
    id: str

    def cursor(self) -> str:
        return str(self.client.get("/api/changes").json()["cursor"])

    def poll(self, cursor: str, wait: int = 20) -> httpx.Response:
        return self.client.get("/api/notifications", params={"cursor": cursor, "wait": wait}, timeout=60)

    def upload(self, name: str) -> dict[str, Any]:
        answer = self.client.post("/api/files/upload", params={"path": f"/{name}"}, content=name.encode())
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document


@dataclass
class Whole:
    """All parts, each of which a test may end and start again."""

    system: System
    bus_port: int
    redis_port: int
    stack: ExitStack = field(default_factory=ExitStack)
    bus: ServiceBus = field(init=False)
    redis: Redis = field(init=False)
    hosts: list[FunctionsHost] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.system.folder

    def start_bus(self) -> None:
        self.bus = start_servicebus(self.folder / "bus.db", self.bus_port, self.folder / "bus.log")

    def start_redis(self) -> None:
        """An empty one."""
        self.redis = start_redis(self.folder / "redis", self.redis_port, self.folder / "redis.log")

    def start(self) -> None:
        self.stack.enter_context(running_azurite(self.folder, self.system.azurite_ports))
        self.start_bus()
        self.start_redis()
        self.system.ops("migrate")
        self.hosts = [self._host("api,blocks,poll,workers", None)]
        self.start_second_host(None)

    def start_second_host(self, port: int | None) -> None:
        """One without timers and triggers."""
        self.hosts[1:] = [self._host("api,blocks,poll", port)]

    def _host(self, roles: str, port: int | None) -> FunctionsHost:
        environment = {**self.system.environment, "APP_ROLES": roles}
        return self.stack.enter_context(
            running_host(ROOT, environment, port, folder=self.folder / roles.replace(",", "-"))
        )

    def stop(self) -> None:
        self.stack.close()
        self.bus.child.stop()
        self.redis.child.stop()

    @contextmanager
    def device(self, username: str, host: int = 0) -> Iterator[Device]:
        with httpx.Client(base_url=self.hosts[host].url, timeout=60) as client:
            credentials = {"username": username, "password": PASSWORD}
            client.post("/api/register", json=credentials)
            login = client.post("/api/login", json=credentials).json()
            client.headers["Authorization"] = f"Bearer {login['access_token']}"
            yield Device(client, login["device_id"])

    def ready(self, host: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = httpx.get(f"{self.hosts[host].url}/api/health/ready", timeout=30).json()
        return document

    def audited(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with BlobServiceClient.from_connection_string(self.system.azurite_ports.connection_string) as service:
            container = service.get_container_client("audit")
            for name in sorted(container.list_blob_names()):
                content = container.get_blob_client(name).download_blob().readall()
                found += [json.loads(line) for line in content.splitlines()]
        return found

    def recorded(self, reader: Device, cursor: str) -> bool:
        """Whether the log has all that is behind the cursor. It may be there twice, with the same id."""
        [behind] = reader.poll(cursor, wait=0).json()["events"]
        namespace, seq = behind["namespace"], behind["seq"]
        seqs = {each["seq"] for each in self.audited() if each.get("namespace") == namespace}
        return set(range(max(1, seq - 5), seq + 1)) <= seqs

    def is_present(self, device: Device) -> bool:
        with redis.Redis.from_url(self.redis.url) as client:
            return bool(client.exists(f"strata:present:{device.id}"))

    def dead_letters(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "tools.ops.dead_letters", *arguments]
        environment = {"PATH": "", **self.system.environment}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout.splitlines()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    bus_port, redis_port = free_ports(2)
    system = System(
        tmp_path_factory.mktemp("events"),
        {
            "SERVICEBUS_CONNECTION_STRING": connection_string(bus_port),
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "RELAY_EVENTS_SCHEDULE": "* * * * * *",
            "RELAY_PATIENCE_SECONDS": "1",
            "JOB_LEASE_SECONDS": "2",
        },
    )
    whole = Whole(system, bus_port, redis_port)
    try:
        whole.start()
        yield whole
    finally:
        whole.stop()


@pytest.fixture
def crew() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as crew:
        yield crew


def test_a_change_wakes_who_waits_reaches_who_was_away_and_is_recorded(
    whole: Whole, crew: ThreadPoolExecutor
) -> None:
    with (
        whole.device("ann") as writer,
        whole.device("ann", host=1) as waiter,
        whole.device("ann", host=1) as away,
    ):
        cursor = writer.cursor()
        waiting = crew.submit(waiter.poll, cursor)
        within(lambda: whole.is_present(waiter))
        writer.upload("one")
        told = waiting.result().json()
        assert (told["changed"], told["backlog"]) == (True, [])
        for number in range(5):
            writer.upload(f"more-{number}")
        within(lambda: whole.recorded(writer, cursor))
        hints = within(lambda: away.poll(cursor, wait=0).json()["backlog"])
        assert [hint["namespace"] for hint in hints] == [told["events"][0]["namespace"]], (
            "one, however many changes there were"
        )
        assert waiter.poll(cursor, wait=0).json()["backlog"] == [], "who waited has none"
    assert whole.ready()["status"] == "ready"


def test_a_newer_wait_and_the_end_of_a_device_are_heard_by_other_hosts(
    whole: Whole, crew: ThreadPoolExecutor
) -> None:
    with whole.device("bea") as owner, whole.device("bea", host=1) as lost:
        cursor = owner.cursor()
        older = crew.submit(lost.poll, cursor, 25)
        within(lambda: whole.is_present(lost))
        with httpx.Client(base_url=whole.hosts[0].url, headers=lost.client.headers) as elsewhere:
            begun = time.monotonic()
            newer = crew.submit(Device(elsewhere, lost.id).poll, cursor, 25)
            assert older.result().json()["superseded"]
            assert owner.client.delete(f"/api/devices/{lost.id}").status_code == 200
            assert newer.result().status_code == 401
        assert time.monotonic() - begun < 12, "long before the end of either wait"
        assert not whole.is_present(lost)


def test_what_nobody_can_read_is_a_dead_letter_with_the_reason_and_delays_nothing(whole: Whole) -> None:
    bodies = {"bad-1": b"\x00\x01", "bad-2": b'{"version": 99}', "bad-3": b'{"version": 1}'}
    with (
        ServiceBusClient.from_connection_string(whole.bus.connection_string) as client,
        client.get_topic_sender("file-events") as sender,
        whole.device("cem") as writer,
    ):
        sender.send_messages([ServiceBusMessage(body, message_id=name) for name, body in bodies.items()])
        cursor = writer.cursor()
        writer.upload("good")
        within(lambda: whole.recorded(writer, cursor))

    place = ("--topic", "rejected-messages", "--subscription", "operators")

    def rejected() -> dict[str, str]:
        found = map(json.loads, whole.dead_letters("list", "--json", *place))
        return {each["message_id"].partition(":")[0]: each["reason"] for each in found}

    reasons = {"bad-1": "Malformed", "bad-2": "FutureVersion", "bad-3": "Malformed"}
    within(lambda: len(rejected()) == 3)
    assert rejected() == reasons
    assert {each["message_id"] for each in whole.audited() if "unreadable" in each} == reasons.keys()
    assert whole.dead_letters("redrive", *place) == ["rejected-messages/operators: 3 sent again"]
    # They come to `notify` alone, and are as unreadable there as they were.
    within(lambda: rejected() == reasons)
    assert len([each for each in whole.audited() if "unreadable" in each]) == 3


def test_lost_event_heals_service_bus_is_killed_and_comes_back(
    whole: Whole, crew: ThreadPoolExecutor
) -> None:
    with whole.device("dan") as writer, whole.device("dan", host=1) as waiter:
        cursor = writer.cursor()
        whole.bus.child.kill()
        waiting = crew.submit(waiter.poll, cursor)
        within(lambda: whole.is_present(waiter))
        writer.upload("while-it-is-away")
        assert waiting.result().json()["changed"], "nobody needs it to hear of a change"
        health = within(lambda: found if (found := whole.ready())["status"] == "degraded" else None)
        assert health["parts"]["events"] == "away"
        assert health["events"]["waiting"] > 0
        whole.start_bus()
        within(lambda: whole.recorded(writer, cursor), 60)
        health = within(lambda: found if (found := whole.ready())["status"] == "ready" else None)
        assert health["events"]["waiting"] == 0


def test_redis_is_killed_and_comes_back_empty(whole: Whole, crew: ThreadPoolExecutor) -> None:
    with whole.device("eve") as writer, whole.device("eve", host=1) as waiter:
        cursor = writer.cursor()
        waiting = crew.submit(waiter.poll, cursor)
        within(lambda: whole.is_present(waiter))
        whole.redis.child.kill()
        writer.upload("without")
        assert waiting.result().json()["changed"], "the journal is looked at every few seconds"
        cursor = writer.cursor()
        waiting = crew.submit(waiter.poll, cursor)
        whole.start_redis()
        writer.upload("with-an-empty-one")
        assert waiting.result().json()["changed"]
        within(lambda: whole.recorded(writer, cursor))


def test_outbox_neither_phantom_nor_loss_a_host_that_is_killed_behind_its_answer(whole: Whole) -> None:
    """The events of what was acknowledged come from the other processes' timer, or from the next host's."""
    port = whole.hosts[1].port
    for number in range(2):
        with whole.device("fay", host=1) as writer:
            cursor = writer.cursor()
            writer.upload(f"{number}")
            whole.hosts[1].kill()
        whole.start_second_host(port)
        with whole.device("fay", host=1) as reader:
            within(lambda reader=reader, cursor=cursor: whole.recorded(reader, cursor))
