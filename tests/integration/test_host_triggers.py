"""Blob triggers when things go wrong around them: storage that goes away, blobs that vanish, too much at once."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from tools.local.running import Azurite, AzuritePorts, running_azurite, running_host

APP = """
import json, os, time
from pathlib import Path
import azure.functions as func
app = func.FunctionApp()
folder = Path(__file__).parent

def note(what, name):
    with open(folder / "events", "a") as file:
        file.write(f"{what} {name}\\n")

@app.blob_trigger(arg_name="blob", path="%CONTAINER%/{name}", connection="STORE", source="LogsAndContainerScan")
def index(blob: func.InputStream):
    note("begins", blob.name.partition("/")[2])
    # The gate is a file, since the test is another process.
    while not (folder / "gate").exists():
        time.sleep(0.02)
    note("ends", blob.name.partition("/")[2])

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def tick(timer):
    with open(folder / "ticks", "a") as file:
        file.write(".")
"""


def within(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


class App:
    """A blob function that says when it begins and when it ends, and waits for a gate to open in between."""

    def __init__(self, folder: Path, parallel: int) -> None:
        self.folder, self.container = folder, f"triggers-{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        (folder / "function_app.py").write_text(APP)
        blobs = {"maxDegreeOfParallelism": parallel}
        (folder / "host.json").write_text(json.dumps({"version": "2.0", "extensions": {"blobs": blobs}}))

    def settings(self, connection: str) -> dict[str, str]:
        return {"STORE": connection, "AzureWebJobsStorage": connection, "CONTAINER": self.container}

    def open(self) -> None:
        (self.folder / "gate").touch()

    @property
    def ticks(self) -> int:
        """The seconds that the host has been through."""
        path = self.folder / "ticks"
        return len(path.read_text()) if path.exists() else 0

    @property
    def events(self) -> list[str]:
        path = self.folder / "events"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def storage(azurite: Azurite) -> Iterator[BlobServiceClient]:
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        yield service


def test_storage_may_go_away_and_come_back(tmp_path: Path) -> None:
    ports, app = AzuritePorts.free(), App(tmp_path / "app", parallel=2)
    app.open()
    with BlobServiceClient.from_connection_string(ports.connection_string) as service:
        with running_azurite(tmp_path, ports):
            service.create_container(app.container).upload_blob("before", b"")
        # The host starts while there is no storage at all.
        with running_host(
            app.folder, app.settings(ports.connection_string), folder=app.folder / "run"
        ) as host:
            within(lambda: "storage doesn't answer" in host.child.log.read_text())
            with running_azurite(tmp_path, ports):
                within(lambda: "ends before" in app.events)
                service.get_blob_client(app.container, "after").upload_blob(b"")
                within(lambda: "ends after" in app.events)
            within(lambda: host.child.log.read_text().count("storage doesn't answer") == 2)
            log = host.child.log.read_text()
    assert log.count("storage doesn't answer") == 2
    assert log.count("is watched") >= 1
    assert "Traceback" not in log
    assert app.events == ["begins before", "ends before", "begins after", "ends after"]


def test_a_blob_that_is_deleted_or_changed_before_its_turn_is_passed_over(
    tmp_path: Path, azurite: Azurite, storage: BlobServiceClient
) -> None:
    app = App(tmp_path / "app", parallel=1)
    container = storage.create_container(app.container)
    for name in ("a", "b", "c"):
        container.upload_blob(name, b"old")
    settings = app.settings(azurite.connection_string)
    with running_host(app.folder, settings, folder=app.folder / "run") as host:
        within(lambda: app.events == ["begins a"])
        container.delete_blob("b")
        container.upload_blob("c", b"new", overwrite=True)
        app.open()
        within(lambda: "ends c" in app.events)
        # It comes behind whatever else was still to be done about c.
        container.upload_blob("d", b"")
        within(lambda: "ends d" in app.events)
        log = host.child.log.read_text()
    assert app.events == [f"{what} {name}" for name in "acd" for what in ("begins", "ends")]
    assert "passed over" in log
    assert "failed" not in log


def test_no_more_run_at_once_than_host_json_allows(
    tmp_path: Path, azurite: Azurite, storage: BlobServiceClient
) -> None:
    app = App(tmp_path / "app", parallel=3)
    container = storage.create_container(app.container)
    for number in range(9):
        container.upload_blob(str(number), b"")
    with running_host(app.folder, app.settings(azurite.connection_string), folder=app.folder / "run"):
        within(lambda: len(app.events) >= 3)
        # Two seconds of the host's time are two passes or more.
        ticks = app.ticks
        within(lambda: app.ticks >= ticks + 2)
        assert len(app.events) == 3
        app.open()
        within(lambda: len(app.events) == 18)
    running = most = 0
    for event in app.events:
        running += 1 if event.startswith("begins") else -1
        most = max(most, running)
    assert most == 3
    assert len(set(app.events)) == 18
