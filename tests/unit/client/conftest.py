"""A fake server, somebody who is logged in at it, and the command to run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from client import transport
from client.direct_sending import Pace
from client.retrying import Patience
from tests.unit.client.fake_server import FakeServer
from tests.unit.client.running import Command


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without the pauses, and nothing from this machine's own environment."""
    monkeypatch.setattr(transport, "Patience", lambda: Patience(first_pause=0.001))
    monkeypatch.setattr("client.block_fetching.Patience", lambda: Patience(first_pause=0.001))
    monkeypatch.setattr("client.block_putting.Patience", lambda: Patience(first_pause=0.001))
    monkeypatch.setattr("client.direct_sending.Pace", lambda: Pace(first=0.002, longest=0.01))
    for name in ("STRATA_URL", "STRATA_HOME", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def strata(
    server: FakeServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Command:
    """The command, with nobody logged in, in an empty folder."""
    monkeypatch.setenv("STRATA_URL", server.url)
    monkeypatch.setenv("STRATA_HOME", str(home))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Command(capfdbinary, monkeypatch)


@pytest.fixture
def ann(strata: Command) -> Command:
    """The command, with ann logged in."""
    assert strata("register", "--username", "ann", "--password-stdin", stdin=b"correct horse\n").code == 0
    assert strata("login", "--username", "ann", "--password-stdin", stdin=b"correct horse\n").code == 0
    return strata
