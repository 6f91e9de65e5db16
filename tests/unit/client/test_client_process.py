"""The command as a process of its own: interrupted, and weighed."""

import json
import os
import pty
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.unit.client.fake_server import FakeServer, Reply, Request
from tests.unit.client.fake_staging import Verdict
from tests.unit.client.running import MIB, Command, noise

SCRIPT = """
import signal, sys
from client.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # some runners ignore it, and children inherit that
code = main()
for line in open("/proc/self/status"):
    if line.startswith("VmHWM"):
        print(line, file=sys.stderr)
sys.exit(code)
"""

SHORT_SILENCE = """
import client.direct_sending as direct
gentle = direct.Pace
direct.Pace = lambda: gentle(first=0.02, longest=0.1, silence=5.0)
"""

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(ann: Command, server: FakeServer, home: Path) -> Iterator[Start]:
    """Starts the command as ann; what still runs in the end is killed."""
    processes: list[subprocess.Popen[bytes]] = []
    environment = os.environ | {
        "STRATA_URL": server.url,
        "STRATA_HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }

    def run(*arguments: str, before: str = "", **how: Any) -> "subprocess.Popen[bytes]":
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
        script = before + SCRIPT
        process = subprocess.Popen([sys.executable, "-c", script, *arguments], env=environment, **how)
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def stuck(after: int, path: str = "") -> tuple[Event, Event, Callable[[Request], Reply | None]]:
    """An intercept that answers some requests and then none, until the second event is set."""
    reached, let_go = Event(), Event()
    seen = 0

    def intercept(request: Request) -> Reply | None:
        nonlocal seen
        if path and request.path != path:
            return None
        seen += 1
        if seen > after:
            reached.set()
            let_go.wait(60)
            return Reply(0)
        return None

    return reached, let_go, intercept


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_leaves_nothing(
    start: Start, server: FakeServer, number: signal.Signals
) -> None:
    server.put("/d/a", *(noise(MIB) for _ in range(20)))
    reached, let_go, server.storage_intercept = stuck(5)
    process = start("down", "/d", "--json")
    assert reached.wait(30)
    assert [path.suffix for path in Path("d").iterdir()] == [".part"]
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    let_go.set()
    assert process.returncode == 130, err
    assert json.loads(out)["error"] == {"code": "interrupted", "message": "interrupted", "exit_code": 130}
    assert list(Path("d").iterdir()) == []


def test_an_interrupted_upload_commits_nothing(start: Start, server: FakeServer) -> None:
    Path("a").write_bytes(noise(20 * MIB))
    reached, let_go, server.intercept = stuck(2, "/api/blocks/batch")
    process = start("up", "a", "--json")
    assert reached.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    let_go.set()
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert server.nodes == {}


def test_an_interrupted_listing_says_so(start: Start, server: FakeServer) -> None:
    reached, let_go, server.intercept = stuck(0, "/api/files/list")
    process = start("ls", "--json")
    assert reached.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    let_go.set()
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["code"] == "interrupted"


def at_a_terminal(start: Start, *arguments: str, typed: str = "") -> tuple[int, str]:
    """Run the command on a terminal of its own; `typed` are lines, each sent when the last prompt has come."""
    ours, theirs = pty.openpty()
    process = start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    lines = typed.splitlines(keepends=True)
    while True:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:  # the terminal's other side is closed
            break
        if lines and shown.endswith(b": "):  # with the space: what is typed earlier is dropped
            os.write(ours, lines.pop(0).encode())
            shown += b"\n"
    os.close(ours)
    return process.wait(30), shown.decode()


def test_passwords_are_asked_for_and_not_shown(start: Start, server: FakeServer) -> None:
    code, shown = at_a_terminal(start, "register", typed="eve\nsecret phrase\nsecret phrase\n")
    assert code == 0, shown
    assert server.users["eve"][1] == "secret phrase"
    assert "secret" not in shown
    code, shown = at_a_terminal(start, "login", typed="eve\nsecret phrase\n")
    assert code == 0, shown
    assert "secret" not in shown


def test_people_get_a_bar_and_a_table(start: Start, server: FakeServer) -> None:
    Path("[red]name").write_bytes(noise(3 * MIB))
    code, shown = at_a_terminal(start, "up", "[red]name")
    assert code == 0, shown
    assert "\x1b[" in shown
    assert "1 committed: 3.1 MB" in shown
    code, shown = at_a_terminal(start, "ls")
    assert code == 0, shown
    assert "Modified" in shown
    assert "[red]name" in shown


def test_a_reader_that_goes_away_ends_it_quietly(start: Start, server: FakeServer) -> None:
    server.put("/a", *(noise(MIB) for _ in range(10)))
    process = start("down", "/a", "-")
    assert process.stdout
    assert process.stdout.read(10)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert b"Traceback" not in err


def write_big(size: int) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    with Path("big").open("wb") as file:
        for _ in range(size // MIB // 2):
            file.write(generator.randbytes(MIB))
            file.write(generator.randbytes(1024) * 1024)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("verdict", ["look", "lose"])
def test_memory_stays_bounded_when_sent_directly(start: Start, server: FakeServer, verdict: Verdict) -> None:
    write_big(300 * MIB)
    server.keep_content = False
    server.staging.delay = 10
    server.staging.verdict = lambda name: verdict
    process = start("up", "--direct", "big", "/big", before=SHORT_SILENCE)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert (b"gateway" in err) is (verdict == "lose")
    peak = int(err.decode().split("VmHWM:")[1].split()[0]) * 1024
    print("peak MiB", peak // MIB)
    assert peak < 200 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_stays_bounded_whatever_the_size(start: Start, server: FakeServer) -> None:
    size, limit = 400 * MIB, 200 * MIB
    write_big(size)
    for arguments in (("up", "big", "/big"), ("down", "/big", "copy")):
        process = start(*arguments)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        peak = int(err.decode().split("VmHWM:")[1].split()[0]) * 1024
        print(arguments, "peak MiB", peak // MIB)
        assert peak < limit
    assert Path("copy").stat().st_size == size
