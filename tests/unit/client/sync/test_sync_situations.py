"""Folders that meet, move and go; what can't be seen; what is left out: each as it happens to two devices."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from client.sync.actions import (
    DeleteLocal,
    DeleteRemote,
    Download,
    Forget,
    KeepBoth,
    MoveLocal,
    MoveRemote,
    Plan,
    Record,
    Upload,
)
from client.sync.ignoring import Ignoring
from client.sync.planning import plan
from client.sync.trees import Fingerprint, Here, Kind, LocalTree, Names
from shared.domain.ids import NodeId
from tests.property.sync_device import ModelDevice, colliding, missing, reliable, settle
from tests.property.sync_pairs import COPY, shown, two_devices
from tests.property.sync_server import Refused

HERE = Here("A", "2026-11-22")


def with_files(**files: str) -> tuple[ModelDevice, ModelDevice]:
    """Two devices in step; a name's double underscore is a slash."""
    here, there = two_devices()
    for name, token in files.items():
        here.write(path(name), token)
    settle([here, there])
    return here, there


def path(name: str) -> Names:
    return tuple(name.split("__"))


def outcome(here: ModelDevice, there: ModelDevice) -> dict[str, str]:
    """What all show after `there` and then `here` have synced."""
    there.sync()
    settle([here, there])
    return shown(here.server.paths())


def plan_with(device: ModelDevice, local: LocalTree, **here: object) -> Plan:
    return plan(
        device.base, local, device.server.tree(), device=replace(HERE, **here), ignoring=device.ignoring
    )


# Folders that are deleted on one side


def test_a_folder_that_gained_a_file_there_stays_for_it() -> None:
    here, there = with_files(d__old="1")
    here.delete(("d",))
    there.write(("d", "new"), "2")
    assert outcome(here, there) == {"d/": "", "d/new": "2"}


def test_a_folder_that_gained_a_file_here_stays_for_it() -> None:
    here, there = with_files(d__e__old="1", d__e__other="1b")
    there.delete(("d",))
    here.write(("d", "e", "new"), "2")
    assert outcome(here, there) == {"d/": "", "d/e/": "", "d/e/new": "2"}


def test_an_edit_in_a_deleted_folder_brings_its_folders_back() -> None:
    here, there = with_files(d__e__f="1", d__e__g="2")
    there.delete(("d",))
    here.write(("d", "e", "f"), "mine")
    assert outcome(here, there) == {"d/": "", "d/e/": "", "d/e/f": "mine"}


def test_a_file_moved_out_of_a_folder_survives_its_deletion() -> None:
    here, there = with_files(d__f="1", d__g="2")
    there.move(("d", "f"), ("f",))
    here.delete(("d",))
    assert outcome(here, there) == {"f": "1"}


def test_a_file_moved_into_a_deleted_folder_keeps_it() -> None:
    here, there = with_files(d__f="1", g="2")
    there.move(("g",), ("d", "g"))
    here.delete(("d",))
    assert outcome(here, there) == {"d/": "", "d/g": "2"}


def test_a_big_folder_is_deleted_with_one_call() -> None:
    here, _ = with_files(d__e__f="1", d__g="2", d__h="3")
    here.delete(("d",))
    (action,) = here.plan().actions
    assert isinstance(action, DeleteRemote)
    assert len(action.covers) == 4


def test_a_deletion_never_covers_what_came_since() -> None:
    here, there = with_files(d__f="1")
    here.delete(("d",))
    here.look()
    there.write(("d", "late"), "2")
    there.sync()
    here.go_on()
    assert outcome(here, there) == {"d/": "", "d/late": "2"}


# Names


def test_renaming_a_folder_is_one_move_and_sends_nothing() -> None:
    here, _ = with_files(d__e__f="1", d__g="2")
    here.move(("d",), ("renamed",))
    (action,) = here.plan().actions
    assert isinstance(action, MoveRemote)
    assert (action.source, action.target) == (("d",), ("renamed",))


@pytest.mark.parametrize("numbers", [reliable, missing, colliding])
def test_files_moved_apart_are_moves_for_the_others_too(numbers: Callable[[int], int]) -> None:
    here, there = with_files(d__f="1", d__g="2")
    here.numbers = there.numbers = numbers
    here.sync()
    here.make_folder(("x",))
    here.move(("d", "f"), ("x", "ff"))
    here.move(("d", "g"), ("gg",))
    assert sum(isinstance(action, MoveRemote) for action in here.plan().actions) == 2
    here.sync()
    assert not [action for action in there.plan().actions if isinstance(action, Download)]
    assert outcome(here, there) == {"d/": "", "x/": "", "x/ff": "1", "gg": "2"}


def test_names_swapped_on_the_server_are_swapped_here_without_a_download() -> None:
    here, there = with_files(a__x="1", b__y="2")
    server, a, b = here.server, here.server.find(("a",)), here.server.find(("b",))
    assert a and b
    server.move(a, ("c",))
    server.move(b, ("a",))
    server.move(a, ("b",))
    actions = here.plan().actions
    assert [type(action) for action in actions] == [MoveLocal, MoveLocal, MoveLocal]
    assert actions[0].rule.name == "making_way"
    assert outcome(here, there) == {"a/": "", "a/y": "2", "b/": "", "b/x": "1"}


@pytest.mark.parametrize("steps", range(8))
def test_a_swap_is_finished_after_a_kill(steps: int) -> None:
    here, there = with_files(a__x="1", b__y="2")
    server, a, b = here.server, here.server.find(("a",)), here.server.find(("b",))
    assert a and b
    server.move(a, ("c",))
    server.move(b, ("a",))
    server.move(a, ("b",))
    here.look()
    here.act(steps)
    assert outcome(here, there) == {"a/": "", "a/y": "2", "b/": "", "b/x": "1"}


def test_folders_moved_into_each_other_are_pulled_apart() -> None:
    here, there = with_files(a__x="1", b__y="2")
    here.move(("a",), ("b", "a"))
    there.move(("b",), ("a", "b"))
    assert outcome(here, there) == {"a/": "", "a/x": "1", "a/b/": "", "a/b/y": "2"}


def test_two_names_that_clash_here_are_kept_apart_everywhere() -> None:
    here, there = two_devices()
    here.write(("readme",), "1")
    here.write(("README",), "2")
    here.write(("\u00e9",), "3")
    here.write(("e\u0301",), "4")
    tree = outcome(here, there)
    assert tree == {
        "README": "2",
        "readme (name clash, A)": "1",
        "\u00e9": "4",
        "\u00e9 (name clash, A)": "3",
    }
    assert here.sync() == 0


def test_a_new_spelling_is_a_rename() -> None:
    here, there = with_files(a="1")
    here.move(("a",), ("A",))
    assert outcome(here, there) == {"A": "1"}


def test_a_decomposed_name_is_no_change() -> None:
    here, there = two_devices()
    here.write(("e\u0301",), "1")
    assert outcome(here, there) == {"\u00e9": "1"}
    assert ("e\u0301",) in here.things


def test_two_files_renamed_to_one_name_are_both_kept() -> None:
    here, there = with_files(a="1", b="2")
    here.move(("a",), ("c",))
    there.move(("b",), ("c",))
    assert outcome(here, there) == {"c": "2", f"c{COPY}": "1"}


def test_a_file_replaced_by_a_folder() -> None:
    here, there = with_files(a="1")
    here.delete(("a",))
    here.write(("a", "b"), "2")
    assert outcome(here, there) == {"a/": "", "a/b": "2"}


def test_a_folder_replaced_by_a_file() -> None:
    here, there = with_files(a__b="1", a__c="2")
    here.move(("a", "b"), ("kept",))
    here.delete(("a",))
    here.write(("a",), "3")
    assert outcome(here, there) == {"a": "3", "kept": "1"}


def test_a_first_sync_of_equal_trees_only_writes_down() -> None:
    here, there = with_files(d__f="1", g="2")
    there.base.clear()
    assert {type(action) for action in there.plan().actions} == {Record}
    assert outcome(here, there) == {"d/": "", "d/f": "1", "g": "2"}


@pytest.mark.parametrize("name", ["f", "new"])
def test_a_second_edit_after_a_kill_is_no_conflict(name: str) -> None:
    """The first one has arrived on the server, but its base row was never written."""
    here, there = with_files(f="1")
    here.write((name,), "2")
    here.look()
    here.act(1)  # the upload itself, not its row
    assert "2" in shown(here.server.paths()).values()
    here.write((name,), "3")
    assert outcome(here, there) == {"f": "1"} | {name: "3"}


@pytest.mark.parametrize("gone", ["d", "d/f"])
def test_a_file_brought_back_after_a_kill_is_new(gone: str) -> None:
    """Its deletion has arrived on the server, but its base row was never dropped."""
    here, there = with_files(d__f="1")
    kept = dict(here.things)
    here.delete(tuple(gone.split("/")))
    here.look()
    here.act(1)  # the deletion itself, not its row
    assert "d/f" not in shown(here.server.paths())
    here.things |= kept
    assert outcome(here, there) == {"d/": "", "d/f": "1"}


# What can't be seen


def test_an_incomplete_scan_deletes_nothing() -> None:
    here, _ = with_files(d__f="1", g="2")
    assert plan_with(here, LocalTree({}, complete=False)).actions == ()


def test_what_is_below_an_unreadable_folder_is_left_alone() -> None:
    here, there = with_files(d__f="1", d__g="2", h="3")
    there.write(("d", "f"), "theirs")
    there.delete(("d", "g"))
    there.write(("d", "new"), "4")
    there.delete(("h",))
    there.sync()
    seen = {p: entry for p, entry in here.scan().entries.items() if p[:1] != ("d",) or p == ("d",)}
    made = plan_with(here, LocalTree(seen, unlisted=frozenset({("d",)})))
    assert [type(action) for action in made.actions] == [DeleteLocal]
    assert {report.rule.name for report in made.reports} >= {"not_seen"}


def test_an_unreadable_root_does_nothing() -> None:
    here, there = with_files(f="1")
    there.write(("new",), "2")
    there.sync()
    assert plan_with(here, LocalTree({}, unlisted=frozenset({()}))).actions == ()


def test_a_deleted_folder_with_something_unreadable_in_it_stays() -> None:
    here, there = with_files(d__e__f="1")
    there.delete(("d",))
    there.sync()
    entries = dict(here.scan().entries)
    entries["d", "e", "f"] = replace(entries["d", "e", "f"], content=None)
    made = plan_with(here, LocalTree(entries))
    assert made.actions == ()
    assert "unreadable" in {report.rule.name for report in made.reports}


@pytest.mark.parametrize("theirs", ["edited", "deleted", "moved"])
def test_an_unreadable_file_is_neither_replaced_nor_deleted(theirs: str) -> None:
    here, there = with_files(f="1")
    if theirs == "edited":
        there.write(("f",), "2")
    elif theirs == "deleted":
        there.delete(("f",))
    else:
        there.move(("f",), ("g",))
    there.sync()
    entries = {p: replace(entry, content=None) for p, entry in here.scan().entries.items()}
    made = plan_with(here, LocalTree(entries))
    assert [type(action) for action in made.actions] == ([MoveLocal] if theirs == "moved" else [])


def test_a_new_file_that_cannot_be_read_holds_its_place() -> None:
    here, there = with_files(g="1")
    here.write(("f",), "mine")
    there.write(("f",), "theirs")
    there.sync()
    entries = dict(here.scan().entries)
    entries[("f",)] = replace(entries[("f",)], content=None)
    assert plan_with(here, LocalTree(entries)).actions == ()


def test_what_would_have_to_pass_something_stuck_waits_with_it() -> None:
    """There, `c` came below `b`, which was below `c`: while `b` can't move out here, `c` can't move in."""
    here, there = with_files(c__b__f="1")
    there.move(("c", "b"), ("b",))
    there.sync()
    there.move(("c",), ("b", "c"))
    there.sync()
    node = here.server.find(("b",))
    assert plan_with(here, here.scan(), stuck=frozenset({node})).actions == ()
    assert outcome(here, there) == {"b/": "", "b/f": "1", "b/c/": ""}


def test_what_is_stuck_does_not_stop_the_rest() -> None:
    here, there = with_files(d__f="1", g="2")
    there.move(("d",), ("moved",))
    there.write(("moved", "f"), "theirs")
    there.write(("g",), "3")
    there.sync()
    node = here.server.find(("moved",))
    made = plan_with(here, here.scan(), stuck=frozenset({node}))
    assert {type(action) for action in made.actions} == {Download}
    assert {getattr(action, "path", None) for action in made.actions} == {("d", "f"), ("g",)}


# What is not synced


def ignoring_devices() -> tuple[ModelDevice, ModelDevice]:
    here, there = two_devices()
    here.ignoring = Ignoring(["*.o", "build/"])
    return here, there


def test_what_is_ignored_goes_nowhere() -> None:
    here, there = ignoring_devices()
    here.write(("a.o",), "1")
    here.write(("build", "x"), "2")
    here.write(("c",), "3")
    there.write(("b.o",), "4")
    there.sync()
    here.sync()
    there.sync()
    assert shown(here.server.paths()) == {"b.o": "4", "c": "3"}
    assert ("b.o",) not in here.things
    assert here.sync() == 0


def test_what_becomes_ignored_is_not_deleted() -> None:
    here, there = with_files(a__o="1", b="2")
    here.ignoring = Ignoring(["a/"])
    assert {type(action) for action in here.plan().actions} == {Forget}
    here.sync()
    assert "a/o" in shown(here.server.paths())
    assert ("a", "o") in here.things
    here.ignoring = Ignoring()
    assert outcome(here, there) == {"a/": "", "a/o": "1", "b": "2"}


def test_a_deleted_folder_with_something_ignored_stays_by_itself() -> None:
    here, there = with_files(d__f="1", d__e__g="2")
    here.ignoring = Ignoring(["*.o"])
    here.write(("d", "e", "x.o"), "kept")
    there.delete(("d",))
    there.sync()
    here.sync()
    assert set(here.things) == {("d",), ("d", "e"), ("d", "e", "x.o")}
    assert here.server.paths() == {}
    assert here.sync() == 0
    here.write(("d", "e", "again"), "3")
    assert "d/e/again" in outcome_of(here)


def outcome_of(device: ModelDevice) -> dict[str, str]:
    device.sync()
    return shown(device.server.paths())


def test_a_folder_with_something_ignored_on_the_server_is_not_deleted_there() -> None:
    here, there = with_files(d__f="1")
    there.write(("d", "x.o"), "2")
    there.sync()
    here.ignoring = Ignoring(["*.o"])
    here.delete(("d",))
    here.sync()
    assert shown(here.server.paths()) == {"d/": "", "d/x.o": "2"}
    assert here.sync() == 0


# Care with contents


def test_a_file_that_became_empty_at_the_same_time_is_not_sent() -> None:
    here, there = with_files(f="1")
    entry = here.scan().entries[("f",)]
    empty = replace(entry, content=replace(entry.content, root_hash="e", size=0))
    made = plan_with(here, LocalTree({("f",): empty}))
    assert made.actions == ()
    assert [report.rule.name for report in made.reports] == ["became_empty"]
    touched = replace(empty, fingerprint=replace(entry.fingerprint, mtime_ns=99, size=0))
    assert [type(action) for action in plan_with(here, LocalTree({("f",): touched})).actions] == [Upload]
    there.write(("f",), "theirs")
    there.sync()
    assert [type(action) for action in plan_with(here, LocalTree({("f",): empty})).actions] == [Download]


def test_an_upload_on_a_version_that_is_no_longer_the_head_becomes_a_conflicted_copy() -> None:
    here, there = with_files(f="1")
    here.write(("f",), "mine")
    here.look()
    there.write(("f",), "theirs")
    there.sync()
    here.go_on()
    assert outcome(here, there) == {"f": "theirs", f"f{COPY}": "mine"}


def test_a_file_edited_between_plan_and_download_is_not_replaced() -> None:
    here, there = with_files(f="1")
    there.write(("f",), "theirs")
    there.sync()
    here.look()
    here.write(("f",), "mine")
    here.go_on()
    assert here.things[("f",)].content == here.scan().entries[("f",)].content
    assert outcome(here, there) == {"f": "theirs", f"f{COPY}": "mine"}


def test_keeping_both_drops_the_base_row_before_the_rename() -> None:
    here, there = with_files(f="1")
    here.write(("f",), "mine")
    there.write(("f",), "theirs")
    there.sync()
    (keep,) = (action for action in here.plan().actions if isinstance(action, KeepBoth))
    assert keep.node_id == here.server.find(("f",))
    assert keep.copy == (f"f{COPY}",)


def test_touching_a_file_only_writes_down() -> None:
    here, _ = with_files(f="1")
    entry = here.scan().entries[("f",)]
    touched = replace(entry, fingerprint=Fingerprint(10, 12345, entry.fingerprint.inode, 1))
    (action,) = plan_with(here, LocalTree({("f",): touched})).actions
    assert isinstance(action, Record)


def test_the_model_server_refuses_like_the_real_one() -> None:
    here, _ = with_files(f="1", d__g="2")
    folder = here.server.find(("d",))
    assert folder
    for refused in (
        lambda: here.server.commit(NodeId("nobody"), None, here.things[("f",)].content),
        lambda: here.server.move(folder, ("d", "inside")),
        lambda: here.server.move(folder, ("f",)),
        lambda: here.server.delete(folder, {folder: None}),
        lambda: here.server.make_folder(("F",)),
    ):
        with pytest.raises(Refused):
            refused()
    assert here.things[("f",)].kind is Kind.FILE
