"""`strata ls` and `rm`."""

import time
from typing import Any

import pytest

from client.browse_commands import _time
from client.screen import Screen
from tests.unit.client.fake_server import FakeServer, Reply, Request
from tests.unit.client.running import Command


def test_a_folder_is_listed_through_all_its_pages(ann: Command, server: FakeServer) -> None:
    server.page_size = 2
    for name in ("a", "b", "c", "sub/d", "sub/deep/e"):
        server.put(f"/w/{name}", name.encode())
    result = ann("ls", "/w", "--json")
    assert result.code == 0
    assert [file["path"] for file in result.json["files"]] == ["/w/a", "/w/b", "/w/c"]
    assert result.json["folders"] == ["/w/sub"]
    everything = ann("ls", "/w", "-r", "--json").json
    assert len(everything["files"]) == 5
    assert everything["folders"] == ["/w/sub", "/w/sub/deep"]


def test_a_line_each_for_pipes(ann: Command, server: FakeServer) -> None:
    server.put("/w/b", b"12345")
    server.put("/w/sub/c", b"")
    result = ann("ls", "w")
    assert result.out.splitlines() == ["sub/\t\t\t", "b\t5\t2024-05-06T07:08:09.123456Z\t1"]
    assert ann("ls", "/w/b").out.startswith("b\t5\t")
    assert "/w/sub/c\t0" in ann("ls", "-r").out


@pytest.mark.parametrize(
    ("zone", "moment"),
    [("America/New_York", "0001-01-01T00:00:00+00:00"), ("Asia/Tokyo", "9999-12-31T23:59:59+00:00")],
)
def test_a_time_without_a_date_here_is_shown_as_it_came(
    monkeypatch: pytest.MonkeyPatch, zone: str, moment: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        assert _time(moment, exact=False) == moment
    time.tzset()


def test_an_empty_account_lists_nothing(ann: Command) -> None:
    result = ann("ls")
    assert (result.code, result.out) == (0, "")
    assert ann("--json", "ls").json == {"path": "/", "folders": [], "files": []}


def test_what_is_not_there(ann: Command) -> None:
    assert ann("ls", "/nowhere", "--json").json["error"]["exit_code"] == 4
    assert ann("rm", "/nowhere").code == 4


def test_names_do_not_steer_the_terminal(ann: Command, server: FakeServer) -> None:
    server.put("/evil\x1b[2J\n[red]", b"")
    assert ann("ls").out == "evil\\x1b[2J\\n[red]\t0\t2024-05-06T07:08:09.123456Z\t1\n"


def test_files_are_deleted_and_folders_are_not(ann: Command, server: FakeServer) -> None:
    for path in ("/a", "/b", "/d/c"):
        server.put(path, b"x")
    result = ann("rm", "/a", "/nowhere", "/d", "/b", "--json")
    assert result.code == 6
    assert [entry["path"] for entry in result.json["deleted"]] == ["/a", "/b"]
    assert {entry["path"]: entry["error"]["code"] for entry in result.json["failed"]} == {
        "/nowhere": "not_found",
        "/d": "is_folder",
    }
    assert list(server.nodes) == ["/d/c"]
    assert ann("rm", "/").code == 6


def test_a_deletion_whose_answer_is_lost_counts(ann: Command, server: FakeServer) -> None:
    server.put("/a", b"x")

    def lose(request: Request) -> Reply | None:
        if request.method != "DELETE":
            return None
        server.intercept = None
        server.answer(request)
        return Reply(0)

    server.intercept = lose
    assert ann("rm", "/a").code == 0
    assert server.nodes == {}


def test_a_mistake_of_the_server_is_unexpected(ann: Command, server: FakeServer) -> None:
    server.intercept = lambda request: Reply(500, b"oops")
    result = ann("ls", "--json")
    assert result.json["error"]["exit_code"] == result.code == 1


def test_an_interrupt_behind_the_result_adds_no_second_document(
    ann: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = Screen.result

    def interrupted(screen: Screen, *told: Any) -> None:
        tell(screen, *told)
        raise KeyboardInterrupt

    monkeypatch.setattr(Screen, "result", interrupted)
    late = ann("ls", "--json")
    assert late.json["files"] == []
    assert (late.code, late.err) == (130, "strata: interrupted\n")


def test_an_interrupt_before_the_result_is_the_result(ann: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    assert ann("ls", "--json").code == 0, "an earlier command's document is not this one's"
    monkeypatch.setattr(Screen, "result", interrupted)
    assert ann("ls", "--json").json["error"]["code"] == "interrupted"
