"""Jobs that must run in one place at a time, and where each of them stands.

A lease ends by the clock, so a job that stood still can wake up after another has taken over. Its fence, a number
that grows with every taking, tells them apart: what a job writes, it writes in a transaction that checks the fence.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class Jobs(Protocol):
    def take(self, job: str, *, now: datetime, until: datetime) -> int | None:
        """Take the lease and return its fence; None when somebody holds it."""
        ...

    def holds(self, job: str, fence: int) -> bool:
        """Whether this fence is still the newest; nobody can take the lease before this transaction ends."""
        ...

    def prolong(self, job: str, fence: int, *, until: datetime) -> bool:
        """Move the lease's end; False when it was lost before."""
        ...

    def cursor(self, job: str) -> str | None:
        """Where the last run stopped, None for the beginning; at most 128 ASCII characters."""
        ...

    def finish(self, job: str, fence: int, *, now: datetime, cursor: str | None) -> bool:
        """Give the lease back and note the success; False when it was lost before."""
        ...

    def last_successes(self) -> Mapping[str, datetime]: ...

    def forget_tokens(self, *, expired_before: datetime, limit: int) -> int:
        """Delete up to `limit` refresh tokens that expired before; returns how many."""
        ...

    def forget_replies(self, *, expired_before: datetime, limit: int) -> int:
        """Delete up to `limit` kept replies that expired before; returns how many."""
        ...
