"""What a commit, a list and a look cost in a namespace of 1,000, 100,000 and 1,000,000 files.

The use cases run here on SQLite with a durable commit each and without a block store, so that what is measured is
the metadata. A tenth of the files are in one folder, 100,000 at most; its listing is paged to the end, and its first
and last pages are compared.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

from shared.adapters.sql import migrate
from shared.adapters.sql.database import SqlMetadata
from shared.adapters.sql.engine import make_engine
from shared.adapters.system import RandomIds, SystemClock
from shared.adapters.tokens import HmacSeals
from shared.domain.accounts import Caller, parse_username
from shared.domain.blocks import root_hash
from shared.domain.ids import NO_VERSION, DeviceId, NamespaceId, NodeId, UserId, VersionId
from shared.domain.names import parse_name, parse_path
from shared.domain.versions import OnHead, Version
from shared.ports.metadata import Transaction
from shared.ports.tables_accounts import Device
from shared.ports.tables_files import NewNode, NewVersion, NodeKind, Place
from shared.ports.tables_journal import Change, ChangeKind
from shared.usecases.commit_file import CommitFile
from shared.usecases.delete_file import DeleteFile
from shared.usecases.drafting import CommitRequest
from shared.usecases.follow_changes import FollowChanges
from shared.usecases.list_files import ListFiles
from shared.usecases.tree import TreeWriter
from tests.bench.measuring import Row
from tests.support.system import ROOT

SIZES = (1_000, 100_000, 1_000_000)
PLOT = ROOT / ".local" / "bench" / "growth.md"
"""Where the chart of the last run is."""

MOST_GROWTH = 5.0
"""Times the cost at 1,000 files that anything may cost at 1,000,000: trees of indexes grow by levels, not by files."""

_TRIES = 60
_AT_ONCE = 20_000
_PAGE = 1_000


def rows(folder: Path) -> Iterator[Row]:
    costs = {size: asyncio.run(_costs(folder / f"{size}.db", size)) for size in SIZES}
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    PLOT.write_text(_plot(costs))
    for name in costs[SIZES[0]]:
        few, many = costs[SIZES[0]][name], costs[SIZES[-1]][name]
        yield Row(
            name,
            " / ".join(f"{costs[size][name] * 1000:.2f}" for size in SIZES) + " ms",
            f"with {' / '.join(f'{size:,}' for size in SIZES)} files",
            few / many,
            f"at most {MOST_GROWTH:.0f} times",
            many <= MOST_GROWTH * few,
            figures={str(size): costs[size][name] for size in SIZES},
        )


def _plot(costs: Mapping[int, Mapping[str, float]]) -> str:
    """A Mermaid chart of the costs by size, a line each, in the order of the table."""
    sizes = ", ".join(f'"{size:,}"' for size in SIZES)
    lines = [
        f"    line [{', '.join(f'{costs[size][name] * 1000:.2f}' for size in SIZES)}]"
        for name in costs[SIZES[0]]
    ]
    head = ["```mermaid", "xychart-beta", '    title "Milliseconds by files in the namespace"']
    return "\n".join([*head, f"    x-axis [{sizes}]", '    y-axis "ms"', *lines, "```", ""])


async def _costs(path: Path, size: int) -> dict[str, float]:
    """Median seconds of each operation, by its name."""
    engine = make_engine(f"sqlite:///{path}", threads=4)
    migrate.upgrade(engine)
    metadata = SqlMetadata(engine, threads=4)
    ids, clock, day = RandomIds(), SystemClock(), timedelta(days=1)
    caller = Caller(UserId(ids.new()), DeviceId(ids.new()), 1)
    ns = NamespaceId(ids.new())

    def join(tx: Transaction) -> None:
        now = clock.now()
        tx.accounts.add_user(caller.user_id, parse_username("bench"), "no hash", now=now)
        tx.accounts.add_device(Device(caller.device_id, caller.user_id, "bench", "bench"), now=now)
        tx.namespaces.add_personal(ns, caller.user_id, quota=10**15, now=now)

    await metadata.write(join)
    folders = [NodeId(ids.new()) for _ in range(10)]
    await metadata.write(lambda tx: _plant_folders(tx, ns, caller, folders))
    for start in range(0, size, _AT_ONCE):
        some = range(start, min(size, start + _AT_ONCE))
        await metadata.write(partial(_plant, ns=ns, caller=caller, folders=folders, numbers=some))

    seals = HmacSeals(bytes(32))
    commit = CommitFile(metadata, clock, ids, 2**40, day)
    lists = ListFiles(metadata, seals)
    changes = FollowChanges(metadata, seals)
    delete = DeleteFile(TreeWriter(metadata, clock, day))
    made: list[NodeId] = []

    async def new_file(number: int) -> None:
        request = CommitRequest(OnHead(), [], parse_path(f"/3/new {number}"))
        made.append((await commit(caller, request)).file_id)

    async def one_path(number: int) -> None:
        await lists.one(caller, None, parse_path(f"/4/{_name(number * 7 % (size // 10))}"))

    async def first_page(_: int) -> None:
        await metadata.read(lists.folder(caller, None, parse_path("/5"), cursor=None, limit=100).now)

    cursor = await _last_cursor(metadata, lists, caller)

    async def last_page(_: int) -> None:
        await metadata.read(lists.folder(caller, None, parse_path("/5"), cursor=cursor, limit=100).now)

    async def away(number: int) -> None:
        await delete(caller, made[number])

    page = await changes(caller, cursor=None, limit=500)
    while page.has_more:
        page = await changes(caller, cursor=page.cursor, limit=1_000)
    current = page.cursor

    async def nothing_new(_: int) -> None:
        await changes(caller, cursor=current, limit=500)

    measured: dict[str, float] = {}
    for name, work in {
        "a commit of a new file": new_file,
        "a file by its path": one_path,
        "the first 100 of a folder": first_page,
        "its last 100": last_page,
        "changes, when there are none": nothing_new,
        "a delete": away,
    }.items():
        measured[name] = await _median(work)
    await metadata.close()
    return measured


async def _median(work: Callable[[int], Awaitable[None]]) -> float:
    spent: list[float] = []
    for number in range(_TRIES):
        start = time.perf_counter()
        await work(number)
        spent.append(time.perf_counter() - start)
    return median(spent)


async def _last_cursor(metadata: SqlMetadata, lists: ListFiles, caller: Caller) -> str | None:
    """The cursor of the last page of a folder that is read to its end."""
    cursor: str | None = None
    while True:
        page = await metadata.read(
            lists.folder(caller, None, parse_path("/5"), cursor=cursor, limit=_PAGE).now
        )
        if page.next_cursor is None:
            return cursor
        cursor = page.next_cursor


def _name(number: int) -> str:
    return f"file {number:07}.txt"


def _plant_folders(tx: Transaction, ns: NamespaceId, caller: Caller, folders: list[NodeId]) -> None:
    for number, folder in enumerate(folders):
        seq = tx.namespaces.advance(ns, delta=0)
        name = parse_name(str(number))
        tx.files.add_nodes(ns, [NewNode(folder, NodeId(ns), NodeKind.FOLDER, name, Place(seq, 0))])
        change = Change(ChangeKind.FOLDER_CREATED, folder, None, caller.device_id)
        tx.journal.record(ns, seq, [change], now=datetime.now(UTC))


def _plant(tx: Transaction, ns: NamespaceId, caller: Caller, folders: list[NodeId], numbers: range) -> None:
    """Files as commits leave them, a seq for a thousand; empty ones, since blocks cost the same for any tree."""
    new, now = RandomIds().new, datetime.now(UTC)
    for start in range(numbers.start, numbers.stop, 1_000):
        seq = tx.namespaces.advance(ns, delta=0)
        nodes: list[NewNode] = []
        versions: list[NewVersion] = []
        changes: list[Change] = []
        for position, number in enumerate(range(start, min(numbers.stop, start + 1_000))):
            node, version = NodeId(new()), VersionId(new())
            folder, name = folders[number % 10], parse_name(_name(number // 10))
            nodes.append(NewNode(node, folder, NodeKind.FILE, name, Place(seq, position), version))
            state = Version(version, 1, 0, root_hash([]), now, now, seq)
            versions.append(NewVersion(node, state, NO_VERSION, caller.user_id, caller.device_id, []))
            changes.append(Change(ChangeKind.FILE_CREATED, node, version, caller.device_id))
        tx.files.add_nodes(ns, nodes)
        tx.files.add_versions(ns, versions)
        tx.journal.record(ns, seq, changes, now=now)
