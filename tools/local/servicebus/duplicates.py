"""Duplicate detection: a message whose id was seen within the window counts as sent, and goes nowhere.

So a sender that doesn't know whether its message arrived may send it again. The ids are kept on disk as well, since
the doubt is greatest after a crash.
"""

from tools.local.servicebus.entities import Intake
from tools.local.servicebus.journal import Journal


class DuplicateWatch:
    """Of one queue or topic; without a window in its settings it remembers nothing."""

    def __init__(self, path: str, settings: Intake, journal: Journal) -> None:
        self.path, self.settings, self._journal = path, settings, journal
        self._seen: dict[str, int] = {}

    def remember(self, message_id: str, at: int) -> None:
        self._seen.pop(message_id, None)
        self._seen[message_id] = at

    def is_duplicate(self, message_id: str | None, now: int) -> bool:
        window = self.settings.duplicate_window
        if window is None or message_id is None:
            return False
        self._forget(now - int(window * 1000))
        if message_id in self._seen:
            return True
        self.remember(message_id, now)
        self._journal.seen(self.path, message_id, now)
        return False

    def _forget(self, before: int) -> None:
        # In the order of their times, since none is remembered twice.
        old: list[str] = []
        for message_id, at in self._seen.items():
            if at > before:
                break
            old.append(message_id)
        for message_id in old:
            del self._seen[message_id]
        if old:
            self._journal.forget(self.path, before)
