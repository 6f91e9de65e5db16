"""Finding new and changed blobs in one container, again and again.

A pass lists the container page by page and offers every version that isn't known to be settled. Three things keep a
large container cheap: what was modified before a moment up to which everything is settled is passed over by its time
alone; of the rest, the latest settled versions are remembered, a bounded number; and only what is in neither memory
costs a look at its receipt. Passes never take more than half of the time.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from tools.local.host.blob_binding import BlobArgument
from tools.local.host.blob_path import BlobPattern
from tools.local.host.blob_receipts import BlobVersion
from tools.local.host.loading import LoadedFunction

_log = logging.getLogger("host.blob")

POLL_EVERY = 0.5
"""Seconds between two passes: a blob is found within about a second."""

LONGEST_PAUSE = 10.0
REMEMBERED = 20_000
"""Versions kept in memory, about 5 MB; what falls out costs one request for its receipt."""

SAFE_AGE = timedelta(seconds=60)
# A blob's time is the storage server's; this much the two clocks may differ. A blob that was written while a pass
# went by has a time after the pass began.


@dataclass(frozen=True, slots=True)
class Watch:
    """One function and the blobs that it wants."""

    function: LoadedFunction
    pattern: BlobPattern
    argument: BlobArgument


@dataclass(frozen=True, slots=True)
class Again:
    """Not settled, but not to be tried before this time of the event loop."""

    not_before: float


Outcome = Again | None
"""None: the version is settled, it has been run, given up, or is gone."""

Handle = Callable[[Watch, BlobVersion, Mapping[str, str]], Awaitable[Outcome]]
_Key = tuple[str, str, str]


class Scanner:
    """Watches one container for its functions; `slots` bounds what runs at once, over all containers."""

    def __init__(
        self,
        container: ContainerClient,
        watches: tuple[Watch, ...],
        slots: asyncio.Semaphore,
        handle: Handle,
        poll_every: float = POLL_EVERY,
    ) -> None:
        self._container, self._watches, self._slots, self._handle = container, watches, slots, handle
        self._poll_every = poll_every
        self._prefix = _common([watch.pattern.prefix for watch in watches])
        self._known: OrderedDict[_Key, Outcome] = OrderedDict()
        self._running: dict[_Key, asyncio.Task[None]] = {}
        self._settled_before = datetime.min.replace(tzinfo=UTC)
        self._trouble: str | None = None

    @property
    def running(self) -> tuple[asyncio.Task[None], ...]:
        return tuple(self._running.values())

    @property
    def remembered(self) -> int:
        return len(self._known)

    async def scan(self) -> None:
        """Make passes until cancelled. What was begun goes on by itself, see `running`."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.make_pass()
            except ResourceNotFoundError:
                self._report(f"container {self._container.container_name} isn't there yet: waiting for it")
            except AzureError as error:
                self._report(f"storage doesn't answer ({type(error).__name__}): trying on")
            else:
                self._report(None)
            await asyncio.sleep(min(max(self._poll_every, loop.time() - began), LONGEST_PAUSE))

    async def make_pass(self) -> None:
        """List once and begin what is due. Raises AzureError when storage can't be asked."""
        settled_before = datetime.now(UTC) - SAFE_AGE
        pages = self._container.list_blobs(name_starts_with=self._prefix or None).by_page()
        async for page in pages:
            async for blob in page:
                if blob.last_modified < self._settled_before:
                    continue
                version = BlobVersion(
                    self._container.container_name,
                    blob.name,
                    str(blob.etag).strip('"'),
                    str(getattr(blob.blob_type, "value", blob.blob_type)),
                    blob.last_modified,
                )
                if not await self._offer(version):
                    settled_before = min(settled_before, version.modified)
        self._settled_before = settled_before

    async def _offer(self, version: BlobVersion) -> bool:
        """Begin what has to be done for a version; return whether nothing is left to do."""
        settled = True
        for watch in self._watches:
            values = watch.pattern.match(version.name)
            if values is None:
                continue
            key = (watch.function.name, version.name, version.etag)
            if key in self._known:
                again = self._known[key]
                if again is None:
                    continue
                settled = False
                if asyncio.get_running_loop().time() < again.not_before:
                    continue
            settled = False
            if key in self._running:
                continue
            await self._slots.acquire()
            task = asyncio.create_task(self._work(key, watch, version, values))
            self._running[key] = task
        return settled

    async def _work(self, key: _Key, watch: Watch, version: BlobVersion, values: Mapping[str, str]) -> None:
        try:
            outcome = await self._handle(watch, version, values)
        except AzureError as error:
            # Nothing is known about the version: the next pass offers it again.
            self._report(f"storage doesn't answer ({type(error).__name__}): trying on")
        except Exception:  # noqa: BLE001  # one blob must not stop the watching of all others
            _log.exception("%s: %s/%s", watch.function.name, version.container, version.name)
            self._remember(key, Again(asyncio.get_running_loop().time() + LONGEST_PAUSE))
        else:
            self._remember(key, outcome)
        finally:
            del self._running[key]
            self._slots.release()

    def _remember(self, key: _Key, outcome: Outcome) -> None:
        self._known[key] = outcome
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _report(self, trouble: str | None) -> None:
        """Say what is wrong once, not with every pass, and say when it is over."""
        if trouble is not None and self._trouble is None:
            _log.warning("%s", trouble)
        elif trouble is None and self._trouble is not None:
            _log.info("container %s is watched", self._container.container_name)
        self._trouble = trouble


def _common(prefixes: list[str]) -> str:
    """The longest text that all begin with."""
    # What the first and the last in order share, all between them share.
    first, last = min(prefixes), max(prefixes)
    length = next((at for at, letter in enumerate(first) if last[at : at + 1] != letter), len(first))
    return first[:length]


async def end(tasks: tuple[asyncio.Task[None], ...], seconds: float) -> None:
    """Wait for tasks, then cancel what is left of them; never raises for how they ended."""
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
