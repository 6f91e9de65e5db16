"""What was done and isn't written down yet.

A row of the base says that something is done and will be there after the power fails. So names are brought to the disk
first, then the rows are written, many at a time; a kill in between costs the next run a comparison.
"""

from collections.abc import Iterable, Sequence
from threading import Lock

from client.sync.base_rows import BaseChange, BaseRows, Drop, Put
from client.sync.contents import Contents, Read
from client.sync.database import Database
from client.sync.decisions import Decision, Decisions
from client.sync.local_changes import LocalFolder
from shared.domain.ids import NodeId

_MANY = 1024
"""Rows. Each writing is an fsync of every folder that was touched, and a transaction."""


class Ledger:
    """Gathers rows from any thread; `has_row` knows also of those that are not written yet."""

    def __init__(
        self, database: Database, folder: LocalFolder, contents: Contents, rows: Iterable[NodeId]
    ) -> None:
        """`rows` are the nodes that the base has now."""
        self._database = database
        self._folder = folder
        self._contents = contents
        self._base = BaseRows(database)
        self._decisions = Decisions(database)
        self._rows = set(rows)
        self._lock = Lock()
        self._writing = Lock()
        self._changes: list[BaseChange] = []
        self._reads: list[Read] = []
        self._decided: list[Decision] = []

    def has_row(self, node: NodeId) -> bool:
        with self._lock:
            return node in self._rows

    def note(
        self,
        decision: Decision | None = None,
        changes: Sequence[BaseChange] = (),
        reads: Sequence[Read] = (),
    ) -> None:
        """Have all of this written, soon; raises LocalProblem when an earlier part can't be."""
        with self._lock:
            for change in changes:
                match change:
                    case Put(entry, instead_of):
                        self._rows.discard(instead_of or entry.node_id)
                        self._rows.add(entry.node_id)
                    case Drop(nodes):
                        self._rows.difference_update(nodes)
            self._changes += changes
            self._reads += reads
            if decision:
                self._decided.append(decision)
            full = len(self._changes) + len(self._decided) >= _MANY
        if full:
            self.flush()

    def flush(self) -> None:
        """Write what was noted; it is on the disk when this returns. Raises LocalProblem."""
        with self._writing:  # in the order in which it was noted: a later row may be about the same node
            with self._lock:
                changes, self._changes = self._changes, []
                reads, self._reads = self._reads, []
                decided, self._decided = self._decided, []
            if not (changes or reads or decided):
                return
            self._folder.make_durable()
            with self._database.transaction():
                self._base.apply(changes)
                self._contents.remember(reads)
                self._decisions.keep(decided)
