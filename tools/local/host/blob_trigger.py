"""Blobs: run a function for each new version of each blob that its path matches.

    listing ──scan──> version ──receipt?──> argument ──> invocation ──> receipt
                                                 │  failed: pause, try again, at last a poison message
                                                 └─ deleted or changed meanwhile: passed over

It behaves as Microsoft's trigger with the source LogsAndContainerScan: at least once per ETag, five tries, one
message to the poison queue. The source EventGrid is treated alike, since nothing sends events on one machine. Retry
policies don't apply to blobs, in Azure neither: the tries are counted by blob.

What is different: pauses between tries grow from a quarter of a second (Microsoft's queue has none by default), and
two hosts over one account may both run a version, since no lease is taken on receipts.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from azure.storage.blob.aio import BlobServiceClient, ContainerClient, LinearRetry

from tools.local.host.blob_binding import BlobGone, BlobUnbound, blob_argument
from tools.local.host.blob_path import parse_blob_path
from tools.local.host.blob_poison import send_poison
from tools.local.host.blob_receipts import BlobVersion, Receipt, Receipts
from tools.local.host.blob_scan import Again, Outcome, Scanner, Watch, end
from tools.local.host.errors import HostError
from tools.local.host.invocation import InvocationFailed
from tools.local.host.loading import LoadedFunction
from tools.local.host.placeholders import DEFAULT_CONNECTION, connection_string, resolve
from tools.local.host.triggers import Parts, refuse_other_bindings

_log = logging.getLogger("host.blob")

FIRST_PAUSE = 0.25
"""Seconds before the second try; each further pause is twice as long."""


@dataclass(frozen=True, slots=True)
class Source:
    """A container of an account."""

    connection: str
    container: str


class BlobTrigger:
    """Watches the containers of all blob functions of an app."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._slots = asyncio.Semaphore(parts.settings.blobs.max_parallel)
        self._watches: dict[Source, list[Watch]] = {}
        for function in parts.functions:
            source, watch = _watch(function, parts)
            self._watches.setdefault(source, []).append(watch)
        self._memory = _memory(parts) if self._watches else ""
        self._clients = AsyncExitStack()
        self._containers: dict[Source, ContainerClient] = {}
        self._scanners: list[Scanner] = []
        self._scans: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if not self._watches:
            return
        receipts = Receipts(await self._service(self._memory), self._parts.host_id)
        for source, watches in self._watches.items():
            service = await self._service(source.connection)
            container = self._containers[source] = service.get_container_client(source.container)
            awake = tuple(watch for watch in watches if not watch.function.disabled)
            for watch in watches:
                _announce(watch)
            if awake:
                handle = _Handling(self._parts, source.connection, container, receipts)
                self._scanners.append(Scanner(container, awake, self._slots, handle))
        for scanner in self._scanners:
            self._scans.append(asyncio.create_task(scanner.scan(), name="blob scan"))

    async def stop(self) -> None:
        await end(tuple(self._scans), 0)
        running = tuple(task for scanner in self._scanners for task in scanner.running)
        await end(running, self._parts.grace)
        self._scans.clear()
        self._scanners.clear()
        await self._clients.aclose()

    async def run_now(self, function: LoadedFunction, text: str) -> None:
        """Run the function for the blob `container/name`, whatever its receipts say, and write none."""
        for source, watches in self._watches.items():
            for watch in watches:
                if watch.function.name == function.name:
                    await self._run_now(watch, self._containers[source], text)

    async def _run_now(self, watch: Watch, container: ContainerClient, text: str) -> None:
        named, _, name = text.strip("/").partition("/")
        values = watch.pattern.match(name)
        if named != container.container_name or values is None:
            _log.error("%s: %r is not a blob of its path", watch.function.name, text)
            return
        try:
            arguments = await watch.argument.make(container, name, values, None)
            await self._parts.invoker.invoke(watch.function, arguments)
        except BlobGone as gone:
            _log.error("%s: %s", watch.function.name, gone)
        except InvocationFailed:
            # Logged by the invoker; whoever asked for the run reads it there.
            return

    async def _service(self, connection: str) -> BlobServiceClient:
        # One retry, for a connection that the server has just closed; beyond that, the next pass is one.
        policy = LinearRetry(backoff=1, retry_total=1, random_jitter_range=0)
        try:
            client = BlobServiceClient.from_connection_string(
                connection, retry_policy=policy, connection_timeout=5
            )
        except ValueError as error:
            # The SDK's words say what is missing and never quote the string, which holds a key.
            raise HostError(f"a connection string for blobs can't be used: {error}") from None
        return await self._clients.enter_async_context(client)


class _Handling:
    """What is done with one version of a blob of one container."""

    def __init__(self, parts: Parts, connection: str, container: ContainerClient, receipts: Receipts) -> None:
        self._parts, self._connection = parts, connection
        self._container, self._receipts = container, receipts

    async def __call__(self, watch: Watch, version: BlobVersion, values: Mapping[str, str]) -> Outcome:
        function, most = watch.function, self._parts.settings.blobs.tries
        receipt = await self._receipts.read(function.name, version) or Receipt(completed=False, tries=0)
        if receipt.completed:
            return None
        tries = receipt.tries
        if tries < most:
            try:
                arguments = await watch.argument.make(self._container, version.name, values, version.etag)
            except BlobGone as gone:
                _log.info("%s: passed over: %s", function.name, gone)
                return None
            except BlobUnbound:
                tries += 1
                _log.exception("%s: try %d of %d failed", function.name, tries, most)
                return await self._after_failure(function, version, tries)
            try:
                await self._parts.invoker.invoke(function, arguments)
            except InvocationFailed:
                tries += 1
                _log.warning(
                    "%s: try %d of %d failed for %s/%s",
                    function.name,
                    tries,
                    most,
                    version.container,
                    version.name,
                )
            else:
                await self._receipts.write(function.name, version, Receipt(completed=True, tries=tries))
                return None
        return await self._after_failure(function, version, tries)

    async def _after_failure(self, function: LoadedFunction, version: BlobVersion, tries: int) -> Outcome:
        if tries < self._parts.settings.blobs.tries:
            await self._receipts.write(function.name, version, Receipt(completed=False, tries=tries))
            return Again(asyncio.get_running_loop().time() + FIRST_PAUSE * 2 ** (tries - 1))
        # First written as failed for the last time: if the message can't be sent, only that is tried again.
        await self._receipts.write(function.name, version, Receipt(completed=False, tries=tries))
        await send_poison(self._connection, function.name, version)
        await self._receipts.write(function.name, version, Receipt(completed=True, tries=tries))
        _log.error("%s: gave up %s/%s: poison", function.name, version.container, version.name)
        return None


def _watch(function: LoadedFunction, parts: Parts) -> tuple[Source, Watch]:
    refuse_other_bindings(function)
    settings, name = function.trigger.settings, function.name
    path = resolve(str(settings.get("path") or ""), parts.environment, name)
    setting = resolve(str(settings.get("connection") or DEFAULT_CONNECTION), parts.environment, name)
    try:
        pattern = parse_blob_path(path)
    except ValueError as error:
        raise HostError(f"{name}: {error}") from None
    if _source(function) not in ("eventgrid", "logsandcontainerscan"):
        raise HostError(f"{name}: the source {settings['source']!r} is not EventGrid or LogsAndContainerScan")
    source = Source(connection_string(setting, parts.environment, name), pattern.container)
    return source, Watch(function, pattern, blob_argument(function, setting))


def _source(function: LoadedFunction) -> str:
    """The source without case and underscores: an enum member arrives as EVENT_GRID, text as EventGrid."""
    return str(function.trigger.settings.get("source") or "LogsAndContainerScan").replace("_", "").lower()


def _memory(parts: Parts) -> str:
    """Where receipts go: the host's own account, else that of the first function."""
    if parts.environment.get(DEFAULT_CONNECTION):
        return parts.environment[DEFAULT_CONNECTION]
    first = parts.functions[0]
    return connection_string(
        str(first.trigger.settings.get("connection") or DEFAULT_CONNECTION), parts.environment, first.name
    )


def _announce(watch: Watch) -> None:
    function = watch.function
    if function.disabled:
        _log.info("blob function %s is disabled", function.name)
        return
    _log.info("%s watches the container %s", function.name, watch.pattern.container)
    if _source(function) == "eventgrid":
        _log.info("%s asks for Event Grid, which isn't here: its container is listed instead", function.name)
