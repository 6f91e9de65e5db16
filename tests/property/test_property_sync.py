"""Devices that work, lose the network and are killed at any step end equal, and no acknowledged edit is lost."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from client.sync.rules import KNOWN, MEETINGS, Change, Meeting, Rules, Side
from tests.property.sync_story import DEEDS, play, random_story

STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(DEEDS), st.integers(0, 9_999), st.integers(0, 9_999)
    ),
    max_size=60,
)  # fmt: skip

EXAMPLES = settings(
    max_examples=250,
    deadline=None,
    # What a story makes of its steps depends on the ones before; that some do nothing is no fault.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@EXAMPLES
@given(STEPS)
def test_two_devices(steps: list[tuple[int, str, int, int]]) -> None:
    play(steps, 2)


@EXAMPLES
@given(STEPS)
def test_three_devices(steps: list[tuple[int, str, int, int]]) -> None:
    play(steps, 3)


@pytest.mark.parametrize("devices", [2, 3])
def test_long_stories(devices: int) -> None:
    for seed in range(400):
        print(f"seed {seed}")
        play(random_story(seed, 25 if seed % 2 else 80), devices)


def _without(pair: tuple[Change, Change]) -> Rules:
    rule = KNOWN[pair]
    if Change.ABSENT in pair:
        lossy = replace(rule, stays=False)
    else:
        lossy = replace(rule, content=Side.REMOTE if pair[0] is Change.EDITED else Side.LOCAL)
    return Rules(known={**KNOWN, pair: lossy})


def _meeting_without(meeting: Meeting) -> Rules:
    return Rules(meetings={**MEETINGS, meeting: replace(MEETINGS[meeting], content=Side.REMOTE)})


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(_without((Change.EDITED, Change.EDITED)), id="edited on both"),
        pytest.param(_without((Change.EDITED, Change.ABSENT)), id="edited here, deleted there"),
        pytest.param(_without((Change.ABSENT, Change.EDITED)), id="deleted here, edited there"),
        pytest.param(
            _without((Change.ABSENT, Change.MOVED_EDITED)), id="deleted here, moved and edited there"
        ),
        pytest.param(
            _without((Change.EDITED, Change.MOVED_EDITED)), id="edited here, moved and edited there"
        ),
        pytest.param(_without((Change.SAME, Change.EDITED)), id="edited there"),
        pytest.param(_without((Change.MOVED, Change.EDITED)), id="moved here, edited there"),
        pytest.param(_meeting_without(Meeting.DIFFERENT), id="two new files in one place"),
        pytest.param(_meeting_without(Meeting.FOLDER_AND_FILE), id="a folder and a file in one place"),
        pytest.param(_meeting_without(Meeting.NAME_CLASH), id="names that clash"),
        pytest.param(Rules(keep_needed_folders=False), id="a deleted folder that gained something"),
    ],
)
def test_stories_notice_a_rule_that_is_taken_out(rules: Rules) -> None:
    """The stories are strong enough: with a lossy rule some of them ends badly."""
    with pytest.raises(AssertionError):
        for seed in range(400):
            play(random_story(seed, 60), 2 + seed % 2, rules)
