"""Passwords by Argon2id, a bounded number at once.

Each hash costs about 19 MiB and 20 ms on purpose (the parameters are OWASP's first choice in its Password Storage
Cheat Sheet), so two hundred logins at once must queue, not run out of memory.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from shared.domain.errors import Busy

T = TypeVar("T")


class Argon2Passwords:
    """Implements the Passwords port: `threads` at once, `waiting` more in the queue, the rest are told to wait."""

    def __init__(self, *, threads: int = 2, waiting: int = 64) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._limit = threads + waiting
        self._running = 0
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        return await self._bounded(lambda: self._hasher.hash(_bytes(password)))

    async def matches(self, password: str, encoded: str | None) -> bool:
        return await self._bounded(lambda: self._verify(password, encoded))

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)

    def _verify(self, password: str, encoded: str | None) -> bool:
        if self._nobody is None:
            self._nobody = self._hasher.hash(b"the password of nobody")
        try:
            self._hasher.verify(encoded or self._nobody, _bytes(password))
        except VerifyMismatchError:
            return False
        return encoded is not None

    async def _bounded(self, work: Callable[[], T]) -> T:
        if self._running >= self._limit:
            raise Busy("too many people are signing in at this moment; please try again", retry_after=2)
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._running -= 1


def _bytes(password: str) -> bytes:
    # A lone surrogate can't be typed, but JSON can carry one; it counts as given, like every character.
    return password.encode(errors="surrogatepass")
