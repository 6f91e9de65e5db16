"""`strata up --direct`: past the gateway, and back to it when the other way doesn't pass."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Event

import pytest

from client.block_putting import BlockPutter, GrantRefused
from client.direct_sending import MOST_OUTSTANDING, Pace
from client.errors import Unreachable
from client.http import Http
from client.retrying import Patience
from client.wire import Grant
from tests.unit.client.fake_http import Reply, Request, problem
from tests.unit.client.fake_server import FakeServer
from tests.unit.client.running import KIB, MIB, Command, Result, noise

NOTE = "--direct ends here"


def up(command: Command, *arguments: str, code: int = 0, stdin: bytes = b"") -> Result:
    result = command("up", "--direct", "--json", *arguments, stdin=stdin)
    assert result.code == code, result.out + result.err
    return result


def at_storage(answer: Callable[[Request, int], Reply | None]) -> Callable[[Request], Reply | None]:
    """An intercept of deliveries, which is told how many there were."""
    times = 0

    def intercept(request: Request) -> Reply | None:
        nonlocal times
        times += 1
        return answer(request, times)

    return intercept


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.direct_sending.Pace", lambda: Pace(first=0.002, longest=0.01, silence=0.05))


@pytest.fixture
def small_files() -> list[Path]:
    paths = [Path("tree", f"{number}.bin") for number in range(300)]
    Path("tree").mkdir()
    for path in paths:
        path.write_bytes(noise(50) + str(path).encode())
    return paths


def test_a_large_file_goes_past_the_gateway(ann: Command, server: FakeServer) -> None:
    content = noise(40 * MIB)
    Path("a").write_bytes(content)
    server.staging.delay = 3
    result = up(ann, "a")
    assert server.content("/a") == content
    assert server.calls["POST upload"] == 0
    assert result.json["totals"]["bytes_sent"] == len(content) == server.staging.put_bytes
    assert NOTE not in result.err


def test_what_the_server_has_is_not_put_again(ann: Command, server: FakeServer) -> None:
    content = noise(12 * MIB)
    Path("a").write_bytes(content)
    up(ann, "a")
    before = server.staging.put_bytes
    Path("a").write_bytes(content + b"more")
    up(ann, "a")
    assert server.content("/a") == content + b"more"
    assert server.staging.put_bytes - before < 5 * MIB
    up(ann, "a", "/copy")
    assert server.content("/copy") == content + b"more"


@pytest.mark.parametrize("jobs", ["1", "8"])
def test_small_files_are_waited_for_together(
    ann: Command, server: FakeServer, small_files: list[Path], jobs: str
) -> None:
    server.staging.delay = 5
    grants_asked = 0

    def count(request: Request) -> None:
        nonlocal grants_asked
        grants_asked += request.path == "/api/blocks/grants"

    server.intercept = count
    up(ann, "--jobs", jobs, "tree")
    assert all(server.content(f"/{path}") == path.read_bytes() for path in small_files)
    assert server.calls["POST upload"] == 0
    assert sum(server.staging.granted.values()) == 300
    assert grants_asked < 15


def test_no_more_is_outstanding_than_the_server_allows(ann: Command, server: FakeServer) -> None:
    Path("tree").mkdir()
    for number in range(1300):
        Path("tree", str(number)).write_bytes(b"%d" % number)
    server.staging.delay = 30
    server.staging.busy_while_more_comes = True
    assert NOTE not in up(ann, "tree").err
    assert len(server.nodes) == 1300
    assert server.calls["POST upload"] == 0
    assert MOST_OUTSTANDING - 100 <= server.staging.most_outstanding <= MOST_OUTSTANDING


def test_standard_input(ann: Command, server: FakeServer) -> None:
    content = noise(40 * MIB)
    up(ann, "-", "/dump", stdin=content)
    assert server.content("/dump") == content
    assert server.calls["POST upload"] == 0


def test_equal_blocks_are_put_once(ann: Command, server: FakeServer) -> None:
    Path("zeros").write_bytes(bytes(40 * MIB))
    Path("copy").write_bytes(bytes(40 * MIB))
    server.staging.delay = 5
    up(ann, "--to", "/", "zeros", "copy")
    assert server.content("/zeros") == server.content("/copy") == bytes(40 * MIB)
    assert sum(server.staging.granted.values()) == 1


def test_neither_login_nor_addresses_get_where_they_do_not_belong(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(noise(3 * MIB))
    seen: list[Request] = []
    trouble = ["hang up", 503, 403, 418]

    def answer(request: Request, times: int) -> Reply | None:
        seen.append(request)
        if not trouble:
            return None
        status = trouble.pop(0)
        return Reply(0) if status == "hang up" else Reply(int(status), request.path.encode())

    server.storage_intercept = at_storage(answer)
    said = ""
    for arguments in (["--json"], ["--quiet"], []):
        Path("a").write_bytes(noise(3 * MIB))
        result = ann("up", "--direct", *arguments, "a")
        assert result.code == 0
        said += result.out + result.err
    assert seen
    assert not [request for request in seen if {"authorization", "cookie"} & request.headers.keys()]
    for secret in ("sig=", "secret", server.storage_url, "/staging/"):
        assert secret not in said
    assert NOTE in said


def test_a_grant_that_has_expired_is_asked_for_again(ann: Command, server: FakeServer) -> None:
    content = noise(6 * MIB)
    Path("a").write_bytes(content)
    server.storage_intercept = at_storage(lambda request, times: Reply(403) if times <= 2 else None)
    assert NOTE not in up(ann, "a").err
    assert server.content("/a") == content
    assert server.calls["POST upload"] == 0
    assert max(server.staging.granted.values()) >= 2


def test_grants_that_never_work_lead_back_to_the_gateway(ann: Command, server: FakeServer) -> None:
    content = noise(12 * MIB)
    Path("a").write_bytes(content)
    server.storage_intercept = at_storage(lambda request, times: Reply(403))
    assert up(ann, "a").err.count(NOTE) == 1
    assert server.content("/a") == content
    assert server.staging.put_bytes == 0


@pytest.mark.parametrize(
    "filled",
    [
        Reply(409),
        Reply(403, headers={"x-ms-error-code": "UnauthorizedBlobOverwrite"}),
        Reply(403, headers={"x-ms-error-code": "AuthorizationPermissionMismatch"}),
    ],
)
def test_a_delivery_whose_answer_got_lost_counts(ann: Command, server: FakeServer, filled: Reply) -> None:
    content = noise(100 * KIB)
    Path("a").write_bytes(content)

    def lose(request: Request, times: int) -> Reply | None:
        if times == 1:
            server.staging.put(request)
            return Reply(0)
        return filled

    server.storage_intercept = at_storage(lose)
    result = up(ann, "a")
    assert server.content("/a") == content
    assert server.calls["POST upload"] == 0
    assert result.json["totals"]["bytes_sent"] == len(content)


def test_a_storage_that_is_busy_is_tried_again(ann: Command, server: FakeServer) -> None:
    content = noise(100 * KIB)
    Path("a").write_bytes(content)
    server.storage_intercept = at_storage(lambda request, times: Reply(503) if times <= 3 else None)
    assert NOTE not in up(ann, "a").err
    assert server.content("/a") == content
    assert server.calls["POST upload"] == 0


def test_a_storage_that_can_not_be_reached_leads_back_to_the_gateway(
    ann: Command, server: FakeServer
) -> None:
    content = noise(12 * MIB)
    Path("a").write_bytes(content)
    server.storage_intercept = at_storage(lambda request, times: Reply(0))
    assert up(ann, "a").err.count(NOTE) == 1
    assert server.content("/a") == content


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("verdict", ["lose", "refuse"])
def test_a_block_that_is_never_taken_over_goes_through_the_gateway(
    ann: Command, server: FakeServer, small_files: list[Path], verdict: str
) -> None:
    bad = sha256(small_files[7].read_bytes()).hexdigest()
    server.staging.verdict = lambda name: verdict if name == bad else "look"
    assert NOTE in up(ann, "tree").err
    assert all(server.content(f"/{path}") == path.read_bytes() for path in small_files)
    assert server.calls["POST upload"] >= 1


@pytest.mark.usefixtures("impatient")
def test_when_nothing_is_ever_taken_over_everything_still_arrives(ann: Command, server: FakeServer) -> None:
    content = noise(60 * MIB)
    Path("a").write_bytes(content)
    server.staging.verdict = lambda name: "lose"
    result = up(ann, "a")
    assert result.err.count(NOTE) == 1
    assert server.content("/a") == content
    assert len(content) < result.json["totals"]["bytes_sent"] <= 2 * len(content)


@pytest.mark.usefixtures("impatient")
def test_standard_input_is_kept_until_it_is_taken_over(ann: Command, server: FakeServer) -> None:
    content = noise(40 * MIB)
    server.staging.verdict = lambda name: "lose"
    up(ann, "-", "/dump", stdin=content)
    assert server.content("/dump") == content


@pytest.mark.usefixtures("impatient")
def test_a_lost_block_is_read_again_only_from_the_file_that_was_read(
    ann: Command, server: FakeServer
) -> None:
    Path("a").write_bytes(b"old content")

    def change(name: str) -> str:
        Path("a").write_bytes(b"new content")
        return "refuse"

    server.staging.verdict = change
    assert up(ann, "a", code=8).json["error"]["code"] == "changed"
    assert server.nodes == {}


@pytest.mark.usefixtures("impatient")
def test_a_lost_block_is_read_again_from_whichever_file_still_has_it(
    ann: Command, server: FakeServer
) -> None:
    for name in ("a", "b"):
        Path(name).write_bytes(b"the same")

    def change(name: str) -> str:
        Path("a").unlink(missing_ok=True)
        return "refuse"

    server.staging.verdict = change
    up(ann, "--to", "/", "a", "b")
    assert server.content("/a") == server.content("/b") == b"the same"


def test_other_devices_grants_are_waited_out_while_own_blocks_arrive(
    ann: Command, server: FakeServer, small_files: list[Path]
) -> None:
    server.staging.limit = 120
    server.staging.delay = 5
    assert NOTE not in up(ann, "tree").err
    assert len(server.nodes) == 300
    assert server.calls["POST upload"] == 0


def test_with_no_grants_to_be_had_the_gateway_is_used(
    ann: Command, server: FakeServer, small_files: list[Path]
) -> None:
    server.staging.limit = 0
    assert up(ann, "tree").err.count(NOTE) == 1
    assert all(server.content(f"/{path}") == path.read_bytes() for path in small_files)
    assert server.calls["POST upload"] == 300


def test_a_server_without_grants_is_sent_to_as_ever(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(b"content")
    server.intercept = lambda request: (
        problem(404, "not_found") if request.path == "/api/blocks/grants" else None
    )
    assert up(ann, "a").err.count(NOTE) == 1
    assert server.content("/a") == b"content"


def test_a_full_quota_ends_the_run(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(b"content")
    server.intercept = lambda request: (
        problem(507, "quota_exceeded") if request.path == "/api/blocks/grants" else None
    )
    assert up(ann, "a", code=6).json["error"]["code"] == "quota_exceeded"
    assert server.nodes == {}


def test_a_grant_for_another_method_is_not_understood(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(b"content")
    grant = {
        "sha256": sha256(b"content").hexdigest(),
        "size": 7,
        "url": server.storage_url + "/staging/x?sig=secret",
        "method": "DELETE",
        "headers": {},
    }
    body = json.dumps({"grants": [grant]}).encode()
    server.intercept = lambda request: Reply(200, body) if request.path == "/api/blocks/grants" else None
    result = up(ann, "a", code=1)
    assert result.json["error"]["code"] == "bad_answer"
    assert "secret" not in result.out + result.err


def test_a_putter_tells_refusal_from_absence(server: FakeServer) -> None:
    grant = Grant(sha256="0" * 64, size=1, url=f"{server.storage_url}/staging/x?sig=secret", headers={})
    with Http(1) as http:
        putter = BlockPutter(http, Event(), Patience(tries=2, first_pause=0.001))
        server.storage_intercept = lambda request: Reply(403)
        with pytest.raises(GrantRefused):
            putter.put(grant, b"x")
        server.storage_intercept = lambda request: Reply(500)
        with pytest.raises(Unreachable) as raised:
            putter.put(grant, b"x")
    assert "secret" not in str(raised.value)
