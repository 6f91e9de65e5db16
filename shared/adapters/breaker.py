"""A circuit breaker: what has failed is left alone for a while, so that nobody waits for it time and again.

    if breaker.admits():
        try: ...            # with a time-out
        except FAILURES as error: breaker.failed(error)
        else: breaker.succeeded()

After the rest one caller tries, and the others stay away until it has succeeded.
"""

import asyncio
import logging

_log = logging.getLogger(__name__)

REST = 5.0
"""Seconds for which a part is left alone after a failure."""


class Breaker:
    """For one part, named by `part` in the log, and one event loop."""

    def __init__(self, part: str, rest: float = REST) -> None:
        self._part, self._rest = part, rest
        self._broken = False
        self._until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether the part worked when it was last tried."""
        return not self._broken

    def admits(self) -> bool:
        """Whether to try now."""
        now = asyncio.get_running_loop().time()
        if not self._broken:
            return True
        if now < self._until:
            return False
        self._until = now + self._rest
        return True

    def succeeded(self) -> None:
        self._broken = False

    def failed(self, error: BaseException) -> None:
        self._broken = True
        self._until = asyncio.get_running_loop().time() + self._rest
        _log.warning("%s can't be reached, and is left alone for %.0f s: %r", self._part, self._rest, error)
