"""An audit log in memory: the strict fake of the others. A test may look at `lines`."""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.errors import Unavailable


class MemoryAuditLog:
    """Implements the AuditLog port. While `away`, appending raises Unavailable."""

    def __init__(self) -> None:
        self.away = False
        self.lines: list[bytes] = []

    async def prepare(self) -> None:
        return None

    async def append(self, lines: Sequence[bytes], *, at: datetime) -> None:
        if self.away:
            raise Unavailable("the audit log is away")
        self.lines += lines

    async def close(self) -> None:
        return None
