"""When a timer is due: NCRONTAB expressions and time spans, in UTC.

NCRONTAB is the cron of Azure Functions. It looks like everybody's cron and differs where it hurts: a field for
seconds comes first (with five fields the second is 0), days of the month and days of the week must *both* match,
Sunday is 0 and never 7, and `L`, `#` and `@hourly` don't exist. What isn't NCRONTAB is refused here, so that an
expression that runs on this machine also runs in Azure. croniter computes the moments.

A time span, `00:05:00`, is the pause from the start of one run to the start of the next. In .NET `24:00:00` means
24 days; hours above 23 are refused for that reason.

Sources: "Timer trigger for Azure Functions", and `CrontabSchedule` of github.com/atifaziz/NCrontab.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from croniter import croniter

from tools.local.host.hostjson import parse_timespan

# fmt: off
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
# fmt: on


@dataclass(frozen=True, slots=True)
class _Field:
    label: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", re.ASCII)


class Schedule(Protocol):
    """Answers one question."""

    def after(self, moment: datetime) -> datetime:
        """Return the first due moment later than the given one; both aware, in UTC."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Six fields, checked and in numbers."""

    expression: str

    def after(self, moment: datetime) -> datetime:
        due = croniter(self.expression, moment, second_at_beginning=True, day_or=False).get_next(datetime)
        if not isinstance(due, datetime):
            raise TypeError("croniter was asked for a datetime")
        return due


@dataclass(frozen=True, slots=True)
class Interval:
    """A fixed distance between the starts of two runs."""

    period: timedelta

    def after(self, moment: datetime) -> datetime:
        return moment + self.period


def parse_schedule(text: str) -> Schedule:
    """Read an NCRONTAB expression of five or six fields, or a time span; raises ValueError saying what is wrong."""
    fields = text.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) == 6:
        cron = Cron(" ".join(_translate(field, rule) for field, rule in zip(fields, _FIELDS, strict=True)))
        try:
            cron.after(datetime.now(UTC))
        except ValueError:
            raise ValueError(f"schedule {text!r} is never due") from None
        return cron
    if len(fields) != 1:
        raise ValueError(f"schedule {text!r} has neither five nor six fields and is no time span")
    try:
        seconds = parse_timespan(text)
    except ValueError as error:
        raise ValueError(f"schedule {text!r}: {error}") from None
    if seconds <= 0:
        raise ValueError(f"schedule {text!r}: the time between two runs can't be 0")
    return Interval(timedelta(seconds=seconds))


def is_frequent(schedule: Schedule, now: datetime) -> bool:
    """Whether it is due more often than once a minute, by the measure of Microsoft's `TimerSchedule.Create`.

    That is: a span below a minute, or an expression with two moments within the next 60 seconds.
    """
    if isinstance(schedule, Interval):
        return schedule.period < timedelta(minutes=1)
    return schedule.after(schedule.after(now)) <= now + timedelta(minutes=1)


def _translate(field: str, rule: _Field) -> str:
    """Return the field with numbers for names, or raise ValueError."""
    return ",".join(_translate_part(part, rule) for part in field.split(","))


def _translate_part(part: str, rule: _Field) -> str:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"{rule.label}: {part!r} is not NCRONTAB")
    first, last, step = match.groups()
    if step is not None and int(step) == 0:
        raise ValueError(f"{rule.label}: a step can't be 0")
    if first == "*":
        if last is not None:
            raise ValueError(f"{rule.label}: {part!r} is not NCRONTAB")
        return part
    start = _number(first, rule)
    # `5/15` runs to the end of the field; croniter wants the end written down.
    end = rule.most if last is None and step is not None else start if last is None else _number(last, rule)
    if end < start:
        raise ValueError(f"{rule.label}: {part!r} runs backwards")
    return f"{start}-{end}" + (f"/{step}" if step else "") if end != start else str(start)


def _number(text: str, rule: _Field) -> int:
    if text.isdecimal():
        value = int(text)
    else:
        # NCrontab takes any beginning of a name; three letters are the shortest that every name can do with.
        matches = [
            at for at, name in enumerate(rule.names) if name.startswith(text.lower()) and len(text) >= 3
        ]
        if len(matches) != 1:
            raise ValueError(f"{rule.label}: {text!r} is no number and no name")
        value = matches[0] + rule.least
    if not rule.least <= value <= rule.most:
        raise ValueError(f"{rule.label}: {value} is not from {rule.least} to {rule.most}")
    return value
