"""Keeping a record of every event: another reader of the same topic, that nobody had to be told of.

A line is JSON. Events come at least once, so a line may be there twice: `message_id` tells. What can't be read is
recorded as such, since a record with gaps would be none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from shared.domain.events import Unreadable, read_event
from shared.ports.audit_log import AuditLog
from shared.ports.event_bus import Letter
from shared.ports.system import Clock


@dataclass(frozen=True)
class AuditEvents:
    audit: AuditLog
    clock: Clock

    async def __call__(self, letters: Sequence[Letter]) -> None:
        """Record all of these; raises Unavailable, and then all of them may come again."""
        now = self.clock.now()
        lines = [msgspec.json.encode({"recorded_at": now, **_told(letter)}) for letter in letters]
        if lines:
            await self.audit.append(lines, at=now)


def _told(letter: Letter) -> dict[str, object]:
    try:
        event = read_event(letter.body)
    except Unreadable as why:
        kind = letter.properties.get("kind", "")[:40]
        return {
            "message_id": letter.message_id,
            "unreadable": why.reason,
            "kind": kind,
            "size": len(letter.body),
        }
    return {"message_id": letter.message_id, **msgspec.structs.asdict(event)}
