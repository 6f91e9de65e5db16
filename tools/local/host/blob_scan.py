"""Finding new and changed blobs in one container, again and again.

A pass lists the container page by page and offers every version that isn't known to be settled. Three things keep a
large container cheap: what was modified before a moment up to which everything is settled is passed over by its time
alone; of the rest, the latest settled versions are remembered, a bounded number; and only what is in neither memory
costs a look at its receipt. Listing never takes more than half of the time.
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
AFTER_TROUBLE = 1.0
"""Seconds before a version is offered again when storage failed while it was being handled."""

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


_NEVER, _ALWAYS = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_UNKNOWN = Again(0.0)

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
        self._running: dict[_Key, tuple[asyncio.Task[None], datetime]] = {}
        self._settled_before = _NEVER
        self._oldest_open = _ALWAYS
        self._waited = 0.0
        name = container.container_name
        self._listing = Trouble(over=f"container {name} is watched")
        self._working = Trouble(over=f"blobs of {name} are run again")

    @property
    def running(self) -> tuple[asyncio.Task[None], ...]:
        return tuple(task for task, _ in self._running.values())

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
                self._listing.begins(
                    f"container {self._container.container_name} isn't there yet: waiting for it"
                )
            except AzureError as error:
                self._listing.begins(f"storage doesn't answer ({type(error).__name__}): trying on")
            else:
                self._listing.ends()
            # What was waited for slots was the functions' time, not the listing's.
            listing = loop.time() - began - self._waited
            await asyncio.sleep(min(max(self._poll_every, listing), LONGEST_PAUSE))

    async def make_pass(self) -> None:
        """List once and begin what is due. Raises AzureError when storage can't be asked."""
        began = datetime.now(UTC)
        self._waited = 0.0
        self._oldest_open = _ALWAYS
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
                await self._offer(version)
        if len(self._known) >= REMEMBERED and self._running:
            # The time has to take over where memory ends, and it can't pass what hasn't ended.
            await asyncio.wait(self.running, timeout=AFTER_TROUBLE)
        for _, modified in self._running.values():
            self._stays_open(modified)
        self._settled_before = min(began - SAFE_AGE, self._oldest_open)

    async def _offer(self, version: BlobVersion) -> None:
        """Begin what has to be done for a version, once there is a slot for it."""
        for watch in self._watches:
            values = watch.pattern.match(version.name)
            if values is None:
                continue
            key = (watch.function.name, version.name, version.etag)
            if key in self._known:
                again = self._known[key]
                if again is None:
                    continue
                if asyncio.get_running_loop().time() < again.not_before:
                    self._stays_open(version.modified)
                    continue
            if key in self._running:
                continue
            asked = asyncio.get_running_loop().time()
            await self._slots.acquire()
            self._waited += asyncio.get_running_loop().time() - asked
            task = asyncio.create_task(self._work(key, watch, version, values))
            self._running[key] = (task, version.modified)

    def _stays_open(self, modified: datetime) -> None:
        """The next pass must not pass over what was modified then."""
        self._oldest_open = min(self._oldest_open, modified)

    async def _work(self, key: _Key, watch: Watch, version: BlobVersion, values: Mapping[str, str]) -> None:
        try:
            outcome = await self._handle(watch, version, values)
        except AzureError as error:
            # Nothing is known about the version: it is offered again.
            self._working.begins(f"{watch.function.name}: storage failed ({type(error).__name__}): trying on")
            self._remember(key, Again(asyncio.get_running_loop().time() + AFTER_TROUBLE))
        except Exception:  # noqa: BLE001  # one blob must not stop the watching of all others
            _log.exception("%s: %s/%s", watch.function.name, version.container, version.name)
            self._remember(key, Again(asyncio.get_running_loop().time() + LONGEST_PAUSE))
        else:
            self._working.ends()
            self._remember(key, outcome)
        finally:
            if self._known.get(key, _UNKNOWN) is not None:
                self._stays_open(version.modified)
            del self._running[key]
            self._slots.release()

    def _remember(self, key: _Key, outcome: Outcome) -> None:
        self._known[key] = outcome
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


class Trouble:
    """Says what is wrong once, not with every pass, and says when it is `over`."""

    def __init__(self, over: str) -> None:
        self._over = over
        self._going_on = False

    def begins(self, text: str) -> None:
        if not self._going_on:
            _log.warning("%s", text)
        self._going_on = True

    def ends(self) -> None:
        if self._going_on:
            _log.info("%s", self._over)
        self._going_on = False


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
