"""Every pair of changes comes out as its row in the table says, and with a lossy rule in its place it doesn't."""

import pytest
from msgspec.structs import replace

from client.sync.rules import KNOWN, MEETINGS, Change, Meeting, Rule, Rules, Side
from tests.property.sync_pairs import FILES, FOLDERS, MET, play_file, play_folder, play_meeting

Pair = tuple[Change, Change]

AS_IT_IS = Rules()
EDITS = (Change.EDITED, Change.MOVED_EDITED)


@pytest.mark.parametrize("pair", FILES, ids=lambda pair: f"{pair[0]} here, {pair[1]} there")
def test_files(pair: Pair) -> None:
    tree, rules = play_file(pair, AS_IT_IS)
    assert tree == FILES[pair]
    expected = KNOWN[pair].name
    # What is in step gives no action, and what was edited on both sides may be told as what comes of it.
    assert expected in rules or expected == "in_step"


@pytest.mark.parametrize("pair", FOLDERS, ids=lambda pair: f"{pair[0]} here, {pair[1]} there")
def test_folders(pair: Pair) -> None:
    tree, _ = play_folder(pair, AS_IT_IS)
    assert tree == FOLDERS[pair]


@pytest.mark.parametrize("meeting", Meeting)
def test_meetings(meeting: Meeting) -> None:
    tree, _ = play_meeting(meeting, AS_IT_IS)
    assert tree == MET[meeting][2]


def test_no_pair_is_forgotten() -> None:
    every = {(here, there) for here in Change for there in Change}
    assert every == KNOWN.keys() == FILES.keys()
    assert FOLDERS.keys() == {pair for pair in every if not {*pair} & {*EDITS}}
    assert MET.keys() == MEETINGS.keys() == set(Meeting)


def _lossy(pair: Pair, rule: Rule) -> list[Rule]:
    """The same row, if one side's work were thrown away."""
    if rule.stays and Change.ABSENT in pair:
        return [replace(rule, stays=False)]
    if rule.content is Side.BOTH:
        return [replace(rule, content=Side.LOCAL), replace(rule, content=Side.REMOTE)]
    if pair[1] in EDITS:
        return [replace(rule, content=Side.LOCAL)]
    return [replace(rule, stays=False)] if pair[0] in EDITS else []


LOSSY = [(pair, lossy) for pair, rule in KNOWN.items() for lossy in _lossy(pair, rule)]


@pytest.mark.parametrize(
    ("pair", "lossy"),
    LOSSY,
    ids=[
        f"{pair[0]} here, {pair[1]} there, {lossy.content if lossy.stays else 'drop'}"
        for pair, lossy in LOSSY
    ],
)
def test_a_lossy_rule_is_noticed(pair: Pair, lossy: Rule) -> None:
    rules = Rules(known={**KNOWN, pair: lossy})
    with pytest.raises(AssertionError):
        tree, _ = play_file(pair, rules)
        assert tree == FILES[pair]


@pytest.mark.parametrize(
    "meeting", [meeting for meeting, rule in MEETINGS.items() if rule.content is Side.BOTH]
)
def test_a_lossy_meeting_is_noticed(meeting: Meeting) -> None:
    rules = Rules(meetings={**MEETINGS, meeting: replace(MEETINGS[meeting], content=Side.REMOTE)})
    with pytest.raises(AssertionError):
        tree, _ = play_meeting(meeting, rules)
        assert tree == MET[meeting][2]


def test_a_lossy_rule_about_moved_folders_is_noticed() -> None:
    pair = (Change.ABSENT, Change.MOVED)
    tree, _ = play_folder(pair, Rules(keep_with_moved_folder=False))
    assert tree != FOLDERS[pair]
