"""register, login, logout, and the credentials that they leave."""

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event, Thread

import pytest

from client.connection import logged_in
from client.credentials import Credentials, CredentialsFile
from client.errors import NotLoggedIn
from client.place import Place
from client.wire import LoggedIn
from tests.unit.client.fake_server import FakeServer, Reply, Request, problem
from tests.unit.client.running import Command

PASSWORD = b"correct horse\n"


def stored(home: Path) -> dict[str, str]:
    content = json.loads((home / "credentials.json").read_text())
    assert isinstance(content, dict)
    return content


def test_a_login_is_kept_for_its_owner_only(ann: Command, home: Path, server: FakeServer) -> None:
    assert stat.S_IMODE((home / "credentials.json").stat().st_mode) == 0o600
    content = stored(home)
    assert content["url"] == server.url
    assert content["username"] == "ann"
    assert set(content) == {
        "url", "username", "user_id", "device_id", "access_token", "refresh_token", "expires_at"
    }  # fmt: skip
    assert sorted(path.name for path in home.iterdir()) == ["credentials.json", "credentials.lock"]


def test_a_second_login_is_the_same_device(ann: Command, home: Path) -> None:
    before = stored(home)
    result = ann("login", "-u", "ann", "--password-stdin", "--json", stdin=PASSWORD)
    assert result.code == 0
    assert result.json["device_id"] == before["device_id"]
    assert stored(home)["access_token"] != before["access_token"]


def test_a_login_elsewhere_replaces_the_first(ann: Command, home: Path) -> None:
    with FakeServer().running() as other:
        assert ann("--url", other.url, "ls").code == 3
        assert other.calls == {}, "tokens are not shown to another server"
        assert ann("--url", other.url, "register", "-u", "ann", "--password-stdin", stdin=PASSWORD).code == 0
        device = stored(home)["device_id"]
        assert ann("--url", other.url, "login", "-u", "ann", "--password-stdin", stdin=PASSWORD).code == 0
        assert stored(home)["url"] == other.url
        assert stored(home)["device_id"] != device


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "exit_code"),
    [
        (("register", "-u", "ann", "--password-stdin"), PASSWORD, "username_taken", 5),
        (("register", "-u", "bob", "--password-stdin"), b"short\n", "unacceptable", 6),
        (("login", "-u", "ann", "--password-stdin"), b"wrong\n", "invalid_credentials", 3),
        (("login", "-u", "ann", "--password-stdin"), b"\n", "usage", 2),
        (("login", "-u", "ann"), b"", "usage", 2),
        (("login", "--password-stdin"), PASSWORD, "usage", 2),
        (("--url", "ftp://x", "login", "-u", "a", "--password-stdin"), PASSWORD, "bad_url", 6),
        (("no-such-command",), b"", "usage", 2),
        (("ls", "--no-such-option"), b"", "usage", 2),
    ],
)
def test_refusals_as_json(
    ann: Command, arguments: tuple[str, ...], stdin: bytes, code: str, exit_code: int
) -> None:
    result = ann(*arguments, "--json", stdin=stdin)
    assert result.code == exit_code
    assert result.json["error"]["code"] == code
    assert result.json["error"]["exit_code"] == exit_code
    assert result.json["error"]["message"]


def test_refusals_for_people_go_to_standard_error(ann: Command) -> None:
    result = ann("login", "-u", "ann", "--password-stdin", stdin=b"wrong\n")
    assert (result.code, result.out) == (3, "")
    assert result.err.startswith("strata: ")


def test_a_password_is_taken_as_it_is(strata: Command, server: FakeServer) -> None:
    password = "  löng ünd späced  \n"
    assert strata("register", "-u", "eve", "--password-stdin", stdin=password.encode()).code == 0
    assert server.users["eve"][1] == password[:-1]


def test_logout_tells_the_server_and_forgets(ann: Command, home: Path, server: FakeServer) -> None:
    result = ann("logout", "--json")
    assert (result.code, result.json) == (0, {"logged_out": True, "server_told": True})
    assert server.access == {}
    assert not (home / "credentials.json").exists()
    assert ann("logout", "--json").json["logged_out"] is False
    assert ann("ls", "--json").json["error"]["exit_code"] == 3


def test_logout_forgets_without_a_server_too(ann: Command, home: Path, server: FakeServer) -> None:
    server.intercept = lambda request: problem(503, "unavailable", headers={"Retry-After": "3600"})
    result = ann("logout")
    assert result.code == 0
    assert "could not be told" in result.err
    assert not (home / "credentials.json").exists()


def test_damaged_credentials_are_said_to_be(ann: Command, home: Path) -> None:
    (home / "credentials.json").write_text("{")
    assert ann("ls").code == 8
    assert ann("login", "-u", "ann", "--password-stdin", stdin=PASSWORD).code == 0
    assert ann("ls").code == 0


def test_an_expired_token_is_replaced_once(ann: Command, home: Path, server: FakeServer) -> None:
    before = stored(home)
    server.access.clear()
    assert ann("ls").code == 0
    assert server.used_refresh == [before["refresh_token"]]
    assert stored(home)["access_token"] in server.access
    assert stored(home)["device_id"] == before["device_id"]
    assert stat.S_IMODE((home / "credentials.json").stat().st_mode) == 0o600


def test_a_token_is_replaced_shortly_before_it_expires(ann: Command, home: Path, server: FakeServer) -> None:
    server.expires_in = 0
    ann("login", "-u", "ann", "--password-stdin", stdin=PASSWORD)
    server.expires_in = 900
    asked: list[Request] = []

    def watch(request: Request) -> Reply | None:
        asked.append(request)
        return None

    server.intercept = watch
    assert ann("ls").code == 0
    assert asked[0].path == "/api/token/refresh"
    assert len(server.used_refresh) == 1


def test_tokens_count_as_expired_a_little_early() -> None:
    asked_at = datetime(2026, 1, 1, tzinfo=UTC)
    for life, early in ((900, 30), (10, 1)):
        answer = LoggedIn(access_token="a", refresh_token="r", expires_in=life, device_id="d", user_id="u")
        credentials = Credentials.of(answer, url="", username="", user_id="", asked_at=asked_at)
        assert credentials.expires_at == asked_at + timedelta(seconds=life - early)


def test_a_refused_refresh_asks_for_a_login(ann: Command, server: FakeServer) -> None:
    server.access.clear()
    server.refresh.clear()
    result = ann("ls", "--json")
    assert result.json["error"] | {"message": ""} == {"code": "login_expired", "message": "", "exit_code": 3}
    assert "strata login" in result.json["error"]["message"]
    assert len(server.used_refresh) == 1


def test_threads_refresh_once(ann: Command, home: Path, server: FakeServer) -> None:
    server.access.clear()
    barrier = Barrier(8)
    failures: list[BaseException] = []
    with logged_in(Place(server.url, home), Event(), connections=8) as api:

        def ask() -> None:
            barrier.wait(10)
            try:
                api.file_at("/a")
            except BaseException as error:
                failures.append(error)

        threads = [Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert failures == []
    assert len(server.used_refresh) == 1


def test_processes_refresh_once(ann: Command, home: Path, server: FakeServer) -> None:
    """Each refresh token works once, so a second use of one would end the login."""
    server.access.clear()
    refused = Barrier(4)

    def hold_up(request: Request) -> Reply | None:
        # All four have been refused before any of them gets to refresh.
        if (
            request.path == "/api/files/list"
            and request.headers["authorization"].removeprefix("Bearer ") not in server.access
        ):
            refused.wait(20)
        return None

    server.intercept = hold_up
    environment = os.environ | {"STRATA_URL": server.url, "STRATA_HOME": str(home)}
    script = "import sys; from client.cli import main; sys.exit(main())"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, "ls", "/"],
            env=environment | {"PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert len(server.used_refresh) == 1


def test_a_login_that_ended_in_another_process_is_not_renewed(
    ann: Command, home: Path, server: FakeServer
) -> None:
    with logged_in(Place(server.url, home), Event()) as api:
        assert CredentialsFile(home).remove()
        server.access.clear()
        with pytest.raises(NotLoggedIn, match="logged out"):
            api.file_at("/a")
    assert server.used_refresh == []
    assert not (home / "credentials.json").exists()


def test_the_version_is_shown(strata: Command) -> None:
    result = strata("--version")
    assert result.code == 0
    assert result.out.startswith("strata ")


def test_help_tells_the_exit_codes(strata: Command) -> None:
    result = strata("--help")
    assert result.code == 0
    assert "130 interrupted" in " ".join(result.out.split())
