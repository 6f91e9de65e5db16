"""The pipeline behind `strata up`, without the command around it."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event, Lock, Thread
from typing import cast

import pytest

from client.api import Api
from client.batches import Packed
from client.block_claims import BLOCK_COST, Claim, Claims
from client.block_putting import BlockPutter
from client.block_sending import BlockSender
from client.connection import logged_in
from client.crew import Crew
from client.errors import CommandFailed
from client.gateway_sending import GatewayRoute
from client.http import Http
from client.place import Place
from client.reading import Reading
from client.remote_paths import parse_remote
from client.report import Report
from client.sending import Sender
from client.sources import walk
from shared.domain.blocks import BlockRef, Sha256, hash_of
from tests.unit.client.fake_server import FakeServer
from tests.unit.client.fake_staging import Verdict
from tests.unit.client.running import MIB, Command, noise


class Shelf:
    """As much of the API as blocks need."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.blocks: dict[str, bytes] = {}
        self.most_asked = 0

    def check_blocks(self, hashes: Sequence[Sha256]) -> frozenset[str]:
        self.most_asked = max(self.most_asked, len(hashes))
        with self.lock:
            return frozenset(hashes) - self.blocks.keys()

    def upload_block(self, sha256: Sha256, body: bytes, *, compressed: bool) -> None:
        assert hash_of(body) == sha256
        with self.lock:
            assert sha256 not in self.blocks, "sent twice"
            self.blocks[sha256] = body

    def upload_blocks(self, blocks: Sequence[Packed]) -> int:
        for block in blocks:
            self.upload_block(block.sha256, bytes(block.body), compressed=block.compressed)
        return sum(len(block.body) for block in blocks)


def send_blocks(shelf: Shelf, contents: list[bytes], *, room: int) -> list[CommandFailed | None]:
    """Offer blocks from a thread, so that one which waits forever is a failure and not a hang."""
    settled: list[CommandFailed | None] = []

    def offer() -> None:
        with Crew(3, room=room, stop=Event()) as crew:
            api, claims = cast(Api, shelf), Claims(crew)
            route = GatewayRoute(api, crew, claims, compressing=False, on_sent=lambda size: None)
            sender = BlockSender(api, crew, claims, route)
            for content in contents:
                sender.offer(BlockRef(hash_of(content), len(content)), content, Claim(settled.append))
            sender.flush()
            crew.drain()

    thread = Thread(target=offer, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it waits forever"
    return settled


def test_blocks_that_wait_for_company_make_room_when_it_runs_out() -> None:
    shelf = Shelf()
    contents = [b"%d" % number for number in range(20)]
    assert send_blocks(shelf, contents, room=2 * BLOCK_COST + 10) == [None] * 20
    assert sorted(shelf.blocks.values()) == sorted(contents)


def test_questions_stay_below_the_limit_and_every_block_settles() -> None:
    shelf = Shelf()
    contents = [b"%d" % (number % 2500) for number in range(5000)]
    assert send_blocks(shelf, contents, room=32 * MIB) == [None] * 5000
    assert len(shelf.blocks) == 2500
    assert 1 <= shelf.most_asked <= 1000


def test_progress_counts_each_byte_once_though_a_file_is_read_twice(
    ann: Command, server: FakeServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_bytes(noise(9 * MIB))
    counted: list[int] = []
    some_arrived = Event()
    readings = 0

    def count(size: int) -> None:
        counted.append(size)
        some_arrived.set()

    def unchanged(self: Reading) -> bool:
        nonlocal readings
        readings += 1
        assert some_arrived.wait(10)  # so that there is something to take back
        return readings > 1

    monkeypatch.setattr(Reading, "unchanged", unchanged)
    files: list[int] = []
    stop = Event()
    with (
        logged_in(Place(server.url, home), stop, connections=2) as api,
        Crew(2, room=16 * MIB, stop=stop) as crew,
    ):
        report = Report(on_bytes=count, on_files=files.append)
        sender = Sender(api, crew, report, compressing=False, force=False)
        sender.send_all(walk(Path("a"), parse_remote("/a")))
        sender.finish()
    assert sum(counted) == 9 * MIB
    assert min(counted) < 0
    assert sum(files) == 1
    assert report.counts == {"committed": 1}


def test_progress_of_direct_sending_counts_what_was_delivered(
    ann: Command, server: FakeServer, home: Path
) -> None:
    Path("a").write_bytes(noise(100_000))
    counted = Event()
    before_indexing: list[bool] = []

    def verdict(name: str) -> Verdict:
        before_indexing.append(counted.wait(10))
        return "look"

    server.staging.verdict = verdict
    stop = Event()
    with (
        logged_in(Place(server.url, home), stop, connections=2) as api,
        Http(2) as storage,
        Crew(2, room=16 * MIB, stop=stop) as crew,
    ):
        report = Report(on_bytes=lambda size: counted.set() if size == 100_000 else None)
        putter = BlockPutter(storage, stop)
        sender = Sender(api, crew, report, compressing=False, force=False, direct=putter)
        sender.send_all(walk(Path("a"), parse_remote("/a")))
        sender.finish()
    assert before_indexing == [True]
    assert report.bytes_sent == 100_000
