"""host.json as typed values: the ones that this host honours, with Microsoft's defaults for the rest.

A misspelt value in host.json is the kind of mistake that shows up only under load (a limit that never
was), so every mistake is collected and reported at once, each with its path. Keys that only Microsoft's host
understands (extension bundles, sampling) are left alone.

Source of names and defaults: Microsoft's "host.json reference for Azure Functions 2.x and later".
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.local.host.errors import HostError
from tools.local.host.retry import RetryPolicy, parse_retry_policy

DEFAULT_TIMEOUT = 30 * 60.0
"""Seconds that an invocation may take when host.json says nothing: the default of the Flex and Premium plans."""

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}
_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`extensions.http`. None for a limit means unbounded, which host.json spells -1."""

    route_prefix: str = "api"
    max_concurrent: int | None = None
    max_outstanding: int | None = None


def _default_parallel_blobs() -> int:
    return 8 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """`extensions.blobs`: how many blobs run at once over all functions, and how often one is tried.

    Names and defaults are those of `BlobsOptions`. `extensions.queues.maxDequeueCount` looks as if it were the number
    of tries, but the blob trigger stopped reading it with version 5 of the storage extension.
    """

    max_parallel: int = field(default_factory=_default_parallel_blobs)
    tries: int = 5


def _default_calls() -> int:
    return 16 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class ServiceBusSettings:
    """`extensions.serviceBus`, with the defaults of `ServiceBusOptions`; times in seconds.

    `calls` bounds invocations of one message each, per function; `sessions` the sessions that a function has at once.
    A session that is empty is let go of after `session_idle`. `renewal` is how long the lock of a message, or of a
    session's current one, is kept up while its function runs.
    """

    prefetch: int = 0
    calls: int = field(default_factory=_default_calls)
    sessions: int = 8
    session_idle: float = 60.0
    renewal: float = 300.0
    largest_batch: int = 1000
    smallest_batch: int = 1
    batch_wait: float = 30.0


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What this host takes from host.json. `timeout` is in seconds, None for no limit."""

    http: HttpSettings = HttpSettings()
    blobs: BlobSettings = field(default_factory=BlobSettings)
    service_bus: ServiceBusSettings = field(default_factory=ServiceBusSettings)
    timeout: float | None = DEFAULT_TIMEOUT
    retry: RetryPolicy | None = None
    log_level: int = logging.INFO


def read_host_json(path: Path) -> HostSettings:
    """Return the settings in the file; raises HostError with every mistake in it, or when it isn't there.

    Microsoft's host refuses to start without host.json, so a forgotten file is found here too.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise HostError(
            f"{path} is missing: a function app needs it, if only as {{'version': '2.0'}}"
        ) from None
    try:
        document = json.loads(text)
    except ValueError as error:
        raise HostError(f"{path} is not JSON: {error}") from None
    return parse_host_json(document, where=str(path))


def parse_host_json(document: object, *, where: str = "host.json") -> HostSettings:
    """Return the settings in an already decoded document; raises HostError listing all mistakes."""
    reader = _Reader()
    root = reader.mapping(document, "")
    if root.get("version") != "2.0":
        reader.mistakes.append('version must be "2.0"')
    extensions = reader.child(root, "extensions")
    http = reader.child(extensions, "http", "extensions.")
    blobs = reader.child(extensions, "blobs", "extensions.")
    usual = BlobSettings()
    logging_level = reader.child(reader.child(root, "logging"), "logLevel", "logging.")
    settings = HostSettings(
        http=HttpSettings(
            route_prefix=reader.text(http, "routePrefix", "extensions.http.", default="api").strip("/"),
            max_concurrent=reader.limit(http, "maxConcurrentRequests", "extensions.http."),
            max_outstanding=reader.limit(http, "maxOutstandingRequests", "extensions.http."),
        ),
        blobs=BlobSettings(
            max_parallel=reader.count(
                blobs, "maxDegreeOfParallelism", "extensions.blobs.", usual.max_parallel
            ),
            tries=reader.count(blobs, "poisonBlobThreshold", "extensions.blobs.", usual.tries),
        ),
        service_bus=_service_bus(reader, reader.child(extensions, "serviceBus", "extensions.")),
        timeout=reader.timeout(root),
        retry=reader.retry(root),
        log_level=reader.level(logging_level),
    )
    if reader.mistakes:
        raise HostError("\n".join(f"{where}: {mistake}" for mistake in reader.mistakes))
    return settings


def parse_timespan(text: str) -> float:
    """Return the seconds of a .NET time span, `[d.]hh:mm:ss[.fff]`; raises ValueError for anything else."""
    match = _TIMESPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time span like 00:05:00")
    days, hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 59:
        raise ValueError(f"{text!r} has a part out of range")
    whole = int(days or 0) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + int(seconds)
    return whole + float(fraction or 0)


def _service_bus(reader: "_Reader", given: Mapping[str, object]) -> ServiceBusSettings:
    path, usual = "extensions.serviceBus.", ServiceBusSettings()
    if given.get("autoCompleteMessages", True) is not True:
        # Outside of C# nothing can settle a message but the host, so that each would run until it is dead-lettered.
        reader.mistakes.append(f"{path}autoCompleteMessages must be true")
    if given.get("maxConcurrentCallsPerSession", 1) != 1:
        reader.mistakes.append(
            f"{path}maxConcurrentCallsPerSession must be 1: this host keeps a session's order"
        )
    settings = ServiceBusSettings(
        prefetch=reader.count(given, "prefetchCount", path, usual.prefetch, least=0),
        calls=reader.count(given, "maxConcurrentCalls", path, usual.calls),
        sessions=reader.count(given, "maxConcurrentSessions", path, usual.sessions),
        session_idle=reader.seconds(given, "sessionIdleTimeout", path, usual.session_idle),
        renewal=reader.seconds(given, "maxAutoLockRenewalDuration", path, usual.renewal),
        largest_batch=reader.count(given, "maxMessageBatchSize", path, usual.largest_batch),
        smallest_batch=reader.count(given, "minMessageBatchSize", path, usual.smallest_batch),
        batch_wait=reader.seconds(given, "maxBatchWaitTime", path, usual.batch_wait),
    )
    if settings.smallest_batch > settings.largest_batch:
        reader.mistakes.append(f"{path}minMessageBatchSize is more than maxMessageBatchSize")
    return settings


class _Reader:
    """Takes values out of the document and keeps a list of what was wrong with them."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def mapping(self, value: object, path: str) -> Mapping[str, object]:
        if isinstance(value, dict):
            return value
        self.mistakes.append(f"{path or 'the document'} must be an object")
        return {}

    def child(self, parent: Mapping[str, object], key: str, prefix: str = "") -> Mapping[str, object]:
        return self.mapping(parent[key], prefix + key) if key in parent else {}

    def text(self, parent: Mapping[str, object], key: str, prefix: str, *, default: str) -> str:
        value = parent.get(key, default)
        if isinstance(value, str):
            return value
        self.mistakes.append(f"{prefix}{key} must be a string")
        return default

    def limit(self, parent: Mapping[str, object], key: str, prefix: str) -> int | None:
        value = parent.get(key, -1)
        # bool is an int to Python, but `true` is no limit to anyone.
        if isinstance(value, bool) or not isinstance(value, int) or value < -1 or value == 0:
            self.mistakes.append(f"{prefix}{key} must be a whole number above 0, or -1 for no limit")
            return None
        return None if value == -1 else value

    def count(
        self, parent: Mapping[str, object], key: str, prefix: str, default: int, *, least: int = 1
    ) -> int:
        value = parent.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.mistakes.append(f"{prefix}{key} must be a whole number above {least - 1}")
            return default
        return value

    def seconds(self, parent: Mapping[str, object], key: str, prefix: str, default: float) -> float:
        if key not in parent:
            return default
        try:
            return parse_timespan(str(parent[key]))
        except ValueError as error:
            self.mistakes.append(f"{prefix}{key}: {error}")
            return default

    def timeout(self, root: Mapping[str, object]) -> float | None:
        value = root.get("functionTimeout")
        if value is None:
            return DEFAULT_TIMEOUT
        if value == "-1":
            return None
        try:
            seconds = parse_timespan(str(value))
        except ValueError as error:
            self.mistakes.append(f"functionTimeout: {error}")
            return None
        if seconds < 1:
            self.mistakes.append("functionTimeout must be at least one second")
        return seconds

    def retry(self, root: Mapping[str, object]) -> RetryPolicy | None:
        if "retry" not in root:
            return None
        try:
            return parse_retry_policy(self.mapping(root["retry"], "retry"), parse_timespan)
        except ValueError as error:
            self.mistakes.append(f"retry: {error}")
            return None

    def level(self, levels: Mapping[str, object]) -> int:
        name = levels.get("default", "Information")
        level = _LEVELS.get(str(name).lower())
        if level is None:
            self.mistakes.append(f"logging.logLevel.default: {name!r} is none of {', '.join(_LEVELS)}")
            return logging.INFO
        return level
