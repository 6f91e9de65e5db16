"""NCRONTAB and time spans: when they are due, and what is refused because Azure would refuse it."""

from datetime import UTC, datetime, timedelta

import pytest

from tools.local.host.schedule import Interval, is_frequent, parse_schedule

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


def due(expression: str, start: datetime = NEW_YEAR, count: int = 3) -> list[str]:
    schedule, moments = parse_schedule(expression), []
    for _ in range(count):
        start = schedule.after(start)
        moments.append(f"{start:%m-%d %H:%M:%S}")
    return moments


@pytest.mark.parametrize(
    ("expression", "moments"),
    [
        ("*/20 * * * * *", ["01-01 00:00:20", "01-01 00:00:40", "01-01 00:01:00"]),
        ("0 */5 * * * *", ["01-01 00:05:00", "01-01 00:10:00", "01-01 00:15:00"]),
        ("0 0 * * * *", ["01-01 01:00:00", "01-01 02:00:00", "01-01 03:00:00"]),
        ("30 9 * * 1-5", ["01-01 09:30:00", "01-02 09:30:00", "01-05 09:30:00"]),
        ("0 30 9 * Jan Mon", ["01-05 09:30:00", "01-12 09:30:00", "01-19 09:30:00"]),
        ("0 5/25 0 * * *", ["01-01 00:05:00", "01-01 00:30:00", "01-01 00:55:00"]),
        ("0 0 0 * February Sunday", ["02-01 00:00:00", "02-08 00:00:00", "02-15 00:00:00"]),
        ("5,10-12 0 0 1 1 *", ["01-01 00:00:05", "01-01 00:00:10", "01-01 00:00:11"]),
        ("00:00:10", ["01-01 00:00:10", "01-01 00:00:20", "01-01 00:00:30"]),
        ("1.00:00:00", ["01-02 00:00:00", "01-03 00:00:00", "01-04 00:00:00"]),
    ],
)
def test_due_moments(expression: str, moments: list[str]) -> None:
    assert due(expression) == moments


def test_both_kinds_of_days_must_match() -> None:
    # Everybody else's cron would run on each 13th and on each Friday.
    assert due("0 0 0 13 * Fri") == ["02-13 00:00:00", "03-13 00:00:00", "11-13 00:00:00"]


def test_a_moment_is_never_due_twice() -> None:
    schedule = parse_schedule("0 * * * * *")
    first = schedule.after(NEW_YEAR - timedelta(microseconds=1))
    assert (first, schedule.after(first)) == (NEW_YEAR, NEW_YEAR + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "neither five nor six"),
        ("* * * *", "neither five nor six"),
        ("* * * * * * *", "neither five nor six"),
        ("@hourly", "time span"),
        ("24:00:00", "range"),
        ("00:00:00", "can't be 0"),
        ("60 * * * * *", "not from 0 to 59"),
        ("0 0 0 * * 7", "not from 0 to 6"),
        ("0 0 0 0 * *", "not from 1 to 31"),
        ("0 0 0 L * *", "no number and no name"),
        ("0 0 0 * * Mon#1", "not NCRONTAB"),
        ("0 0 0 ? * *", "not NCRONTAB"),
        ("0 0 0 * Ju *", "no number and no name"),
        ("0 */0 * * * *", "can't be 0"),
        ("0 0 20-8 * * *", "backwards"),
        ("0 0 *-5 * * *", "not NCRONTAB"),
        ("0 0 1,,2 * * *", "not NCRONTAB"),
        ("-1 * * * * *", "not NCRONTAB"),
        ("0 0 0 31 2 *", "never due"),
    ],
)
def test_what_azure_would_not_take(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_schedule(expression)


@pytest.mark.parametrize(
    ("expression", "frequent"),
    [
        ("*/30 * * * * *", True),
        ("0 * * * * *", False),
        ("0,1 0 0 * * *", True),
        ("00:00:59", True),
        ("00:01:00", False),
    ],
)
def test_what_is_too_frequent_to_be_monitored(expression: str, frequent: bool) -> None:
    just_before = NEW_YEAR - timedelta(seconds=0.5)
    assert is_frequent(parse_schedule(expression), just_before) is frequent


def test_a_span_counts_from_any_moment() -> None:
    assert Interval(timedelta(seconds=7)).after(NEW_YEAR) == NEW_YEAR + timedelta(seconds=7)
