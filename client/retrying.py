"""When a call is tried again, and after how long.

A server that restarts is away for a second or two, one that is overloaded says for how long to stay away. Many
clients that all come back after the same pause overload it again, so each waits a random part of it ("full
jitter"; M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

WORTH_ANOTHER_TRY = frozenset({429, 502, 503, 504})
"""Answers of the API that may be different next time. A 500 is a mistake, which stays one."""

WORTH_ANOTHER_READ = WORTH_ANOTHER_TRY | {408, 500}
"""The same for the storage behind a block's URL: Azure answers 500 when a read runs into its own time limit."""

LONGEST_REQUESTED_WAIT = 60.0
"""Seconds. A server that asks for more is reported as away: nobody watches a still command for longer."""


def chance() -> float:
    """A number from 0 to 1. What makes it is loaded when something has failed."""
    import random

    return random.random()  # noqa: S311 - nobody gains by guessing a pause


class Patience(msgspec.Struct, frozen=True):
    """How often a call is made in all, and the pauses between, in seconds."""

    tries: int = 6
    first_pause: float = 0.25
    longest_pause: float = 8.0
    jitter: Callable[[], float] = chance

    def pause(self, failures: int, retry_after: float | None) -> float | None:
        """Seconds to wait after the given number of failures (from 1), None for giving up."""
        if failures >= self.tries or (retry_after is not None and retry_after > LONGEST_REQUESTED_WAIT):
            return None
        backoff: float = min(self.longest_pause, self.first_pause * 2 ** (failures - 1)) * self.jitter()
        return backoff if retry_after is None else retry_after + backoff * 0.1


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for (a number, or a date: RFC 9110, 10.2.3), None for nonsense."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    import email.utils  # mostly there is no date, and it takes a tenth of a short command

    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:  # "-0000" says UTC too, and is parsed as no zone at all
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
