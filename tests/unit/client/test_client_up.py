"""`strata up`: what travels, what is committed, and what happens when something is in the way."""

import errno
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from client.reading import Reading
from tests.unit.client.fake_server import FakeServer, Reply, Request, problem
from tests.unit.client.running import KIB, MIB, Command, noise

LARGE = 256 * KIB + 1
"""Bytes of a file that is not sent in a batch, and so few more that it is one block."""


def on(path: str, answer: Callable[[Request, int], Reply | None]) -> Callable[[Request], Reply | None]:
    """An intercept for one path, which is told how often that was asked."""
    times = 0

    def intercept(request: Request) -> Reply | None:
        nonlocal times
        if request.path != path:
            return None
        times += 1
        return answer(request, times)

    return intercept


def status(command: Command, *arguments: str) -> tuple[int, str]:
    result = command("up", *arguments, "--json")
    if "error" in result.json:
        return result.code, str(result.json["error"]["code"])
    return result.code, str(result.json["files"][0]["status"])


def test_only_what_the_server_lacks_travels(ann: Command, server: FakeServer) -> None:
    content = noise(8 * MIB)
    Path("a").write_bytes(content)
    assert status(ann, "a") == (0, "committed")
    first = len(server.sent)
    assert server.calls["POST upload"] + server.calls["POST blocks/batch"] < first
    Path("a").write_bytes(content[: 4 * MIB] + b"!" + content[4 * MIB :])
    assert status(ann, "a") == (0, "committed")
    assert 1 <= len(server.sent) - first <= 3
    assert server.nodes["/a"].versions[-1].number == 2
    assert server.content("/a") == Path("a").read_bytes()


def test_the_same_content_again_sends_and_commits_nothing(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(noise(3 * MIB))
    ann("up", "a")
    server.calls.clear()
    server.sent.clear()
    assert status(ann, "a") == (0, "unchanged")
    assert (server.sent, server.calls["POST files/commit"]) == ([], 0)


def test_equal_blocks_travel_once(ann: Command, server: FakeServer) -> None:
    Path("zeros").write_bytes(bytes(40 * MIB))
    Path("copy").write_bytes(bytes(40 * MIB))
    assert ann("up", "--to", "/", "zeros", "copy").code == 0
    assert len(server.sent) == 1
    assert server.content("/zeros") == server.content("/copy") == bytes(40 * MIB)


def test_compression_where_it_pays(ann: Command, server: FakeServer) -> None:
    Path("text").write_bytes(b"all work and no play\n" * 20_000)
    Path("noise").write_bytes(noise(LARGE))
    assert ann("up", "--to", "/", "text", "noise").code == 0
    assert server.encodings["none"] >= 1
    assert server.encodings["zstd"] >= 1
    server.encodings.clear()
    Path("text").write_bytes(b"all play and no work\n" * 20_000)
    assert ann("up", "--no-compress", "text").code == 0
    assert server.encodings["zstd"] == 0


def test_many_small_files_share_their_questions(ann: Command, server: FakeServer) -> None:
    Path("tree").mkdir()
    for number in range(300):
        Path("tree", f"{number}.txt").write_bytes(noise(50))
    assert ann("up", "tree").code == 0
    assert len(server.nodes) == 300
    assert server.calls["POST blocks"] < 40
    assert server.calls["GET files/list"] == 1  # the folder isn't there: nothing below it needs a question


def test_targets(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(b"a")
    Path("tree/sub").mkdir(parents=True)
    Path("tree/sub/b").write_bytes(b"b")
    for arguments, expected in {
        ("a",): ["/a"],
        ("a", "/x/"): ["/x/a"],
        ("a", "x"): ["/x"],
        ("tree",): ["/tree/sub/b"],
        ("tree/",): ["/tree/sub/b"],
        ("tree", "/t"): ["/t/sub/b"],
        ("tree", "/t/"): ["/t/tree/sub/b"],
        ("a", "tree", "/t"): ["/t/a", "/t/tree/sub/b"],
        ("--to", "/t", "a", "tree"): ["/t/a", "/t/tree/sub/b"],
        (".", "/dot"): ["/dot/a", "/dot/tree/sub/b"],
        ("tree/sub/..", "/dots/"): ["/dots/tree/sub/b"],
    }.items():
        server.nodes.clear()
        assert ann("up", *arguments).code == 0, arguments
        assert sorted(server.nodes) == expected, arguments


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("a", "b"), 2),  # b is here: a source, or the target?
        (("a", "/"), 0),
        (("a", "/../b"), 6),
        (("a", "/x//y"), 6),
        (("a", "/con"), 6),
        (("gone", "/x"), 8),
        (("-",), 2),
        (("-", "/x/"), 2),
        (("-", "a", "/x"), 2),
        (("a", "tree/a", "/x/"), 5),
    ],
)
def test_arguments_that_can_not_be_meant(ann: Command, arguments: tuple[str, ...], code: int) -> None:
    Path("a").write_bytes(b"a")
    Path("b").write_bytes(b"b")
    Path("tree").mkdir()
    Path("tree/a").write_bytes(b"a")
    assert ann("up", *arguments).code == code


def test_standard_input(ann: Command, server: FakeServer) -> None:
    content = noise(6 * MIB)
    assert ann("up", "-", "/dump.sql", stdin=content).code == 0
    assert server.content("/dump.sql") == content


def test_what_is_no_file_is_passed_over(ann: Command, server: FakeServer) -> None:
    Path("tree").mkdir()
    Path("tree/a").write_bytes(b"a")
    Path("tree/link").symlink_to("a")
    Path("tree/loop").symlink_to(".")
    os.mkfifo("tree/pipe")
    result = ann("up", "tree", "--json")
    assert result.code == 0
    assert {entry["path"]: entry["reason"] for entry in result.json["skipped"]} == {
        "tree/link": "a symbolic link",
        "tree/loop": "a symbolic link",
        "tree/pipe": "not a regular file",
    }
    assert list(server.nodes) == ["/tree/a"]


def test_unreadable_files_do_not_stop_the_others(
    ann: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("tree").mkdir()
    for name in "abc":
        Path("tree", name).write_bytes(name.encode())
    really_open = os.open

    def forbid(path: str | Path, *arguments: int) -> int:
        if str(path) == "tree/b":
            raise PermissionError(errno.EACCES, "Permission denied", "tree/b")
        return really_open(path, *arguments)

    monkeypatch.setattr("client.reading.os.open", forbid)
    result = ann("up", "tree", "--json")
    assert (result.code, result.json["error"]["code"]) == (8, "unreadable")
    assert result.json["totals"] | {"bytes_sent": 0} == {
        "committed": 2, "unchanged": 0, "received": 0, "failed": 1, "skipped": 0, "bytes": 2, "bytes_sent": 0
    }  # fmt: skip
    assert sorted(server.nodes) == ["/tree/a", "/tree/c"]
    assert "tree/b" in result.err


def test_names_that_strata_can_not_hold_do_not_stop_the_others(ann: Command, server: FakeServer) -> None:
    Path("tree").mkdir()
    for name in (b"ok", b"what?", b"bad\xff", b"trailing."):
        Path("tree", os.fsdecode(name)).write_bytes(name)
    result = ann("up", "tree", "--json")
    assert result.code == 6
    assert list(server.nodes) == ["/tree/ok"]
    assert len(result.json["skipped"]) == 3


@pytest.mark.parametrize(("one", "other"), [("a.txt", "A.TXT"), ("u\u0308", "\u00fc")])
def test_twins_do_not_overwrite_each_other(ann: Command, server: FakeServer, one: str, other: str) -> None:
    Path("tree").mkdir()
    Path("tree", one).write_bytes(b"one")
    Path("tree", other).write_bytes(b"other")
    if len(os.listdir("tree")) == 1:
        pytest.skip("this file system can't hold both")
    assert status(ann, "tree") == (5, "name_exists")
    assert len(server.nodes) == 1
    assert len(next(iter(server.nodes.values())).versions) == 1


# -- files that change ------------------------------------------------------------------------------------------


def changing(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], None]) -> None:
    """Have `change(n)` done after the n-th reading of a file, before it is looked at again."""
    really = Reading.unchanged
    times = 0

    def unchanged(self: Reading) -> bool:
        nonlocal times
        times += 1
        change(times)
        return really(self)

    monkeypatch.setattr(Reading, "unchanged", unchanged)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    ann: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = noise(2 * MIB), noise(2 * MIB)
    Path("a").write_bytes(first)
    changing(monkeypatch, lambda n: Path("a").write_bytes(second) if n == 1 else None)
    assert status(ann, "a") == (0, "committed")
    assert server.content("/a") == second
    assert server.calls["POST files/commit"] == 1


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    ann: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_bytes(b"old")
    shutil.copystat("a", "a")

    def replace(n: int) -> None:
        if n == 1:
            Path("b").write_bytes(b"new")
            shutil.copystat("a", "b")  # same size, same time, another file
            Path("b").replace("a")

    changing(monkeypatch, replace)
    assert status(ann, "a") == (0, "committed")
    assert server.content("/a") == b"new"


def test_a_file_that_never_holds_still_is_not_committed(
    ann: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_bytes(b"0")
    Path("b").write_bytes(b"still")

    def grow(n: int) -> None:
        with Path("a").open("ab") as file:
            file.write(b"more")

    changing(monkeypatch, lambda n: grow(n) if n <= 3 else None)
    result = ann("up", "--to", "/", "a", "b", "--json")
    assert (result.code, result.json["error"]["code"]) == (8, "changed")
    assert list(server.nodes) == ["/b"]


def test_a_file_that_goes_while_it_is_read(
    ann: Command, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_bytes(b"0")
    changing(monkeypatch, lambda n: Path("a").unlink())
    assert status(ann, "a") == (8, "unreadable")
    assert server.nodes == {}


# -- commits ----------------------------------------------------------------------------------------------------


def test_blocks_that_got_lost_are_sent_again(ann: Command, server: FakeServer) -> None:
    content = noise(8 * MIB)
    Path("a").write_bytes(content)

    def lose(request: Request, times: int) -> None:
        if times <= 2:
            for ref in request.json()["blocks"][1:3]:
                server.blocks.pop(ref["sha256"])

    server.intercept = on("/api/files/commit", lose)
    assert status(ann, "a") == (0, "committed")
    assert server.content("/a") == content
    assert server.calls["POST files/commit"] == 3


def test_blocks_that_always_get_lost_end_it(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(noise(LARGE))
    server.intercept = on("/api/files/commit", lambda request, times: server.blocks.clear())
    assert status(ann, "a") == (5, "missing_blocks")
    assert server.calls["POST files/commit"] == 4


def test_lost_blocks_of_a_file_that_has_changed_are_not_replaced_by_others(
    ann: Command, server: FakeServer
) -> None:
    Path("a").write_bytes(noise(LARGE))

    def lose(request: Request, times: int) -> None:
        server.blocks.clear()
        Path("a").write_bytes(b"new content")

    server.intercept = on("/api/files/commit", lose)
    assert status(ann, "a") == (8, "changed")
    assert server.nodes == {}


def test_lost_blocks_of_standard_input_can_not_be_read_again(ann: Command, server: FakeServer) -> None:
    server.intercept = on("/api/files/commit", lambda request, times: server.blocks.clear())
    assert ann("up", "-", "/a", stdin=b"once").code == 5


def test_somebody_elses_version_is_not_buried(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(noise(LARGE))

    def interfere(request: Request, times: int) -> None:
        if times == 1:
            server.put("/a", b"theirs")

    server.intercept = on("/api/files/commit", interfere)
    result = ann("up", "a", "--json")
    assert (result.code, result.json["error"]["code"]) == (5, "version_conflict")
    assert "/a" in result.json["error"]["message"]
    assert "--force" in result.json["error"]["message"]
    assert server.content("/a") == b"theirs"


def test_force_puts_a_version_on_top_once(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(noise(LARGE))
    rivals = 1

    def interfere(request: Request, times: int) -> None:
        if times <= rivals:
            server.put("/a", b"theirs %d" % times)

    server.intercept = on("/api/files/commit", interfere)
    assert status(ann, "a", "--force") == (0, "committed")
    assert [version.number for version in server.nodes["/a"].versions] == [1, 2]
    server.nodes.clear()
    rivals = 2
    server.intercept = on("/api/files/commit", interfere)
    assert status(ann, "a", "--force") == (5, "version_conflict")


def test_a_commit_whose_answer_is_lost_is_made_once(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(noise(LARGE))
    keys = []

    def lose(request: Request, times: int) -> Reply | None:
        keys.append(request.headers["idempotency-key"])
        if times == 1:
            server.intercept = None
            server.answer(request)
            server.intercept = intercept
            return Reply(0)
        return None

    intercept = on("/api/files/commit", lose)
    server.intercept = intercept
    assert status(ann, "a") == (0, "committed")
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(server.nodes["/a"].versions) == 1


def test_a_folder_has_the_name(ann: Command, server: FakeServer) -> None:
    server.put("/docs/b", b"b")
    Path("a").write_bytes(b"a")
    result = ann("up", "a", "/docs", "--json")
    assert (result.code, result.json["error"]["code"]) == (5, "name_exists")
    assert "folder" in result.json["error"]["message"]


def test_a_full_quota_ends_the_run(ann: Command, server: FakeServer) -> None:
    Path("tree").mkdir()
    for number in range(200):
        Path("tree", str(number)).write_bytes(noise(LARGE))
    full = problem(507, "quota_exceeded")
    server.intercept = lambda request: full if request.path in ("/api/upload", "/api/blocks/batch") else None
    assert status(ann, "tree", "--jobs", "2") == (6, "quota_exceeded")
    assert server.calls["POST upload"] + server.calls["POST blocks/batch"] <= 4
    assert server.nodes == {}


def test_a_block_that_is_damaged_on_the_way_is_sent_again(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(noise(LARGE))
    server.intercept = on(
        "/api/upload", lambda request, times: problem(422, "hash_mismatch") if times <= 2 else None
    )
    assert status(ann, "a") == (0, "committed")


def test_a_block_that_is_always_damaged_ends_its_file(ann: Command, server: FakeServer) -> None:
    bad_content = b"a" * LARGE
    Path("a").write_bytes(bad_content)
    Path("b").write_bytes(b"content of b")
    bad = sha256(bad_content).hexdigest()
    server.intercept = on(
        "/api/upload",
        lambda request, times: (
            problem(422, "hash_mismatch") if request.headers["x-content-sha256"] == bad else None
        ),
    )
    result = ann("up", "--to", "/", "a", "b", "--json")
    assert (result.code, result.json["error"]["code"]) == (9, "hash_mismatch")
    assert list(server.nodes) == ["/b"]


def test_one_damaged_block_among_several_ends_its_own_file_only(ann: Command, server: FakeServer) -> None:
    bad_content = b"a" * LARGE
    Path("a").write_bytes(bad_content)
    for name in ("b", "c"):
        Path(name).write_bytes(noise(LARGE))
    bad = sha256(bad_content).hexdigest()

    def damaged(request: Request) -> Reply | None:
        sent = request.body if request.path == "/api/blocks/batch" else b""
        named = bad.encode() in sent or request.headers.get("x-content-sha256") == bad
        return problem(422, "hash_mismatch") if named else None

    server.intercept = damaged
    result = ann("up", "--to", "/", "a", "b", "c", "--json")
    assert (result.code, result.json["error"]["code"]) == (9, "hash_mismatch")
    assert sorted(server.nodes) == ["/b", "/c"]


def test_an_answer_that_makes_no_sense_is_unexpected(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(b"a")
    server.intercept = on(
        "/api/blocks/check", lambda request, times: Reply(200, b"<html>welcome to the hotel</html>")
    )
    assert status(ann, "a") == (1, "bad_answer")


def test_a_server_that_is_away(ann: Command, server: FakeServer) -> None:
    Path("a").write_bytes(noise(LARGE))
    server.intercept = on(
        "/api/upload", lambda request, times: problem(503, "unavailable", headers={"Retry-After": "0"})
    )
    assert status(ann, "a") == (7, "unavailable")
    assert server.calls["POST upload"] == 6
