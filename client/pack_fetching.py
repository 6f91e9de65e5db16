"""Many small versions at once: one question for their manifests, one read for what lies close together.

Small blocks share blobs. Read one by one they would cost a request each; so the ranges that are wanted of a blob are
merged where little lies between them. What goes wrong here is no failure yet: the version is read like any other,
with its own manifest and its own tries.
"""

from collections.abc import Iterator, Sequence

import msgspec

from client.api import Api
from client.block_fetching import STORED_AT_MOST, BlockReader, GrantEnded, VersionReader, check
from client.errors import CommandFailed, Corrupt
from client.wire import BlockPlace, Manifest
from shared.domain.blocks import Buffer

GAP = 64 * 1024
"""Bytes between two wanted ranges up to which reading them costs less than another request."""

GROUP_CONTENT = 4 * 1024 * 1024
"""Bytes of content that are fetched together at most, which a caller holds in memory."""

GROUP_FILES = 500


class _Run(msgspec.Struct):
    """A range of a blob, and the blocks in it as (version's position, block's position, place)."""

    url: str
    start: int
    stop: int
    blocks: list[tuple[int, int, BlockPlace]] = msgspec.field(default_factory=list)


def read_versions(
    api: Api, reader: BlockReader, wanted: Sequence[tuple[str, str]]
) -> list[VersionReader | CommandFailed]:
    """Readers for versions (file id, version id), with their bytes where those could be had together.

    Raises what every call raises; what concerns one version stands in its place.
    """
    answers = api.manifests(wanted)
    stored: list[dict[int, Buffer]] = [{} for _ in answers]
    for run in _runs(answers):
        try:
            content = memoryview(reader.read_range(run.url, run.start, run.stop - run.start))
        except (GrantEnded, Corrupt):
            continue
        for version, position, place in run.blocks:
            begin = place.offset - run.start
            stored[version][position] = content[begin : begin + place.stored_size]
    readers: list[VersionReader | CommandFailed] = []
    for answer, blocks in zip(answers, stored, strict=True):
        if isinstance(answer, Manifest):
            readers.append(VersionReader(api, reader, answer, blocks, checked=True))
        else:
            readers.append(answer)
    return readers


def _runs(answers: list[Manifest | CommandFailed]) -> Iterator[_Run]:
    places: list[tuple[str, int, int, int, BlockPlace]] = []
    for version, answer in enumerate(answers):
        if not isinstance(answer, Manifest):
            continue
        try:
            check(answer)
        except Corrupt as error:
            answers[version] = error
            continue
        places += [
            (place.url, place.offset, version, position, place)
            for position, place in enumerate(answer.blocks)
        ]
    places.sort(key=lambda one: one[:4])
    run: _Run | None = None
    for url, start, version, position, place in places:
        stop = start + place.stored_size
        fits = run is not None and run.url == url and start <= run.stop + GAP
        if run is None or not fits or max(stop, run.stop) - run.start > STORED_AT_MOST:
            if run:
                yield run
            run = _Run(url, start, stop)
        run.stop = max(run.stop, stop)
        run.blocks.append((version, position, place))
    if run:
        yield run
