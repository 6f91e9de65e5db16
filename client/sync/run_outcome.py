"""What a run of a sync has come to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from client.errors import CommandFailed
    from client.sync.actions import Plan, Report
    from client.sync.trees import Names


class PassedOver(NamedTuple):
    """Something that isn't synced, and why, for people; `error` when somebody should do something about it."""

    path: "Names"
    reason: str
    error: "CommandFailed | None" = None


class Outcome:
    """Filled while the run goes on. `plan` is the first that was not empty; `held` says why nothing of it was done."""

    def __init__(self) -> None:
        self.settled = False
        self.plan: Plan | None = None
        self.held: tuple[str, ...] = ()
        self.rounds = 0
        self.entries = 0
        self.passed_over: list[PassedOver] = []
        self.reports: Sequence[Report] = ()


def shown_path(path: "Names") -> str:
    """A path for people and rows: bytes that are no text are spelled out."""
    return "/".join(path).encode("utf-8", "backslashreplace").decode()
