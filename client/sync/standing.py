"""`strata status`: how a folder stands, without doing anything about it. It may be asked while a sync runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from client.errors import Conflicting, NotThere
from client.sync.base_rows import BaseRows
from client.sync.database import Database
from client.sync.decisions import names_of
from client.sync.folder import SyncFolder, only_one
from client.sync.matching import composed
from client.sync.rounds import read_ignores
from client.sync.scanning import asking, scan_folder
from client.sync.settled import finished_at
from client.sync.trees import Fingerprint, Kind, Names


class Standing(msgspec.Struct, frozen=True):
    """Counts of entries: `in_step` at the last sync, and since then `new`, `changed` (files) and `gone` here.

    `running`: another process syncs the folder now.
    """

    url: str
    finished_at: str | None
    running: bool
    in_step: int
    new: int
    changed: int
    gone: int
    passed_over: int

    @property
    def as_before(self) -> bool:
        """Whether nothing has changed here since the last sync."""
        return not (self.new or self.changed or self.gone)


def standing_of(folder: SyncFolder, database: Database, home: Path) -> Standing:
    """Look at the folder and compare it with what it was; raises LocalProblem."""
    ignoring = read_ignores(folder.path)
    scan = scan_folder(folder.path, asking(ignoring))
    rows = BaseRows(database).load()
    before: dict[Names, Fingerprint | None] = {
        names_of(rows, node): entry.fingerprint for node, entry in rows.items()
    }
    new = changed = 0
    for path, found in scan.entries.items():
        known = tuple(composed(name) for name in path)
        if known not in before:
            new += 1
        elif found.kind is Kind.FILE and before.pop(known) != found.fingerprint:
            changed += 1
        else:
            before.pop(known, None)
    return Standing(
        database.get("url") or "",
        finished_at(database, folder.lock_path(home)),
        _is_running(folder, home),
        len(rows),
        new,
        changed,
        len(before),
        len(scan.passed_over),
    )


def _is_running(folder: SyncFolder, home: Path) -> bool:
    try:
        with only_one(folder, home):
            return False
    except Conflicting:
        return True


@contextmanager
def memory_about(path: Path, home: Path) -> Iterator[tuple[Database, str]]:
    """The memory of the synced folder that `path` is in, and the path below it.

    `path` need not exist any more. Raises NotThere when it is in no folder that was synced.
    """
    whole = Path(path.absolute().parent.resolve(), path.name)
    for state in sorted((home / "sync").glob("*.db")):
        with Database(state) as database:
            root = database.get("folder")
            if root is not None and whole.is_relative_to(root):
                yield database, whole.relative_to(root).as_posix()
                return
    raise NotThere(f"{path} is in no folder that was synced from here")
