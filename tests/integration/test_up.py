"""`make start` as people use it: a real Azurite, a real Redis and the host, with a small app in place of the system."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tools.local import processes
from tools.local.azurite import ensure_installed
from tools.local.processes import Child

APP = """
import os
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
NAMES = ("METADATA_DB_URL", "BLOB_CONNECTION_STRING", "AzureWebJobsStorage", "PUBLIC_URL", "REDIS_URL",
         "SERVICEBUS_CONNECTION_STRING", "FUNCTIONS_WORKER_RUNTIME", "STRATA_SECRET", "TOKEN_SIGNING_KEY")

@app.route(route="environment")
def environment(req):
    import json
    return json.dumps({name: os.environ.get(name) for name in NAMES})

@app.route(route="die")
def die(req):
    print("the last words of the host", flush=True)
    os._exit(7)
"""
PORT_SETTINGS = (
    *("STRATA_PORT", "AZURITE_BLOB_PORT", "AZURITE_QUEUE_PORT", "AZURITE_TABLE_PORT"),
    *("REDIS_PORT", "SERVICEBUS_PORT"),
)
ELSEWHERE = ("REDIS_URL", "SERVICEBUS_CONNECTION_STRING")


class Up:
    """A start of the stack, with folders and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.root = folder / "app"
        self.root.mkdir()
        (self.root / "function_app.py").write_text(APP)
        (self.root / "host.json").write_text(
            '{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}'
        )
        self.log = folder / "up.log"
        self.ports = dict(zip(PORT_SETTINGS, processes.free_ports(len(PORT_SETTINGS)), strict=True))
        kept = {
            name: value for name, value in os.environ.items() if name not in (*ELSEWHERE, *APP.split('"'))
        }
        numbers = {name: str(port) for name, port in self.ports.items()}
        self.environment = {**kept, **numbers, "STRATA_LOCAL_DIR": str(self.state)}

    @property
    def command(self) -> list[str]:
        # The small app has no database: there is nothing to migrate or to reconcile.
        return [sys.executable, "-X", "dev", "-m", "tools.local.up", "--root", str(self.root), "--no-prepare"]

    def start(self) -> Child:
        child = processes.start("up", self.command, log=self.log, environment=self.environment)
        processes.wait_until_ready(child, lambda: "Strata is running" in self.log.read_text(), 120)
        return child

    def fail(self, *more: str) -> tuple[int, str]:
        """Run a start that is expected to end by itself."""
        result = subprocess.run(
            [*self.command, *more],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return result.returncode, result.stdout + result.stderr

    def get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["STRATA_PORT"], timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()


@pytest.fixture(scope="session", autouse=True)
def azurite_is_installed() -> None:
    ensure_installed()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Whatever the test does, nothing of it is left running."""
    stack = Up(tmp_path)
    yield stack
    for process in processes_of(stack):
        process.kill()


def processes_of(stack: Up) -> list[psutil.Process]:
    """Everything that runs with the folders of this stack on its command line: the stack and all of its parts."""
    marks = (str(stack.root), str(stack.state))
    # Redis shows its address instead of its arguments.
    redis = f"redis-server 127.0.0.1:{stack.ports['REDIS_PORT']}"
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and (line := " ".join(process.info["cmdline"] or []))
        and (any(mark in line for mark in marks) or line.rstrip().endswith(redis))
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_starts_everything_and_leaves_nothing(up: Up, number: signal.Signals) -> None:
    child = up.start()
    assert len(processes_of(up)) == 5
    seen = json.loads(up.get("/environment"))
    blob = up.ports["AZURITE_BLOB_PORT"]
    assert f"BlobEndpoint=http://127.0.0.1:{blob}/devstoreaccount1;" in seen["BLOB_CONNECTION_STRING"]
    assert seen["AzureWebJobsStorage"] == seen["BLOB_CONNECTION_STRING"]
    assert seen["METADATA_DB_URL"] == f"sqlite:///{up.state}/data/metadata.db"
    assert seen["REDIS_URL"] == f"redis://127.0.0.1:{up.ports['REDIS_PORT']}/0"
    assert f"sb://127.0.0.1:{up.ports['SERVICEBUS_PORT']};" in seen["SERVICEBUS_CONNECTION_STRING"]
    assert seen["PUBLIC_URL"] == f"http://127.0.0.1:{up.ports['STRATA_PORT']}"
    assert seen["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert seen["TOKEN_SIGNING_KEY"].startswith("-----BEGIN PRIVATE KEY-----")

    child.process.send_signal(number)
    assert child.process.wait(60) == 0
    assert up.log.read_text().splitlines()[-1] == "stopped"
    assert "Warning" not in up.log.read_text()
    assert processes_of(up) == []
    assert [name for name, port in up.ports.items() if not processes.is_free(port)] == []


def test_the_second_start_keeps_secrets_and_data_and_the_environment_wins(up: Up) -> None:
    child = up.start()
    first = json.loads(up.get("/environment"))
    assert child.stop()
    secrets = up.state / "secrets.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600

    up.environment |= {"STRATA_SECRET": "mine", "PUBLIC_URL": "https://example.test"}
    child = up.start()
    second = json.loads(up.get("/environment"))
    assert child.stop()
    assert second["TOKEN_SIGNING_KEY"] == first["TOKEN_SIGNING_KEY"]
    assert (second["STRATA_SECRET"], second["PUBLIC_URL"]) == ("mine", "https://example.test")


def test_a_taken_port_is_named_with_its_setting_before_anything_starts(up: Up) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", up.ports["AZURITE_TABLE_PORT"]))
        taken.listen()
        code, said = up.fail()
    port = up.ports["AZURITE_TABLE_PORT"]
    assert code == 1
    assert f"port {port} is taken: set AZURITE_TABLE_PORT to a free one" in said.splitlines()
    assert "starting" not in said
    assert "Traceback" not in said
    assert processes_of(up) == []


def test_a_part_that_dies_takes_the_rest_down_and_shows_why(up: Up) -> None:
    child = up.start()
    with pytest.raises((http.client.HTTPException, OSError)):
        up.get("/die")
    assert child.process.wait(60) == 1
    said = up.log.read_text()
    assert "The host ended by itself with code 7" in said
    assert "the last words of the host" in said
    assert said.splitlines()[-1] == "stopped"
    assert processes_of(up) == []


def test_azurite_that_is_killed_is_noticed_too(up: Up) -> None:
    child = up.start()
    found = [each for each in processes_of(up) if any(word.endswith("azurite.js") for word in each.cmdline())]
    assert len(found) == 1, up.log.read_text()
    (azurite,) = found
    azurite.kill()
    assert child.process.wait(60) == 1
    assert f"Azurite ended by itself with code {-signal.SIGKILL}" in up.log.read_text()
    assert processes_of(up) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent has died")
def test_nothing_outlives_a_starter_that_is_killed(up: Up) -> None:
    child = up.start()
    parts = [process for process in processes_of(up) if process.pid != child.pid]
    assert len(parts) == 4
    child.kill()
    gone, alive = psutil.wait_procs(parts, timeout=30)
    assert (len(gone), alive) == (4, [])


def test_a_host_that_can_not_start_is_shown_and_the_rest_is_stopped(up: Up) -> None:
    (up.root / "function_app.py").write_text("raise SystemExit('the app says no')")
    code, said = up.fail()
    assert code == 1
    assert "the app says no" in said
    assert str(up.state / "logs" / "host.log") in said
    assert processes_of(up) == []


def test_core_tools_that_are_missing_are_missed_before_anything_starts(up: Up, tmp_path: Path) -> None:
    up.environment["PATH"] = str(tmp_path)
    code, said = up.fail("--host", "func")
    assert code == 1
    assert "install Azure Functions Core Tools 4" in said
    assert "starting" not in said


def test_a_preparation_that_fails_is_shown(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.local.up.settings import read_settings
    from tools.local.up.stack import run

    monkeypatch.setattr(os, "environ", up.environment)
    said: list[str] = []
    settings = read_settings(up.environment)
    with pytest.raises(processes.ProcessFailed, match=r"tools\.no_such_step failed with code 1"):
        run(settings, up.root, ["tools.no_such_step"], core_tools=False, say=said.append)
    assert said[-1] == "stopped"
    assert processes_of(up) == []


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("STRATA_PORT", "high", "STRATA_PORT must be a port from 1 to 65535, not 'high'"),
        ("REDIS_PORT", "70000", "REDIS_PORT must be a port"),
        ("AZURITE_BLOB_PORT", "same", "STRATA_PORT and AZURITE_BLOB_PORT are both"),
    ],
)
def test_ports_that_are_none(up: Up, name: str, value: str, complaint: str) -> None:
    up.environment[name] = up.environment["STRATA_PORT"] if value == "same" else value
    code, said = up.fail()
    assert code == 1
    assert complaint in said
    assert "Traceback" not in said


def test_a_redis_of_somebody_else_is_used_and_left_alone(up: Up) -> None:
    up.environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    child = up.start()
    assert json.loads(up.get("/environment"))["REDIS_URL"] == "redis://127.0.0.1:1/0"
    assert not (up.state / "logs" / "redis.log").exists()
    assert child.stop()
