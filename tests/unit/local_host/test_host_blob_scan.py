"""The scanner without storage: what it offers, what it remembers, and that neither grows without end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from azure.core.exceptions import ResourceNotFoundError, ServiceRequestError

from tools.local.host import blob_scan
from tools.local.host.blob_path import parse_blob_path
from tools.local.host.blob_receipts import BlobVersion
from tools.local.host.blob_scan import Again, Outcome, Scanner, Watch

LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


@dataclass
class Listed:
    name: str
    etag: str = '"1"'
    last_modified: datetime = LONG_AGO
    blob_type: str = "BlockBlob"


@dataclass
class Container:
    """Lists what it is given, three blobs a page."""

    blobs: list[Listed]
    container_name: str = "staging"
    prefixes: list[str | None] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    listed: int = 0

    def list_blobs(self, name_starts_with: str | None) -> object:
        self.prefixes.append(name_starts_with)
        return SimpleNamespace(by_page=self.pages)

    async def pages(self) -> AsyncIterator[AsyncIterator[Listed]]:
        self.listed += 1
        if self.errors:
            raise self.errors.pop(0)
        for start in range(0, len(self.blobs), 3):
            yield self.page(self.blobs[start : start + 3])

    async def page(self, blobs: list[Listed]) -> AsyncIterator[Listed]:
        for blob in blobs:
            yield blob


class Handler:
    """Answers with the next of the given outcomes, and with None after them."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = list(outcomes)
        self.seen: list[tuple[str, str]] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, watch: Watch, version: BlobVersion, values: Mapping[str, str]) -> Outcome:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.seen.append((version.name, version.etag))
        await asyncio.sleep(0)
        self.at_once -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def watch(path: str, name: str = "index") -> Watch:
    return Watch(SimpleNamespace(name=name), parse_blob_path(path), None)


def scanner(
    container: Container, handle: Handler, *paths: str, slots: int = 4, poll: float = 0.001
) -> Scanner:
    watches = tuple(watch(path, f"f{at}") for at, path in enumerate(paths or ("staging/{name}",)))
    return Scanner(container, watches, asyncio.Semaphore(slots), handle, poll)


async def passes(scanner: Scanner, count: int = 1) -> None:
    for _ in range(count):
        await scanner.make_pass()
        await asyncio.gather(*scanner.running)


async def test_each_version_is_offered_until_it_is_settled() -> None:
    container, handle = Container([Listed("a"), Listed("b")]), Handler(None, Again(0.0))
    subject = scanner(container, handle)
    await passes(subject, 4)
    assert handle.seen == [("a", "1"), ("b", "1"), ("b", "1")]
    container.blobs[0] = Listed("a", '"2"', datetime.now(UTC))
    await passes(subject, 3)
    assert handle.seen[3:] == [("a", "2")]


async def test_a_pause_is_kept() -> None:
    later = asyncio.get_running_loop().time() + 3600
    handle = Handler(Again(later))
    await passes(scanner(Container([Listed("a")]), handle), 5)
    assert len(handle.seen) == 1


async def test_only_what_matches_is_offered_and_listings_are_narrowed() -> None:
    container, handle = Container([Listed("in/a-1"), Listed("in/b-1"), Listed("in/c")]), Handler()
    await passes(scanner(container, handle, "staging/in/a-{n}", "staging/in/b-{n}"))
    assert [name for name, _ in handle.seen] == ["in/a-1", "in/b-1"]
    assert container.prefixes == ["in/"]


async def test_two_functions_get_a_blob_each() -> None:
    handle = Handler()
    await passes(scanner(Container([Listed("a")]), handle, "staging/{x}", "staging/{y}"), 2)
    assert handle.seen == [("a", "1")] * 2


async def test_no_more_at_once_than_there_are_slots() -> None:
    handle = Handler()
    await passes(scanner(Container([Listed(str(n)) for n in range(30)]), handle, slots=3))
    assert (len(handle.seen), handle.most_at_once) == (30, 3)


async def test_memory_is_bounded_and_old_blobs_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_scan, "REMEMBERED", 10)
    handle = Handler()
    container = Container([Listed(str(n)) for n in range(100)])
    subject = scanner(container, handle)
    await passes(subject)
    assert (len(handle.seen), subject.remembered) == (100, 10)
    await passes(subject, 5)
    assert len(handle.seen) == 100
    container.blobs[50] = Listed("50", '"2"', datetime.now(UTC))
    await passes(subject, 2)
    assert handle.seen.count(("50", "2")) == 1


async def test_a_failed_blob_is_not_forgotten_behind_newer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_scan, "REMEMBERED", 2)
    handle = Handler(Again(0.0), None, None, None, Again(0.0))
    subject = scanner(Container([Listed(name) for name in "abcd"]), handle, slots=1)
    await passes(subject, 4)
    assert [name for name, _ in handle.seen].count("a") >= 3


async def test_one_bad_blob_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    handle = Handler(ValueError("bad"), ServiceRequestError("away"))
    subject = scanner(Container([Listed("a"), Listed("b"), Listed("c")]), handle)
    await passes(subject, 3)
    assert [name for name, _ in handle.seen] == ["a", "b", "c"]
    assert subject.remembered == 3
    assert "index" not in caplog.text
    assert "ValueError: bad" in caplog.text


async def test_trouble_is_told_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "host.blob")
    errors = [ResourceNotFoundError("no")] * 3 + [ServiceRequestError("away")] * 3
    container = Container([Listed("a")], errors=errors)
    handle = Handler()
    task = asyncio.create_task(scanner(container, handle).scan())
    while not handle.seen:
        await asyncio.sleep(0.001)
    await blob_scan.end((task,), 0)
    assert container.listed >= 7
    assert [record.getMessage() for record in caplog.records] == [
        "container staging isn't there yet: waiting for it",
        "container staging is watched",
    ]
