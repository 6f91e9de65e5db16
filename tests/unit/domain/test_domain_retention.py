"""Thinning: what goes, what stays, and what never may go."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.blocks import root_hash
from shared.domain.errors import Unacceptable
from shared.domain.ids import VersionId
from shared.domain.retention import DEFAULT, Retention, Step, plan_thinning
from shared.domain.versions import Version
from tests.support.doubles import START as NOW

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)


def saved(*ages: timedelta) -> list[Version]:
    """A file's versions, saved so long before now, oldest first; the last is the head."""
    return [
        Version(VersionId(str(number)), number, 1, root_hash([]), NOW - age, NOW - age, number)
        for number, age in enumerate(sorted(ages, reverse=True), 1)
    ]


def thinned(
    versions: Sequence[Version],
    *,
    gone: frozenset[VersionId] = frozenset(),
    retention: Retention = DEFAULT,
    now: datetime = NOW,
) -> list[int]:
    head = versions[-1].id
    leaving = plan_thinning(versions, gone=gone, head=head, retention=retention, now=now)
    return [int(version) for version in leaving]


def test_the_first_day_is_kept_whole() -> None:
    assert thinned(saved(*(number * timedelta(minutes=1) for number in range(1440)))) == []


def test_one_an_hour_for_a_month() -> None:
    start = NOW.replace(minute=0, second=0, microsecond=0) - 5 * DAY
    ages = [NOW - (start + minutes * timedelta(minutes=1)) for minutes in (0, 10, 20, 70, 80, 200)]
    # Replaced at 10, 20, 70, 80, 200 minutes: two in the first hour, two in the second, one in the fourth.
    assert thinned(saved(*ages)) == [1, 3]


def test_one_a_day_for_a_year_and_one_a_week_for_ten() -> None:
    year = saved(*(100 * DAY + number * HOUR for number in range(24 * 10)))
    assert 24 * 10 - 1 - len(thinned(year)) in (10, 11)
    decade = saved(*(2000 * DAY + number * DAY for number in range(70)))
    assert 69 - len(thinned(decade)) in (10, 11)


def test_behind_the_horizon_all_but_the_head_go() -> None:
    assert thinned(saved(20 * 365 * DAY, 19 * 365 * DAY, 18 * 365 * DAY)) == [1, 2]


def test_the_only_version_of_an_old_file_stays() -> None:
    assert thinned(saved(50 * 365 * DAY)) == []


def test_what_was_current_until_a_minute_ago_is_a_minute_old() -> None:
    assert thinned(saved(20 * 365 * DAY, timedelta(minutes=1))) == []


def test_a_head_that_is_not_the_newest_stays() -> None:
    versions = saved(20 * 365 * DAY, 19 * 365 * DAY, 18 * 365 * DAY)
    leaving = plan_thinning(versions, gone=frozenset(), head=versions[0].id, retention=DEFAULT, now=NOW)
    assert leaving == [versions[1].id]


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Step(timedelta(0), HOUR),),
        (Step(DAY, HOUR), Step(DAY, HOUR)),
        (Step(2 * DAY, HOUR), Step(DAY, HOUR)),
        (Step(DAY, HOUR), Step(2 * DAY, timedelta(0))),
        (Step(DAY, -HOUR),),
    ],
)
def test_settings_that_make_no_sense(steps: tuple[Step, ...]) -> None:
    with pytest.raises(Unacceptable):
        Retention(steps)


AGES = st.lists(st.timedeltas(timedelta(0), 12 * 365 * DAY), min_size=1, max_size=60)


@given(AGES)
def test_the_head_and_the_young_never_go(ages: list[timedelta]) -> None:
    versions = saved(*ages)
    leaving = thinned(versions)
    assert len(versions) not in leaving
    for version, successor in pairwise(versions):
        if NOW - successor.created_at <= DAY:
            assert version.number not in leaving


@given(AGES)
def test_of_each_span_the_last_stays(ages: list[timedelta]) -> None:
    versions = saved(*ages)
    leaving = set(thinned(versions))
    for version, successor in pairwise(versions):
        span = DEFAULT.span_of(NOW - successor.created_at)
        if version.number in leaving and span is not None:
            assert any(
                other.number > version.number
                and abs(after.created_at - successor.created_at) <= span
                and other.number not in leaving
                for other, after in pairwise(versions)
            )


@given(AGES, st.lists(st.timedeltas(timedelta(0), 2000 * DAY), max_size=5))
def test_deciding_often_comes_to_the_same_as_deciding_once(
    ages: list[timedelta], waits: list[timedelta]
) -> None:
    versions = saved(*ages)
    end = NOW + sum(waits, timedelta(0))
    gone: set[int] = set()
    moment = NOW
    for wait in (timedelta(0), *waits):
        moment += wait
        known = frozenset(VersionId(str(number)) for number in gone)
        newly = thinned(versions, gone=known, now=moment)
        assert not gone & set(newly)
        gone |= set(newly)
    assert sorted(gone) == thinned(versions, now=end)
