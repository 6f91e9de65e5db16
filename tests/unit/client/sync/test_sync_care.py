"""The brake holds what deletes or changes much, on either side, and nothing else."""

import pytest

from client.sync.actions import Action, DeleteLocal, DeleteRemote, Download, Plan, Upload
from client.sync.care import Held, Impact, Limits, Released, hold
from client.sync.rules import IN_STEP
from client.sync.trees import Content, Fingerprint, Kind
from shared.domain.blocks import Sha256
from shared.domain.ids import NodeId, VersionId

CONTENT, MARK = Content(Sha256("0"), 1), Fingerprint(1, 1, 1, 1)
NODE, VERSION = NodeId("n"), VersionId("v")

DELETE_HERE = DeleteLocal(IN_STEP, ("f",), NODE, Kind.FILE, MARK)
DELETE_THERE = DeleteRemote(IN_STEP, ("f",), NODE, Kind.FILE, VERSION)
CHANGE_HERE = Download(IN_STEP, ("f",), NODE, VERSION, CONTENT, "", NODE, "f", MARK)
CHANGE_THERE = Upload(IN_STEP, ("f",), ("f",), CONTENT, MARK, NODE, NODE, VERSION)
NEW_HERE = Download(IN_STEP, ("f",), NODE, VERSION, CONTENT, "", NODE, "f")
NEW_THERE = Upload(IN_STEP, ("f",), ("f",), CONTENT, MARK, NODE)
FOLDERS = DeleteLocal(IN_STEP, ("d",), NODE, Kind.FOLDER, MARK)

LIMITS = Limits(share=0.5, few=20, always=1_000)


def verdict(action: Action, count: int, of: int) -> Held | Released:
    return hold(Plan((action,) * count, (), of), LIMITS)


@pytest.mark.parametrize("action", [DELETE_HERE, DELETE_THERE, CHANGE_HERE, CHANGE_THERE])
@pytest.mark.parametrize(
    ("count", "of", "held"),
    [
        (20, 20, False),  # few: a small folder may be emptied
        (21, 21, True),
        (21, 42, False),  # not more than half
        (22, 43, True),
        (1_000, 1_000_000, False),
        (1_001, 1_000_000, True),
    ],
)
def test_bounds(action: Action, count: int, of: int, held: bool) -> None:
    assert isinstance(verdict(action, count, of), Held) is held


@pytest.mark.parametrize("action", [NEW_HERE, NEW_THERE, FOLDERS])
def test_what_is_new_and_folders_are_not_counted(action: Action) -> None:
    assert verdict(action, 5_000, 10) == Released(Impact(0, 0, 0, 0))


def test_a_folder_counts_for_the_files_in_it() -> None:
    covers = (*((NodeId(str(number)), VERSION) for number in range(30)), (NodeId("sub"), None))
    folder = DeleteRemote(IN_STEP, ("d",), NODE, Kind.FOLDER, None, covers)
    held = hold(Plan((folder,), (), 40), LIMITS)
    assert isinstance(held, Held)
    assert held.impact.deleted_there == 30
    assert held.reasons == ("30 of 40 files would go to the server's trash, since they are gone here",)


def test_the_two_directions_are_not_added_up() -> None:
    plan = Plan((DELETE_HERE, DELETE_THERE, CHANGE_HERE, CHANGE_THERE) * 15, (), 60)
    assert hold(plan, LIMITS) == Released(Impact(15, 15, 15, 15))
