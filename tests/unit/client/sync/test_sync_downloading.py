"""Contents on their way down: small ones together, each verified, and what is wrong with one is no other's trouble."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import cast
from unittest.mock import Mock

import pytest

from client.api import Api
from client.block_fetching import BlockReader
from client.block_runs import Run
from client.crew import Crew
from client.errors import CommandFailed, Corrupt, LocalProblem, NotThere, Refused, Stopped, Unreachable
from client.pack_fetching import GROUP_CONTENT, GROUP_FILES
from client.sync.actions import Download
from client.sync.contents import Contents
from client.sync.database import Database
from client.sync.downloading import DISK_FULL, Downloader
from client.sync.ignoring import Ignoring
from client.sync.landing import Landing
from client.sync.local_changes import LocalFolder, Outdated
from client.sync.manifests import Manifests
from client.sync.rules import NEW_THERE
from client.sync.scanning import asking, scan_folder
from client.sync.small_landings import Done, Landed
from client.sync.transferring import Transfers
from client.sync.trees import Content
from client.wire import BlockPlace, Manifest
from shared.domain.blocks import BlockRef, Sha256, hash_of, root_hash
from shared.domain.ids import NodeId, VersionId
from tests.unit.client.running import KIB, MIB, noise

WHEN = "2024-05-06T07:08:09.123456Z"
URL = "http://store"


class Server:
    """The API, and a blob that all blocks lie in. `before` is told each call, and may raise."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.blob = bytearray()
        self.manifests_of: dict[str, Manifest] = {}
        self.gone: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.before: Callable[[str], None] = lambda call: None

    def put(self, name: str, *blocks: bytes) -> Download:
        """Keep a file, and return what brings it to the path `name`."""
        places = []
        for block in blocks:
            size = len(block)
            places.append(
                BlockPlace(
                    sha256=hash_of(block),
                    size=size,
                    url=URL,
                    offset=len(self.blob),
                    stored_size=size,
                    codec="none",
                )
            )
            self.blob += block
        refs = [BlockRef(Sha256(place.sha256), place.size) for place in places]
        content = Content(root_hash(refs), sum(ref.size for ref in refs))
        self.manifests_of[name] = Manifest(
            file_id=name,
            version_id=f"v-{name}",
            size=content.size,
            root_hash=content.root_hash,
            modified_at=WHEN,
            blocks=tuple(places),
        )
        return Download(
            NEW_THERE, (name,), NodeId(name), VersionId(f"v-{name}"), content, WHEN, NodeId("root"), name
        )

    def manifests(self, wanted: Sequence[tuple[str, str]]) -> list[Manifest | CommandFailed]:
        self._called("manifests")
        return [NotThere("gone") if name in self.gone else self.manifests_of[name] for name, _ in wanted]

    def manifest(self, name: str, version: str | None) -> Manifest:
        self._called("manifest")
        return self.manifests_of[name]

    def content(self, name: str, version: str) -> bytes:
        self._called("content")
        return b"".join(
            bytes(self.blob[place.offset : place.offset + place.size])
            for place in self.manifests_of[name].blocks
        )

    def read_range(self, url: str, offset: int, size: int) -> bytes:
        self._called("range")
        return bytes(self.blob[offset : offset + size])

    def read_run(self, run: Run) -> None:
        run.take(memoryview(self.read_range(run.url, *run.rest())))

    def read(self, place: BlockPlace) -> bytes:
        return self.read_range(place.url, place.offset, place.stored_size)

    def _called(self, call: str) -> None:
        with self.lock:
            self.calls[call] += 1
        self.before(call)


class Bringing:
    """A folder that files are brought into."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root = root
        self.database = database
        self.server = Server()
        self.outcomes: dict[str, Landed | CommandFailed | Outdated] = {}

    def group(self, *actions: Download) -> None:
        """Bring them as one group; raises what ended the run."""
        with Crew(2, room=2, stop=Event()) as crew:
            downloader = self.downloader(crew)
            crew.submit(lambda: downloader.begin_group([(action, self.done(action)) for action in actions]))
            crew.drain()

    def alone(self, action: Download) -> None:
        with Crew(2, room=2, stop=Event()) as crew:
            downloader = self.downloader(crew)
            crew.submit(lambda: downloader.begin(action, self.done(action)))
            crew.drain()

    def downloader(self, crew: Crew) -> Downloader:
        return Downloader(
            cast(Api, self.server),
            lambda: cast(BlockReader, self.server),
            crew,
            LocalFolder(self.root),
            Contents(self.database, self.root),
            Manifests(self.database),
            on_bytes=lambda _: None,
        )

    def know(self) -> None:
        """Read what is in the folder, as the look before a plan does."""
        with Crew(1, room=1, stop=Event()) as crew:
            found = scan_folder(self.root, asking(Ignoring())).entries
            Contents(self.database, self.root).entries(found, crew)

    @property
    def here(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.root.iterdir()}

    def done(self, action: Download) -> Done:
        def done(outcome: Landed | CommandFailed | Outdated) -> None:
            assert action.name not in self.outcomes, "each is told once"
            self.outcomes[action.name] = outcome

        return done


@pytest.fixture
def bringing(tmp_path: Path) -> Iterator[Bringing]:
    root = tmp_path.resolve() / "folder"
    root.mkdir()
    with Database(tmp_path / "state.db") as database:
        yield Bringing(root, database)


def fetched(outcome: Landed | CommandFailed | Outdated) -> int:
    assert isinstance(outcome, Landed), outcome
    return outcome.fetched


def test_small_files_come_with_two_requests(bringing: Bringing) -> None:
    contents = {f"{number}": noise(number * 100) for number in range(1, 40)}
    bringing.group(*(bringing.server.put(name, content) for name, content in contents.items()))
    assert bringing.here == contents
    assert bringing.server.calls == {"manifests": 1, "range": 1}
    assert {name: fetched(outcome) for name, outcome in bringing.outcomes.items()} == {
        name: len(content) for name, content in contents.items()
    }
    assert {path.stat().st_mtime_ns for path in bringing.root.iterdir()} == {1_714_979_289_123_456_000}


def test_one_that_is_alone_comes_with_one(bringing: Bringing) -> None:
    bringing.alone(bringing.server.put("a", b"content"))
    assert bringing.here == {"a": b"content"}
    assert bringing.server.calls == {"content": 1}


def test_small_files_may_be_cut_in_any_way(bringing: Bringing) -> None:
    whole = [bringing.server.put("a", b"con", b"tent"), bringing.server.put("empty")]
    bringing.group(*whole)
    bringing.alone(bringing.server.put("b", b"con", b"tent", b"con"))
    assert bringing.here == {"a": b"content", "empty": b"", "b": b"contentcon"}


def test_what_is_gone_on_the_server_is_planned_about_again(bringing: Bringing) -> None:
    gone, there = bringing.server.put("gone", b"1"), bringing.server.put("there", b"2")
    bringing.server.gone.add("gone")
    bringing.group(gone, there)
    assert isinstance(bringing.outcomes["gone"], Outdated)
    assert bringing.here == {"there": b"2"}


def test_damage_in_one_file_is_found_and_hurts_no_other(bringing: Bringing) -> None:
    good, bad = bringing.server.put("good", noise(1000)), bringing.server.put("bad", noise(1000))
    bringing.server.blob[1500] ^= 1
    bringing.group(good, bad)
    assert isinstance(bringing.outcomes["bad"], Corrupt)
    assert list(bringing.here) == ["good"]


def test_another_content_than_the_journal_told_is_refused(bringing: Bringing) -> None:
    one, other = bringing.server.put("one", b"1"), bringing.server.put("other", b"2")
    bringing.server.manifests_of["one"] = bringing.server.manifests_of["other"]
    bringing.group(one, other)
    assert isinstance(bringing.outcomes["one"], Corrupt)
    assert bringing.here == {"other": b"2"}


def test_what_somebody_has_put_there_meanwhile_is_not_replaced(bringing: Bringing) -> None:
    actions = [bringing.server.put(name, name.encode()) for name in ("a", "b", "c")]

    def somebody(call: str) -> None:
        (bringing.root / "b").write_bytes(b"somebody's")

    bringing.server.before = somebody
    bringing.group(*actions)
    assert bringing.here == {"a": b"a", "b": b"somebody's", "c": b"c"}
    assert isinstance(bringing.outcomes["b"], Outdated)


def test_a_content_that_is_here_is_not_fetched(bringing: Bringing) -> None:
    (bringing.root / "original").write_bytes(b"content")
    bringing.know()
    copy, other = bringing.server.put("copy", b"content"), bringing.server.put("other", b"other")
    bringing.group(copy, other)
    assert {name: fetched(outcome) for name, outcome in bringing.outcomes.items()} == {"copy": 0, "other": 5}
    bringing.group(bringing.server.put("again", b"content"))
    assert bringing.server.calls["manifests"] == 1
    assert bringing.here["copy"] == bringing.here["again"] == b"content"


def test_a_question_that_is_refused_fails_the_group_and_not_the_run(bringing: Bringing) -> None:
    actions = [bringing.server.put(name, b"content") for name in ("a", "b")]

    def refuse(call: str) -> None:
        raise Refused("not like this")

    bringing.server.before = refuse
    bringing.group(*actions)
    assert [type(outcome) for outcome in bringing.outcomes.values()] == [Refused, Refused]
    assert bringing.here == {}


def test_a_server_that_is_away_ends_the_run(bringing: Bringing) -> None:
    def away(call: str) -> None:
        raise Unreachable("away")

    bringing.server.before = away
    with pytest.raises(Unreachable):
        bringing.group(bringing.server.put("a", b"1"), bringing.server.put("b", b"2"))
    assert bringing.outcomes == {}


def test_after_a_full_disk_nothing_more_is_fetched(
    bringing: Bringing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(landing: Landing, content: bytes, offsets: Sequence[int]) -> None:
        raise LocalProblem("no space", code=DISK_FULL)

    monkeypatch.setattr(Landing, "write", full)
    groups = [[bringing.server.put(f"{number}{name}", b"content") for name in "ab"] for number in range(2)]
    with Crew(1, room=1, stop=Event()) as crew:
        downloader = bringing.downloader(crew)
        for group in groups:
            downloader.begin_group([(action, bringing.done(action)) for action in group])
    assert bringing.server.calls == {"manifests": 1, "range": 1}
    assert [getattr(outcome, "code", None) for outcome in bringing.outcomes.values()] == [DISK_FULL] * 4
    assert bringing.here == {}


def test_a_group_ends_with_the_run(bringing: Bringing) -> None:
    stop = Event()
    first, second = (bringing.server.put(name, b"content") for name in ("first", "second"))

    def told(outcome: Landed | CommandFailed | Outdated) -> None:
        bringing.done(first)(outcome)
        stop.set()

    with Crew(1, room=1, stop=stop) as crew, pytest.raises(Stopped):
        bringing.downloader(crew).begin_group([(first, told), (second, bringing.done(second))])
    assert bringing.here == {"first": b"content"}
    assert list(bringing.outcomes) == ["first"]


class Groups:
    """Stands where the downloader does, and notes what would be brought together."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.names: list[list[str]] = []

    def begin(self, action: Download, done: Done) -> None:
        self.begin_group([(action, done)])

    def begin_group(self, group: Sequence[tuple[Download, Done]]) -> None:
        with self.lock:
            self.names.append([action.name for action, _ in group])
        for _, done in group:
            done(Outdated("only looked at"))


def groups_of(*sizes: int) -> list[list[str]]:
    """What is brought together of files with these sizes, which are named by their numbers."""
    actions = [
        Download(
            NEW_THERE,
            (name,),
            NodeId(name),
            VersionId("v"),
            Content(hash_of(name.encode()), size),
            WHEN,
            NodeId("root"),
            name,
        )
        for name, size in zip(map(str, range(len(sizes))), sizes, strict=True)
    ]
    groups, nobody = Groups(), Mock()
    # There is room for one, so this ends only if each group lets go of what it took.
    with Crew(1, room=1, stop=Event()) as crew:
        transfers = Transfers(
            crew,
            nobody,
            cast(Downloader, groups),
            folders=nobody,
            ledger=nobody,
            outcomes=nobody,
            manifests=nobody,
            trees=nobody,
            tally=nobody,
        )
        transfers.begin(actions)
        crew.drain()
    return groups.names


def test_groups_have_bounds() -> None:
    assert groups_of(1, 300 * KIB, 2, 5 * MIB, 3) == [["1"], ["3"], ["0", "2", "4"]]
    assert [len(group) for group in groups_of(*[10] * (GROUP_FILES + 1))] == [GROUP_FILES, 1]
    full = GROUP_CONTENT // (256 * KIB)
    assert [len(group) for group in groups_of(*[256 * KIB] * (2 * full + 1))] == [full, full, 1]
