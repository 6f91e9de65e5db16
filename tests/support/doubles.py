"""Time, chance and passwords that a test has in its hands."""

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


class FixedClock:
    """Stands still until it is told otherwise."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by


class CountedIds:
    """The same ids in each run, in no order; `word` keeps those of two sources apart."""

    def __init__(self, word: str = "ids") -> None:
        self._word, self._numbers = word, count()

    def new(self) -> str:
        return hashlib.sha256(f"{self._word}:{next(self._numbers)}".encode()).hexdigest()[:32]


class PlainPasswords:
    """Hashes at no cost; `work` counts what would have been costly."""

    def __init__(self) -> None:
        self.work: list[str] = []

    async def hash(self, password: str) -> str:
        self.work.append("hash")
        return _digest(password)

    async def matches(self, password: str, encoded: str | None) -> bool:
        self.work.append("matches")
        return encoded is not None and encoded == _digest(password)


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode(errors="surrogatepass")).hexdigest()
