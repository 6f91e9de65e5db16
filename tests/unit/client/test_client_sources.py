"""What of the local tree is sent, and how it is read."""

import os
from pathlib import Path
from threading import Event

import pytest

from client.errors import LocalProblem, Refused, Stopped
from client.reading import Identity, Reading, read_again
from client.remote_paths import RemotePath, parse_remote
from client.sources import LocalFile, PassedOver, measure, walk
from client.targets import Target, safe_below
from shared.domain.blocks import Sha256, hash_of
from shared.domain.cutting import cut_buffer


@pytest.mark.parametrize(
    ("typed", "path", "into"),
    [
        ("/", "/", True),
        ("", "/", False),
        ("a", "/a", False),
        ("/a/b/", "/a/b", True),
        ("e\u0301", "/\u00e9", False),
    ],
)
def test_remote_paths(typed: str, path: str, into: bool) -> None:
    parsed = parse_remote(typed)
    assert (str(parsed), parsed.into) == (path, into)


@pytest.mark.parametrize(
    "typed", ["..", "/a/../b", "//a", "a//b", "/a//", "a\x00", "nul.txt", "a\ud800", "x" * 256]
)
def test_remote_paths_that_no_system_holds(typed: str) -> None:
    with pytest.raises(Refused):
        parse_remote(typed)


def test_a_walk_is_in_order_and_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2", "b/1", "a", "c"):
        (tmp_path / name).write_bytes(b"xy")
    (tmp_path / "out").symlink_to("/")
    found = list(walk(tmp_path, RemotePath(("t",))))
    assert [str(one.target) for one in found if isinstance(one, LocalFile)] == [
        "/t/a",
        "/t/b/1",
        "/t/b/2",
        "/t/c",
    ]
    assert [one.path.name for one in found if isinstance(one, PassedOver)] == ["out"]
    assert measure([(tmp_path, RemotePath(("t",)))]) == (4, 8)


def test_a_source_that_is_gone_is_a_failure_of_its_own(tmp_path: Path) -> None:
    (found,) = walk(tmp_path / "gone", RemotePath(("t",)))
    assert isinstance(found, PassedOver)
    assert isinstance(found.error, LocalProblem)


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 5_000_000])
def test_a_file_is_cut_as_everybody_cuts(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = tmp_path / "a"
    path.write_bytes(content)
    with Reading(path, Event()) as reading:
        blocks = list(reading.blocks())
        assert reading.unchanged()
    assert [bytes(view) for view in cut_buffer(content)] == [block for _, block in blocks]
    assert all(ref.sha256 == hash_of(block) and ref.size == len(block) for ref, block in blocks)


def test_a_link_that_took_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "a").symlink_to("secret")
    with pytest.raises(LocalProblem):
        Reading(tmp_path / "a", Event())


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(LocalProblem, match="not a regular file"):
        Reading(path, Event())


@pytest.mark.parametrize("change", ["append", "rewrite", "replace", "remove", "nothing"])
def test_changes_are_noticed(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    with Reading(path, Event()) as reading:
        if change == "append":
            path.write_bytes(b"content and more")
        elif change == "rewrite":
            path.write_bytes(b"CONTENT")
        elif change == "replace":
            (tmp_path / "b").write_bytes(b"content")
            (tmp_path / "b").replace(path)
        elif change == "remove":
            path.unlink()
        assert reading.unchanged() == (change == "nothing")


def test_reading_again_gives_the_same_bytes_or_none(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"onetwothree")
    identity = Identity.of(path.stat())
    wanted = {hash_of(b"two"): (3, 3)}
    assert [content for _, content in read_again(path, identity, wanted)] == [b"two"]
    with pytest.raises(LocalProblem):
        list(read_again(path, identity, {Sha256("0" * 64): (3, 3)}))
    path.write_bytes(b"onetwofour!")
    with pytest.raises(LocalProblem):
        list(read_again(path, identity, wanted))


def test_times_keep_their_microseconds() -> None:
    identity = Identity(0, 0, 0, 1_700_000_000_123_456_789, 0)
    assert identity.modified_at.isoformat() == "2023-11-14T22:13:20.123456+00:00"
    before_1970 = Identity(0, 0, 0, -1_500_000_000, 0)
    assert before_1970.modified_at.isoformat() == "1969-12-31T23:59:58.500000+00:00"


def test_a_target_appears_whole(tmp_path: Path) -> None:
    target = Target(tmp_path / "sub" / "a", 6)
    assert not (tmp_path / "sub" / "a").exists()
    target.write(b"abc", [3, 0])
    target.keep("2023-11-14T22:13:20.5Z", force=False)
    assert (tmp_path / "sub" / "a").read_bytes() == b"abcabc"
    assert (tmp_path / "sub" / "a").stat().st_mtime_ns == 1_700_000_000_500_000_000
    assert os.listdir(tmp_path / "sub") == ["a"]


def test_a_discarded_target_takes_nothing_more(tmp_path: Path) -> None:
    target = Target(tmp_path / "a", 6)
    target.discard()
    with pytest.raises(Stopped):
        target.write(b"abc", [0])
    with pytest.raises(Stopped):  # or it would be told of as received
        target.keep("2023-11-14T22:13:20Z", force=False)
    target.discard()
    assert os.listdir(tmp_path) == []


def test_a_time_that_can_not_be_read_leaves_nothing(tmp_path: Path) -> None:
    target = Target(tmp_path / "a", 0)
    with pytest.raises(LocalProblem):
        target.keep("yesterday", force=False)
    assert os.listdir(tmp_path) == []


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("client.targets.os.link", refuse)
    target = Target(tmp_path / "a", 3)
    target.write(b"abc", [0])
    target.keep("2023-11-14T22:13:20Z", force=False)
    assert (tmp_path / "a").read_bytes() == b"abc"


def test_names_are_checked_where_they_become_paths(tmp_path: Path) -> None:
    assert safe_below(tmp_path, ("a", "b")) == tmp_path / "a" / "b"
    for names in (("..",), ("a", "..", "..", "b"), ("/etc",), ("",), ("a\\b",)):
        with pytest.raises(Refused):
            safe_below(tmp_path, names)
