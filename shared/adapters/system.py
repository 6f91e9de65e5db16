"""The machine's clock and its source of chance."""

import secrets
from datetime import UTC, datetime


class SystemClock:
    """Implements the Clock port."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class RandomIds:
    """Implements the Ids port with the operating system's random numbers."""

    def new(self) -> str:
        return secrets.token_hex(16)
