"""Time and chance, as the use cases see them: handed in, so that a test can replay every run."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The time in UTC, with its zone. It may jump either way: safety must never depend on it."""
        ...


class Ids(Protocol):
    def new(self) -> str:
        """A fresh id: 32 lower-case hexadecimal digits that nobody can guess and nobody gets twice."""
        ...
