"""The audit log: what happened, line by line, where nothing can be changed or taken away."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class AuditLog(Protocol):
    async def prepare(self) -> None:
        """Make the place where it is kept; may be repeated. Raises Unavailable."""
        ...

    async def append(self, lines: Sequence[bytes], *, at: datetime) -> None:
        """Write lines, of no line end, behind all others of their hour; durable when this returns.

        All of them or none are written, except that a failure may be of the answer alone: who repeats may write them
        twice. Raises Unavailable.
        """
        ...

    async def close(self) -> None: ...
