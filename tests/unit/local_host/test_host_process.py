"""The host as a process: signals, exit codes, what it says when it can't start."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.local import processes
from tools.local.processes import Child, ProcessFailed
from tools.local.running import start_host

APP = """
import asyncio, os, threading
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="hello")
def hello(req): return os.environ["GREETING"]

@app.route(route="slow")
async def slow(req):
    open("MARK", "w").close()
    await asyncio.sleep(float(req.params["seconds"]))
    return "slept"

@app.route(route="stuck")
def stuck(req):
    open("MARK", "w").close()
    threading.Event().wait()

@app.queue_trigger(arg_name="message", queue_name="letters", connection="")
def postman(message): ...

async def close():
    print("closed in good order", flush=True)
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(APP.replace("MARK", str(tmp_path / "mark")))
    (tmp_path / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}')
    (tmp_path / "local.settings.json").write_text('{"Values": {"GREETING": "from the file"}}')
    return tmp_path


@pytest.fixture
def host(app: Path) -> Iterator[Callable[..., tuple[Child, int]]]:
    children: list[Child] = []

    def begin(*options: str) -> tuple[Child, int]:
        (port,) = processes.free_ports(1)
        command = [
            sys.executable,
            "-X",
            "dev",
            "-m",
            "tools.local.host",
            "--root",
            app,
            "--port",
            str(port),
            *options,
        ]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        child = processes.start("host", command, log=app / "host.log", environment=environment)
        children.append(child)
        processes.wait_until_ready(child, lambda: processes.accepts(port))
        return child, port

    yield begin
    for child in children:
        child.kill()


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def broken_off(port: int, path: str) -> None:
    with pytest.raises(OSError, match=r"closed|reset"):
        get(port, path)


def wait_for_file(path: Path, child: Child) -> None:
    processes.wait_until_ready(child, path.exists)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_request_finish_and_closes_the_app(
    app: Path, host: Callable[..., tuple[Child, int]], number: signal.Signals
) -> None:
    child, port = host()
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: answers.append(get(port, "/slow?seconds=0.5")))
    client.start()
    wait_for_file(app / "mark", child)
    child.process.send_signal(number)
    client.join()
    assert child.process.wait(20) == 0
    assert answers == [(200, b"slept")]
    log = child.log.read_text()
    assert "closed in good order" in log
    assert "ResourceWarning" not in log
    assert "Traceback" not in log


def test_a_second_signal_ends_it_at_once(app: Path, host: Callable[..., tuple[Child, int]]) -> None:
    child, port = host("--grace", "60")
    client = threading.Thread(target=broken_off, args=(port, "/slow?seconds=50"))
    client.start()
    wait_for_file(app / "mark", child)
    child.process.send_signal(signal.SIGTERM)
    processes.wait_until_ready(child, lambda: "stopping on SIGTERM" in child.log.read_text())
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(20) == 128 + signal.SIGTERM
    client.join()


def test_a_function_that_hangs_in_a_thread_does_not_keep_the_host(
    app: Path, host: Callable[..., tuple[Child, int]]
) -> None:
    child, port = host("--grace", "0.2")
    client = threading.Thread(target=broken_off, args=(port, "/stuck"))
    client.start()
    wait_for_file(app / "mark", child)
    assert child.stop(20)
    assert child.process.returncode == 1
    assert "closed in good order" in child.log.read_text()
    client.join()


def test_settings_of_the_file_keys_and_logs(app: Path, host: Callable[..., tuple[Child, int]]) -> None:
    child, port = host()
    assert get(port, "/hello?code=secret") == (200, b"from the file")
    lines = [json.loads(line) for line in child.log.read_text().splitlines()]
    assert any("no queueTrigger yet: postman" in line["message"] for line in lines)
    (done,) = [line for line in lines if line.get("function") == "hello"]
    assert (done["status"], done["route"], done["method"]) == (200, "/hello", "GET")
    assert "secret" not in child.log.read_text()
    assert (app / ".local" / "host" / "keys.json").stat().st_mode & 0o077 == 0


def test_a_taken_port_and_a_broken_app_are_told_in_words(
    app: Path, host: Callable[..., tuple[Child, int]]
) -> None:
    _, port = host()
    command = [sys.executable, "-m", "tools.local.host", "--root", str(app), "--port", str(port)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in second.stderr
    assert "Traceback" not in second.stderr
    (app / "host.json").write_text('{"version": "1.0"}')
    third = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (third.returncode, third.stderr.splitlines()[0]) == (1, "The host can't start.")
    assert "Traceback" not in third.stderr


def test_a_host_that_dies_on_the_way_up_shows_why(app: Path) -> None:
    (app / "function_app.py").write_text("raise SystemExit('the app says no')")
    with pytest.raises(ProcessFailed, match="the app says no"):
        start_host(app, {}, processes.free_ports(1)[0], app / "host.log")
