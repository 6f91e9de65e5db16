"""Contents on their way up: only what is lacking, only what was planned, and walls told once."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from threading import Event, Lock
from typing import cast

import pytest

from client.api import Api
from client.batches import Commit, Packed
from client.crew import Crew
from client.errors import BlocksMissing, CommandFailed, HeadMoved, Refused, Unreachable
from client.sync.actions import Upload
from client.sync.contents import Contents
from client.sync.database import Database
from client.sync.ignoring import Ignoring
from client.sync.local_changes import LocalFolder, Outdated
from client.sync.manifests import Manifests
from client.sync.rules import NEW_HERE
from client.sync.scanning import asking, scan_folder
from client.sync.uploading import Outcome, Uploader
from client.wire import Committed
from shared.domain.blocks import BlockRef, hash_of
from shared.domain.ids import NodeId, VersionId
from tests.unit.client.running import KIB, MIB, noise


class Server:
    """Takes blocks and commits as the API does. `before` is asked first, and may raise."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.blocks: Counter[str] = Counter()
        self.committed: dict[str, Commit] = {}
        self.calls: Counter[str] = Counter()
        self.before: Callable[[str], None] = lambda call: None

    def check_blocks(self, hashes: Sequence[str]) -> frozenset[str]:
        assert 1 <= len(hashes) <= 1_000
        self._called("check")
        return frozenset(set(hashes) - self.blocks.keys())

    def upload_block(self, sha256: str, body: bytes, *, compressed: bool) -> None:
        self._called("block")
        assert not compressed
        assert hash_of(body) == sha256
        with self.lock:
            self.blocks[sha256] += 1

    def upload_blocks(self, blocks: Sequence[Packed]) -> int:
        for block in blocks:
            self.upload_block(block.sha256, bytes(block.body), compressed=block.compressed)
        return sum(len(block.body) for block in blocks)

    def commit(
        self, path: str, base: str | None, blocks: Sequence[BlockRef], modified_at: datetime
    ) -> Committed:
        self._called("commit")
        result = self._commit(Commit(path, base, blocks, modified_at))
        if isinstance(result, CommandFailed):
            raise result
        return result

    def commit_to(
        self, file_id: str, base: str, blocks: Sequence[BlockRef], modified_at: datetime
    ) -> Committed:
        return self.commit(f"#{file_id}", base, blocks, modified_at)

    def commit_batch(
        self, files: Sequence[Commit], contents: Sequence[bytes], *, compressing: bool
    ) -> tuple[list[Committed | CommandFailed], int]:
        self._called("batch")
        assert len(files) <= 1_000
        for content in contents:
            self.blocks[hash_of(content)] += 1
        return [self._commit(file) for file in files], sum(map(len, contents))

    def _commit(self, file: Commit) -> Committed | CommandFailed:
        missing = [block.sha256 for block in file.blocks if block.sha256 not in self.blocks]
        if missing:
            return BlocksMissing("missing", missing=missing)
        name = f"#{file.file_id}" if file.file_id else file.path
        with self.lock:
            self.committed[name] = file
        return Committed(file_id="f", version_id="v", version=1)

    def _called(self, call: str) -> None:
        with self.lock:
            self.calls[call] += 1
        self.before(call)


class Sending:
    """A folder whose files are sent to a server."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root = root
        self.server = Server()
        self.database = database
        self.outcomes: dict[str, Outcome] = {}
        self.sent = 0

    def planned(self, **nodes: str) -> list[Upload]:
        """An upload of every file that is there now; `nodes` are those that the server knows, by name."""
        with Crew(1, room=1, stop=Event()) as crew:
            contents = Contents(self.database, self.root)
            entries = contents.entries(scan_folder(self.root, asking(Ignoring())).entries, crew)
        plan = []
        for path, entry in sorted(entries.items()):
            assert entry.content is not None
            node = nodes.get(path[0])
            plan.append(
                Upload(
                    NEW_HERE,
                    path,
                    path,
                    entry.content,
                    entry.fingerprint,
                    NodeId("root"),
                    NodeId(node) if node else None,
                    VersionId("base") if node else None,
                )
            )
        return plan

    def send(self, plan: list[Upload]) -> None:
        def done(action: Upload, outcome: Outcome) -> None:
            assert action.path[0] not in self.outcomes, "each is told once"
            self.outcomes[action.path[0]] = outcome

        def sent(size: int) -> None:
            self.sent += size

        with Crew(4, room=1, stop=Event()) as crew:
            Uploader(
                cast(Api, self.server),
                crew,
                LocalFolder(self.root),
                Manifests(self.database),
                compressing=False,
                done=done,
                on_bytes=lambda _: None,
                on_sent=sent,
            ).put_all(plan)
            crew.drain()


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Sending]:
    root = (tmp_path / "root").resolve()
    root.mkdir()
    with Database(tmp_path / "state.db") as database:
        yield Sending(root, database)


def test_small_files_travel_together_and_large_ones_by_blocks(sending: Sending) -> None:
    for number in range(40):
        (sending.root / f"small-{number}").write_bytes(noise(1 + number * 100))
    (sending.root / "empty").touch()
    (sending.root / "large").write_bytes(noise(5 * MIB))
    sending.send(sending.planned(large="node"))
    assert all(isinstance(outcome, Committed) for outcome in sending.outcomes.values())
    assert len(sending.outcomes) == 42
    assert sending.server.calls["batch"] == 1
    assert sending.server.committed["#node"].base == "base"
    assert sending.server.committed["/small-7"].base is None
    assert set(sending.server.blocks.values()) == {1}


def test_a_block_that_the_server_has_is_not_even_read(sending: Sending) -> None:
    content = noise(3 * MIB)
    (sending.root / "large").write_bytes(content)
    (sending.root / "small").write_bytes(content[:5_000])
    plan = sending.planned()
    sending.send(plan)
    sent, blocks = sending.sent, Counter(sending.server.blocks)
    sending.outcomes.clear()
    sending.send(plan)
    assert (sending.sent, sending.server.blocks) == (sent, blocks)


def test_equal_blocks_of_two_files_travel_once(sending: Sending) -> None:
    content = noise(3 * MIB)
    for name in ("a", "b", "c"):
        (sending.root / name).write_bytes(content)
    for name in ("x", "y"):
        (sending.root / name).write_bytes(content[:9_000])
    sending.send(sending.planned())
    assert set(sending.server.blocks.values()) == {1}
    assert len(sending.server.committed) == 5


# The block of a small file travels with its commit, so there is no moment of its own.
@pytest.mark.parametrize(
    ("moment", "size"),
    [
        ("before", 100 * KIB),
        ("check", 100 * KIB),
        ("before", 3 * MIB),
        ("check", 3 * MIB),
        ("block", 3 * MIB),
    ],
)
def test_a_file_that_changes_on_its_way_is_not_committed(sending: Sending, size: int, moment: str) -> None:
    place = sending.root / "a"
    place.write_bytes(noise(size))
    plan = sending.planned()

    def change(call: str) -> None:
        if call == moment:
            place.write_bytes(noise(size))

    sending.server.before = change
    if moment == "before":
        change("before")
    sending.send(plan)
    assert isinstance(sending.outcomes["a"], Outdated)
    assert sending.server.committed == {}


@pytest.mark.parametrize("size", [100 * KIB, 3 * MIB])
def test_a_file_that_changes_is_not_committed_even_if_nothing_of_it_travels(
    sending: Sending, size: int
) -> None:
    place = sending.root / "a"
    place.write_bytes(noise(size))
    plan = sending.planned()
    sending.send(plan)
    sending.outcomes.clear()
    sending.server.committed.clear()
    sending.server.before = lambda call: place.write_bytes(b"2") and None
    sending.send(plan)
    assert isinstance(sending.outcomes["a"], Outdated)
    assert sending.server.committed == {}


@pytest.mark.parametrize("size", [100 * KIB, 3 * MIB])
def test_blocks_that_get_lost_before_the_commit_are_sent_again(sending: Sending, size: int) -> None:
    (sending.root / "a").write_bytes(noise(size))
    plan = sending.planned()
    sending.send(plan)
    lost = next(iter(sending.server.blocks))
    asked: list[str] = []

    def forget(call: str) -> None:
        asked.append(call)
        if call in ("commit", "batch") and asked.count(call) == 1:
            del sending.server.blocks[lost]

    sending.server.before = forget
    sending.outcomes.clear()
    sending.server.committed.clear()
    sending.send(plan)
    assert isinstance(sending.outcomes["a"], Committed)
    assert lost in sending.server.blocks


@pytest.mark.parametrize("size", [100 * KIB, 3 * MIB])
def test_a_head_that_has_moved_means_to_plan_again(sending: Sending, size: int) -> None:
    (sending.root / "a").write_bytes(noise(size))
    sending.server._commit = lambda file: HeadMoved("moved", head="other")  # type: ignore[method-assign]
    sending.send(sending.planned(a="node"))
    assert isinstance(sending.outcomes["a"], Outdated)


def test_a_used_up_quota_is_a_wall_for_the_rest_and_not_for_the_run(sending: Sending) -> None:
    for number in range(6):
        (sending.root / f"large-{number}").write_bytes(noise(600 * KIB))
    (sending.root / "small").write_bytes(b"1")

    def full(call: str) -> None:
        if call in ("commit", "batch"):
            raise Refused("no room", code="quota_exceeded", fatal=True)

    sending.server.before = full
    sending.send(sending.planned())
    assert len(sending.outcomes) == 7
    assert all(
        isinstance(outcome, Refused) and outcome.code == "quota_exceeded"
        for outcome in sending.outcomes.values()
    )


def test_a_server_that_is_away_ends_the_run(sending: Sending) -> None:
    (sending.root / "a").write_bytes(noise(600 * KIB))

    def away(call: str) -> None:
        raise Unreachable("away")

    sending.server.before = away
    with pytest.raises(Unreachable):
        sending.send(sending.planned())
    assert sending.outcomes == {}
