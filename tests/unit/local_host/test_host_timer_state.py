"""What a timer remembers: missed runs, changed schedules, broken files, and the lock."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tools.local.host.schedule import parse_schedule
from tools.local.host.timer_state import TimerStatus, claim, ran, read_status, resume, write_status

HOURLY = parse_schedule("0 0 * * * *")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_new_timer_has_missed_nothing() -> None:
    status, missed = resume(None, HOURLY, NOON + HOUR / 2)
    assert (status.last, status.due, missed) == (None, NOON + HOUR, False)


def test_a_run_that_came_due_while_nobody_watched_is_missed() -> None:
    stored = ran(HOURLY, NOON)
    assert resume(stored, HOURLY, NOON + HOUR / 2) == (stored, False)
    assert resume(stored, HOURLY, NOON + 5 * HOUR) == (stored, True)


def test_a_first_run_can_be_missed_too() -> None:
    stored, _ = resume(None, HOURLY, NOON + HOUR / 2)
    assert resume(stored, HOURLY, NOON + 3 * HOUR) == (stored, True)


def test_a_changed_schedule_is_not_past_due() -> None:
    stored = ran(HOURLY, NOON)
    daily = parse_schedule("0 0 0 * * *")
    status, missed = resume(stored, daily, NOON + 48 * HOUR + HOUR / 2)
    assert (status.due, missed) == (NOON + 60 * HOUR, False)
    status, missed = resume(stored, daily, NOON + HOUR)
    assert (status.due, missed) == (NOON + 12 * HOUR, False)


@pytest.mark.parametrize("last", [None, NOON])
def test_a_status_survives_its_file(tmp_path: Path, last: datetime | None) -> None:
    status = TimerStatus(last, NOON + HOUR, NOON)
    write_status(tmp_path / "timers" / "t.json", status)
    assert read_status(tmp_path / "timers" / "t.json") == status
    assert set(json.loads((tmp_path / "timers" / "t.json").read_text())) == {"Last", "Next", "LastUpdated"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"Last": 1, "Next": 2, "LastUpdated": 3}', "null", '{"Last": "2026-01-01T00"}'],
)
def test_a_broken_file_is_no_status(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    assert read_status(path) is None
    path.write_text(text)
    assert read_status(path) is None


def test_times_without_a_zone_are_no_status(tmp_path: Path) -> None:
    naive = NOON.replace(tzinfo=None).isoformat()
    (tmp_path / "t.json").write_text(json.dumps(dict.fromkeys(("Last", "Next", "LastUpdated"), naive)))
    assert read_status(tmp_path / "t.json") is None


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "timers" / "t.lock"
    with claim(path) as first, claim(path) as second:
        assert (first, second) == (True, False)
    with claim(path) as later:
        assert later
