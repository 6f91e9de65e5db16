"""Which old versions of a file may go: a pure function of settings and of what there is.

People look for what they had an hour ago by the minute, and for what they had last year by the month. So the older
versions are, the fewer are kept: all of the last hours, then one an hour, then one a day, then one a week, and none
behind the horizon.

    the first day       every version
    the first month     the last version of each hour that has one
    the first year      the last version of each day that has one
    older               the last version of each week that has one, up to the horizon

The head of a file never goes, whatever the settings: without it there would be a name and no file. Nor does any
version that is younger than what is kept whole. Deciding again, sooner or later, comes to the same end: what was
kept is still the last of its span.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from shared.domain.errors import Unacceptable
from shared.domain.ids import VersionId
from shared.domain.versions import Version

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Step:
    """Up to `age` before now, one version is kept of each `span`; a zero span keeps all of them."""

    age: timedelta
    span: timedelta


@dataclass(frozen=True, slots=True)
class Retention:
    """`steps` from the youngest age to the oldest; what is older than the last of them goes."""

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        """Raises Unacceptable unless there is a step, ages rise and spans never fall."""
        ages = [step.age for step in self.steps]
        spans = [step.span for step in self.steps]
        if not ages or ages[0] <= timedelta(0) or any(a >= b for a, b in pairwise(ages)):
            raise Unacceptable("retention needs steps whose ages rise")
        if spans[0] < timedelta(0) or spans != sorted(spans):
            raise Unacceptable("retention needs spans that don't fall with age")

    def span_of(self, age: timedelta) -> timedelta | None:
        """How far apart versions of this age are kept, None where none is."""
        return next((step.span for step in self.steps if age <= step.age), None)


DEFAULT = Retention(
    (
        Step(timedelta(days=1), timedelta(0)),
        Step(timedelta(days=30), timedelta(hours=1)),
        Step(timedelta(days=365), timedelta(days=1)),
        Step(timedelta(days=10 * 365), timedelta(weeks=1)),
    )
)
"""What people expect of backups: hours for a month, days for a year, weeks for ten."""


def plan_thinning(
    versions: Iterable[Version], *, gone: Set[VersionId], head: VersionId, retention: Retention, now: datetime
) -> list[VersionId]:
    """The versions of one file that go, oldest first.

    `versions` are all that the file ever had, those that are `gone` already among them: a version's age begins when
    it was *replaced*, so that what was current until a minute ago is a minute old, though it stood for a year.
    """
    ordered = sorted(versions, key=lambda version: version.number)
    number = {version.id: version.number for version in ordered}
    leaving: list[VersionId] = []
    last_of: dict[tuple[timedelta, int], VersionId] = {}
    for version, successor in pairwise(ordered):
        if version.id == head or version.id in gone:
            continue
        replaced_at = successor.created_at
        span = retention.span_of(now - replaced_at)
        if span is None:
            leaving.append(version.id)
        elif span:
            place = (span, (replaced_at - _EPOCH) // span)
            if place in last_of:
                leaving.append(last_of[place])
            last_of[place] = version.id
    return sorted(leaving, key=number.__getitem__)
