"""A cache within one process, as the strict fake of the others: it keeps to the same bounds."""

from shared.ports.cache import LARGEST


class MemoryCache:
    """Implements the Cache port; `entries` is what it holds, for a test to look at, lose or spoil."""

    def __init__(self, most: int = 1000) -> None:
        self.entries: dict[str, bytes] = {}
        self._most = most

    @property
    def is_there(self) -> bool:
        return True

    async def get(self, key: str) -> bytes | None:
        return self.entries.get(key)

    async def put(self, key: str, value: bytes) -> None:
        if len(value) > LARGEST:
            return
        self.entries.setdefault(key, value)
        while len(self.entries) > self._most:
            del self.entries[next(iter(self.entries))]

    async def close(self) -> None:
        return None
