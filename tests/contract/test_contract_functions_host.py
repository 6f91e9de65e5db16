"""What Microsoft's Functions host promises, promise by promise, held against the host of this project.

Each test names where the promise is made. One host serves one app for the whole module, as a process of its own over
a real Azurite; what functions see of themselves they append to a file. Promises about starting, stopping and being two
get hosts of their own.
"""

import base64
import http.client
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient

from tools.local.processes import free_ports
from tools.local.running import Azurite, FunctionsHost, running_host

HEAD = """
import asyncio, json, os, time
import azure.functions as func
import azurefunctions.extensions.bindings.blob as sdk
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

def note(what, **fields):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(json.dumps({"what": what, "pid": os.getpid(), **fields}) + "\\n")
"""

APP = """
@app.route(route="only-get", methods=["GET"])
def only_get(req): return "got"

@app.route(route="guarded", auth_level=func.AuthLevel.FUNCTION)
def guarded(req): return "in"

@app.route(route="size", methods=["POST"])
def size(req): return str(len(req.get_body()))

@app.route(route="always-fails")
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:00")
def always_fails(req):
    note("http-fails")
    raise ValueError

@app.blob_trigger(arg_name="stream", path="%CONTAINER%/text-{name}.txt", connection="STORE",
                  source="LogsAndContainerScan")
def read_text(stream: func.InputStream, context):
    note("text", name=stream.name, content=stream.read().decode(), length=stream.length, uri=stream.uri,
         metadata=stream.metadata, invocation=context.invocation_id)

@app.blob_trigger(arg_name="client", path="%CONTAINER%/sdk-{name}", connection="STORE",
                  source=func.BlobSource.EVENT_GRID)
def by_client(client: sdk.BlobClient):
    note("client", name=client.blob_name, content=client.download_blob().readall().decode())

@app.blob_trigger(arg_name="stream", path="%CONTAINER%/down-{name}", connection="STORE",
                  source="LogsAndContainerScan")
def by_downloader(stream: sdk.StorageStreamDownloader):
    note("downloader", content=stream.readall().decode())

@app.blob_trigger(arg_name="stream", path="%CONTAINER%/bad-{name}", connection="STORE",
                  source="LogsAndContainerScan")
def fails(stream):
    note("bad", name=stream.name)
    raise ValueError("always")

@app.blob_trigger(arg_name="stream", path="%CONTAINER%/hang-{name}", connection="STORE",
                  source="LogsAndContainerScan")
async def hangs(stream):
    note("hang")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        note("cut-off")
        raise

@app.blob_trigger(arg_name="stream", path="%CONTAINER%/off-{name}", connection="STORE",
                  source="LogsAndContainerScan")
def switched_off(stream): note("off")

@app.blob_trigger(arg_name="stream", path="%CONTAINER%-late/{name}", connection="STORE",
                  source="LogsAndContainerScan")
def late(stream): note("late", name=stream.name)

@app.timer_trigger(arg_name="timer", schedule="%EVERY_SECOND%")
async def slow(timer):
    note("slow-begins")
    await asyncio.sleep(1.3)
    note("slow-ends")

@app.timer_trigger(arg_name="timer", schedule="0 0 3 1 1 *", run_on_startup=True)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")
def eager(timer: func.TimerRequest, context):
    note("eager", past_due=timer.past_due, retry=context.retry_context.retry_count,
         invocation=context.invocation_id)
    if context.retry_context.retry_count < 2:
        raise ValueError

@app.timer_trigger(arg_name="timer", schedule="0 0 3 1 1 *")
def missed(timer: func.TimerRequest): note("missed", past_due=timer.past_due, status=timer.schedule_status)

@app.timer_trigger(arg_name="timer", schedule="0 0 3 1 1 *", use_monitor=False)
def unwatched(timer: func.TimerRequest): note("unwatched", past_due=timer.past_due)
"""

HOST_JSON = {
    "version": "2.0",
    "functionTimeout": "00:00:02",
    "extensions": {"http": {"routePrefix": ""}, "blobs": {"maxDegreeOfParallelism": 4}},
}


@dataclass
class App:
    """A function app in a folder, and what its functions have said."""

    folder: Path

    @classmethod
    def write(cls, folder: Path, source: str, host_json: Mapping[str, object] = HOST_JSON) -> "App":
        folder.mkdir(exist_ok=True)
        (folder / "function_app.py").write_text(HEAD + source)
        (folder / "host.json").write_text(json.dumps(host_json))
        return cls(folder)

    @property
    def state(self) -> Path:
        return self.folder / "run" / "host"

    def environment(self, azurite: Azurite, **more: str) -> dict[str, str]:
        return {
            "STORE": azurite.connection_string,
            "AzureWebJobsStorage": azurite.connection_string,
            "EVENTS": str(self.folder / "events"),
            "EVERY_SECOND": "* * * * * *",
            **more,
        }

    def events(self, what: str, **fields: object) -> list[dict[str, object]]:
        path = self.folder / "events"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [each for each in lines if each["what"] == what and fields.items() <= each.items()]

    def wait(self, what: str, count: int = 1, **fields: object) -> list[dict[str, object]]:
        """Return the events of a kind once there are so many."""
        within(lambda: len(self.events(what, **fields)) >= count)
        return self.events(what, **fields)


def within(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until it holds; fail when it takes too long, which is far longer than it should."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


@dataclass
class World:
    """The host of the module, its app, and the storage that it watches."""

    app: App
    host: FunctionsHost
    service: BlobServiceClient
    container: ContainerClient
    host_id: str
    connection: str

    def receipts(self, function: str) -> dict[str, dict[str, str]]:
        """By name, those that are complete."""
        start = f"blobreceipts/{self.host_id}/Host.Functions.{function}/"
        hosts = self.service.get_container_client("azure-webjobs-hosts")
        found = {each.name: each.metadata for each in hosts.list_blobs(start, include=["metadata"])}
        return {name: data for name, data in found.items() if data["Completed"] == "true"}

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=30)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): it for name, it in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def admin(self, function: str, body: object) -> int:
        status, _ = self.ask(
            "POST", f"/admin/functions/{function}", json.dumps(body).encode(), content_type="application/json"
        )
        return status


@pytest.fixture(scope="module")
def world(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    app = App.write(tmp_path_factory.mktemp("app") / "app", APP)
    unique = uuid.uuid4().hex[:12]
    for name in ("missed", "unwatched"):
        remember_a_missed_run(app, name)
    settings = app.environment(
        azurite,
        CONTAINER=f"promises-{unique}",
        AzureFunctionsWebHost__hostid=f"host-{unique}",
        FUNCTIONS_REQUEST_BODY_SIZE_LIMIT="1000",
        AzureWebJobs_switched_off_Disabled="true",
    )
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        container = service.create_container(f"promises-{unique}")
        # What takes its time begins before the first test asks for it.
        for name in ("bad-one", "hang-one", "off-one", "text-early.txt"):
            container.upload_blob(name, name.encode())
        with running_host(app.folder, settings, folder=app.folder / "run") as host:
            yield World(app, host, service, container, f"host-{unique}", azurite.connection_string)


def remember_a_missed_run(app: App, timer: str) -> None:
    """Leave behind what a host leaves that was down on the last New Year."""
    new_year = datetime.now(UTC).replace(month=1, day=1, hour=3, minute=0, second=0, microsecond=0)
    last = new_year.replace(year=new_year.year - 1)
    status = {"Last": last, "Next": last.replace(year=last.year + 1), "LastUpdated": last}
    if new_year > datetime.now(UTC):
        status = {key: moment.replace(year=moment.year - 1) for key, moment in status.items()}
    path = app.state / "timers" / f"{timer}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: moment.isoformat() for key, moment in status.items()}))


# HTTP


def test_a_method_that_no_function_takes_is_a_bare_404(world: World) -> None:
    """azure-functions-host #10098, #11625: never 405, and GET doesn't imply HEAD."""
    assert world.ask("GET", "/only-get") == (200, b"got")
    assert world.ask("POST", "/only-get") == (404, b"")
    assert world.ask("HEAD", "/only-get") == (404, b"")


def test_a_function_key_opens_and_nothing_else(world: World) -> None:
    """From "Work with access keys in Azure Functions": header x-functions-key or code in the query, else a bare 401."""
    keys = json.loads((world.app.state / "keys.json").read_text())
    assert world.ask("GET", "/guarded") == (401, b"")
    assert world.ask("GET", "/guarded?code=wrong") == (401, b"")
    assert world.ask("GET", "/guarded", x_functions_key=keys["functions"]["guarded"]) == (200, b"in")
    assert world.ask("GET", f"/guarded?code={keys['master']}") == (200, b"in")


def test_a_body_over_the_limit_is_a_413(world: World) -> None:
    """FUNCTIONS_REQUEST_BODY_SIZE_LIMIT, `HttpRequestBodySizeMiddleware`."""
    assert world.ask("POST", "/size", b"x" * 1000) == (200, b"1000")
    assert world.ask("POST", "/size", b"x" * 1001) == (413, b"")


def test_an_http_function_is_never_retried(world: World) -> None:
    """From "Azure Functions error handling and retries": HTTP has no policies."""
    assert world.ask("GET", "/always-fails") == (500, b"")
    assert len(world.app.events("http-fails")) == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            """
@app.route(route="{anything}")
def a_first(req): ...
@app.route(route="exact")
def b_second(req): ...
""",
            "hides b_second",
        ),
        ('@app.timer_trigger(arg_name="t", schedule="%NOWHERE%")\ndef f(t): ...', "the setting NOWHERE"),
        ('@app.timer_trigger(arg_name="t", schedule="0 0 0 * * 7")\ndef f(t): ...', "not from 0 to 6"),
        (
            '@app.blob_trigger(arg_name="b", path="c00/{n}", connection="NOWHERE")\ndef f(b): ...',
            "setting NOWHERE",
        ),
        (
            '@app.blob_trigger(arg_name="b", path="C/{n}", connection="STORE")\ndef f(b): ...',
            "no name of a container",
        ),
        (
            '@app.blob_trigger(arg_name="b", path="c00/{n}", connection="STORE")\ndef f(b: dict): ...',
            "the type",
        ),
        (
            '@app.blob_trigger(arg_name="b", path="c00/{n}", connection="EVENTS")\ndef f(b): ...',
            "connection string for blobs can't be used",
        ),
        (
            '@app.blob_trigger(arg_name="b", path="c00/{n}", connection="STORE", source="Post")\ndef f(b): ...',
            "the source 'Post'",
        ),
    ],
)
def test_what_azure_would_run_differently_does_not_start(
    tmp_path: Path, azurite: Azurite, source: str, reason: str
) -> None:
    """Routes in the order of names: `FunctionMetadataManager`, #3153. %SETTING%: "Binding expressions".

    Microsoft's host starts without the function that is in error; finding that out is left to whoever misses it.
    """
    app = App.write(tmp_path / "app", source)
    command = [
        sys.executable,
        "-m",
        "tools.local.host",
        "--root",
        app.folder,
        "--port",
        str(free_ports(1)[0]),
    ]
    result = subprocess.run(
        command, env=app.environment(azurite), capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, reason in result.stderr, "Traceback" in result.stderr) == (1, True, False), (
        result
    )


# Blobs


def test_a_blob_that_was_there_before_the_host_is_run(world: World) -> None:
    """From "Azure Blob storage trigger": new *or updated* blobs, the ones that exist at the first start included."""
    (event,) = world.app.wait("text", content="text-early.txt")
    assert event["name"] == f"{world.container.container_name}/text-early.txt"


def test_a_new_blob_is_run_once_for_each_etag_and_has_a_receipt(world: World) -> None:
    """Blob receipts: azure-webjobs-hosts/blobreceipts/<host>/<function>/<etag>/<container>/<blob>."""
    etags = []
    for content in ("first", "second"):
        uploaded = world.container.upload_blob(
            "text-a/b.txt", content, overwrite=True, metadata={"who": "me"}
        )
        etags.append(uploaded.get_blob_properties().etag.strip('"'))
        (event,) = world.app.wait("text", content=content)
    names = [f"{etag}/{world.container.container_name}/text-a/b.txt" for etag in etags]
    within(lambda: sum(name.endswith(tuple(names)) for name in world.receipts("read_text")) == 2)
    # A marker that is found after two more passes: until then, nothing has been run twice.
    for marker in ("marker-1", "marker-2"):
        world.container.upload_blob(f"text-{marker}.txt", marker)
        world.app.wait("text", content=marker)
    assert [len(world.app.events("text", content=content)) for content in ("first", "second")] == [1, 1]
    assert (event["length"], event["metadata"]) == (6, {"who": "me"})
    assert str(event["uri"]).endswith(f"/{world.container.container_name}/text-a/b.txt")


def test_only_blobs_of_the_pattern_are_run(world: World) -> None:
    """From "Blob name patterns"."""
    for name in ("text-x.md", "other-text-y.txt", "text-z.txt"):
        world.container.upload_blob(name, f"pattern {name}")
    world.app.wait("text", content="pattern text-z.txt")
    assert not world.app.events("text", content="pattern text-x.md")
    assert not world.app.events("text", content="pattern other-text-y.txt")


def test_sdk_types_are_given_by_annotation(world: World) -> None:
    """From "SDK type bindings" in the Python reference, here also for the source EventGrid."""
    world.container.upload_blob("sdk-one/two", "by client")
    world.container.upload_blob("down-one", "by stream")
    (client,) = world.app.wait("client")
    assert (client["name"], client["content"]) == ("sdk-one/two", "by client")
    assert world.app.wait("downloader")[0]["content"] == "by stream"
    assert "asks for Event Grid, which isn't here" in world.host.child.log.read_text()


def test_five_tries_and_then_one_message_in_the_poison_queue(world: World) -> None:
    """From "Poison blobs": five tries by default, then webjobs-blobtrigger-poison with these six members."""
    within(lambda: bool(world.receipts("fails")))
    assert len(world.app.events("bad")) == 5
    properties = world.container.get_blob_client("bad-one").get_blob_properties()
    assert [each for each in poison(world) if each["BlobName"] == "bad-one"] == [
        {
            "Type": "BlobTrigger",
            "FunctionId": "Host.Functions.fails",
            "BlobType": "BlockBlob",
            "ContainerName": world.container.container_name,
            "BlobName": "bad-one",
            "ETag": properties.etag.strip('"'),
        }
    ]


def poison(world: World) -> list[dict[str, object]]:
    """The messages about this world's container."""
    with QueueClient.from_connection_string(world.connection, "webjobs-blobtrigger-poison") as queue:
        messages = [json.loads(base64.b64decode(each.content)) for each in queue.peek_messages(32)]
    return [each for each in messages if each["ContainerName"] == world.container.container_name]


def test_function_timeout_ends_an_invocation(world: World) -> None:
    """host.json functionTimeout; for a blob that is a failed try."""
    world.app.wait("cut-off")
    within(lambda: "took longer than 2 s" in world.host.child.log.read_text())
    world.app.wait("hang", count=2)


def test_a_disabled_function_is_not_triggered(world: World) -> None:
    """From "How to disable functions": AzureWebJobs.<name>.Disabled. A run by hand is still possible."""
    world.app.wait("text", content="text-early.txt")
    assert not world.app.events("off")
    assert world.admin("switched_off", {"input": f"{world.container.container_name}/off-one"}) == 202
    world.app.wait("off")


def test_a_container_that_comes_later_is_found(world: World) -> None:
    """`ScanBlobScanLogHybridPollingStrategy` passes over a container that isn't there, and asks again."""
    name = f"{world.container.container_name}-late"
    world.service.create_container(name).upload_blob("x", b"")
    assert world.app.wait("late")[0]["name"] == f"{name}/x"


def test_a_restart_runs_only_what_is_new(tmp_path: Path, azurite: Azurite) -> None:
    """Blob receipts again: they are in storage, so that they outlive the host."""
    app = App.write(
        tmp_path / "app",
        """
@app.blob_trigger(arg_name="b", path="%CONTAINER%/{name}", connection="STORE", source="LogsAndContainerScan")
def f(b): note("ran", name=b.name)
""",
    )
    name = f"restart-{uuid.uuid4().hex[:12]}"
    settings = app.environment(azurite, CONTAINER=name)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        container = service.create_container(name)
        container.upload_blob("before", b"")
        with running_host(app.folder, settings, folder=app.folder / "run"):
            app.wait("ran", name=f"{name}/before")
        container.upload_blob("meanwhile", b"")
        with running_host(app.folder, settings, folder=app.folder / "run"):
            app.wait("ran", name=f"{name}/meanwhile")
    assert len(app.events("ran")) == 2


# Timers


def test_a_timer_runs_one_at_a_time(world: World) -> None:
    """From "Timer trigger": when a run takes longer than the interval, the next one waits for its end."""
    world.app.wait("slow-ends", count=3)
    path = world.app.folder / "events"
    lines = [json.loads(line)["what"] for line in path.read_text().splitlines()]
    order = [what for what in lines if what.startswith("slow")]
    assert order[:6] == ["slow-begins", "slow-ends"] * 3


def test_run_on_startup_and_the_retry_policy_of_a_timer(world: World) -> None:
    """From "Timer trigger", runOnStartup; "Azure Functions error handling and retries": policies hold for timers."""
    tries = world.app.wait("eager", count=3)
    assert [(each["past_due"], each["retry"]) for each in tries] == [(False, 0), (False, 1), (False, 2)]
    assert len({each["invocation"] for each in tries}) == 3
    lines = [json.loads(line) for line in world.host.child.log.read_text().splitlines()]
    logged = [line.get("invocation_id") for line in lines if line.get("function") == "eager"]
    assert set(logged) == {each["invocation"] for each in tries}


def test_a_run_that_was_missed_is_caught_up_once(world: World) -> None:
    """`ScheduleMonitor.CheckPastDueAsync`, useMonitor: a status is kept, and a missed run is made up with IsPastDue."""
    (event,) = world.app.wait("missed")
    assert event["past_due"] is True
    assert datetime.fromisoformat(event["status"]["Next"]) < datetime.now(UTC)
    stored = world.app.state / "timers" / "missed.json"
    within(lambda: datetime.fromisoformat(json.loads(stored.read_text())["Next"]) > datetime.now(UTC))
    assert not world.app.events("unwatched")


def test_two_hosts_run_a_timer_once_and_the_second_takes_over(tmp_path: Path, azurite: Azurite) -> None:
    """`TimerListener` is a singleton: over all hosts, one runs it. When that one crashes, another goes on."""
    app = App.write(
        tmp_path / "app",
        """
@app.timer_trigger(arg_name="t", schedule="* * * * * *")
def f(t): note("tick")
""",
    )
    settings, folder = app.environment(azurite), app.folder / "run"
    # Two logs, one state directory.
    (app.folder / "second").mkdir()
    (app.folder / "second" / "host").symlink_to(app.state)
    app.state.mkdir(parents=True)
    with running_host(app.folder, settings, folder=folder) as first:
        app.wait("tick")
        with running_host(app.folder, settings, folder=app.folder / "second") as second:
            within(lambda: "run by another host" in second.child.log.read_text())
            app.wait("tick", count=len(app.events("tick")) + 2)
            assert {each["pid"] for each in app.events("tick")} == {first.child.pid}
            first.kill()
            app.wait("tick", pid=second.child.pid)


# Administration, and the end


def test_admin_runs_a_function_now_without_a_key(world: World) -> None:
    """From "Manually run a non HTTP-triggered function": 202 at once; a blob is named container/name."""
    world.container.upload_blob("text-by hand.txt", "by hand")
    world.app.wait("text", content="by hand")
    assert world.admin("read_text", {"input": f"{world.container.container_name}/text-by hand.txt"}) == 202
    assert world.admin("UNWATCHED", {}) == 202
    assert len({each["invocation"] for each in world.app.wait("text", count=2, content="by hand")}) == 2
    assert world.app.wait("unwatched")[0]["past_due"] is False


def test_admin_refuses_what_it_can_not_run(world: World) -> None:
    """`FunctionsController.Invoke`: 404 for an unknown name, 400 for no invocation, 415 for no JSON."""
    assert world.admin("nobody", {}) == 404
    assert world.admin("read_text", []) == 400
    assert world.admin("read_text", {"input": 5}) == 400
    assert world.admin("only_get", {"input": ""}) == 400
    assert world.ask("POST", "/admin/functions/read_text", b"{}", content_type="text/plain") == (415, b"")


def test_admin_lists_functions(world: World) -> None:
    """`FunctionsController.List`, `Get` and `GetFunctionStatus`."""
    status, body = world.ask("GET", "/admin/functions")
    listed = {each["name"]: each for each in json.loads(body)}
    assert (status, listed["switched_off"]["isDisabled"], listed["late"]["isDisabled"]) == (200, True, False)
    assert listed["late"]["config"]["bindings"][0]["type"] == "blobTrigger"
    assert json.loads(world.ask("GET", "/admin/functions/late")[1])["name"] == "late"
    assert world.ask("GET", "/admin/functions/late/status") == (200, b"{}")
    assert world.ask("GET", "/admin/functions/nobody/status") == (404, b"")
    assert json.loads(world.ask("GET", "/admin/host/status")[1])["state"] == "Running"


def test_running_invocations_of_all_triggers_end_before_the_host_does(
    tmp_path: Path, azurite: Azurite
) -> None:
    """From "Drain mode": a host that is told to stop takes nothing new and lets finish what runs."""
    app = App.write(
        tmp_path / "app",
        """
@app.timer_trigger(arg_name="t", schedule="0 0 3 1 1 *", run_on_startup=True)
async def timer(t):
    note("timer-begins")
    await asyncio.sleep(1.5)
    note("timer-ends")

@app.blob_trigger(arg_name="b", path="%CONTAINER%/{name}", connection="STORE", source="LogsAndContainerScan")
def blob(b):
    note("blob-begins")
    time.sleep(1.5)
    note("blob-ends")

async def close(): note("closed")
""",
        {"version": "2.0"},
    )
    name = f"drain-{uuid.uuid4().hex[:12]}"
    settings = app.environment(azurite, CONTAINER=name, AzureFunctionsWebHost__hostid=name)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_container(name).upload_blob("x", b"")
        with running_host(app.folder, settings, folder=app.folder / "run") as host:
            app.wait("timer-begins")
            app.wait("blob-begins")
            host.child.process.send_signal(signal.SIGTERM)
            assert host.child.process.wait(30) == 0
        hosts = service.get_container_client("azure-webjobs-hosts")
        assert len(list(hosts.list_blobs(f"blobreceipts/{name}/"))) == 1
    assert [len(app.events(what)) for what in ("timer-ends", "blob-ends", "closed")] == [1, 1, 1]
