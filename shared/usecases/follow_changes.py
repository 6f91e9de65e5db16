"""The journal for clients: everything once, then every change, in order and without a gap.

A cursor says how far its holder has read each namespace. Without one, the answer is a snapshot, page by page, and then
a cursor from the moment that the snapshot began: what changed meanwhile is told again, which harms nobody, since an
entry tells its node's state as it is *now*.

Deleting or restoring a folder is one entry, whatever hangs below. So a client that came too late to see what was in
a folder before it went to the trash could not show it when the folder comes back. Therefore entries and snapshots tell
of the nodes below deleted folders as well: they have a state, but no path. A client has exactly the tree if it
does three things, and finds its way by parents:

* keep each node's last state by its id, and let go of the node itself when an entry has none;
* keep what hangs below a node that it let go of: it is out of the tree, because its way up is broken, and comes
  back with the folder;
* at `folder_purged`, let go of what hangs below the folder, too.

In the middle of a page a parent may be one that is told only later. Behind the last page nothing is open.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.accounts import Caller
from shared.domain.errors import CursorReset
from shared.domain.ids import DeviceId, NamespaceId, NodeId, UserId
from shared.ports.credentials import Seals
from shared.ports.metadata import Metadata, Transaction
from shared.ports.tables_files import Node, NodeKind, Place
from shared.ports.tables_journal import ChangeKind
from shared.ports.tables_namespaces import Standing
from shared.usecases.authority import reader

_PURPOSE = "cursor"


@dataclass(frozen=True, slots=True)
class Told:
    """One entry: what happened to `node_id`, and its state now.

    `node` is None when it was deleted itself, or purged; `path` also when it hangs below a deleted folder.
    """

    namespace: NamespaceId
    seq: int
    kind: ChangeKind
    node_id: NodeId
    node: Node | None
    path: str | None
    device: DeviceId | None


@dataclass(frozen=True, slots=True)
class Changes:
    """A page; `has_more` says that the next page is not empty."""

    entries: Sequence[Told]
    cursor: str
    has_more: bool


@dataclass(frozen=True)
class FollowChanges:
    metadata: Metadata
    seals: Seals

    async def __call__(self, caller: Caller, *, cursor: str | None, limit: int) -> Changes:
        """The page behind `cursor`, of about `limit` entries, never a part of a seq.

        Raises Malformed for a cursor that is not ours, CursorReset for one of another user or another beginning of a
        journal: then start without.
        """

        def work(tx: Transaction) -> Changes:
            reader(tx, caller, None)
            standings = {standing.id: standing for standing in tx.namespaces.seen_by(caller.user_id)}
            if cursor is None:
                return self._snapshot(tx, caller.user_id, _Reading.begin(standings), standings, limit)
            reading = _Reading.load(self.seals.unseal(_PURPOSE, cursor), caller.user_id)
            reading.check(standings)
            if reading.snapshot is not None:
                return self._snapshot(tx, caller.user_id, reading, standings, limit)
            return self._journal(tx, caller.user_id, reading, standings, limit)

        return await self.metadata.read(work)

    async def behind(self, caller: Caller, cursor: str) -> Sequence[tuple[NamespaceId, int]]:
        """The namespaces whose journals go on behind `cursor`, each with its last seq; raises as the call does.

        A cursor in the middle of a snapshot is behind everywhere.
        """

        def work(tx: Transaction) -> Sequence[tuple[NamespaceId, int]]:
            reader(tx, caller, None)
            standings = {standing.id: standing for standing in tx.namespaces.seen_by(caller.user_id)}
            reading = _Reading.load(self.seals.unseal(_PURPOSE, cursor), caller.user_id)
            reading.check(standings)
            return [
                (ns, standing.seq)
                for ns, standing in sorted(standings.items())
                if reading.snapshot is not None or standing.seq > reading.seqs.get(ns, (0, 0))[0]
            ]

        return await self.metadata.read(work)

    async def seen(self, caller: Caller, cursor: str) -> Mapping[NamespaceId, int]:
        """How far the holder of a cursor has read each namespace, as seqs; raises as the call does."""

        def work(tx: Transaction) -> Mapping[NamespaceId, int]:
            reader(tx, caller, None)
            reading = _Reading.load(self.seals.unseal(_PURPOSE, cursor), caller.user_id)
            reading.check({standing.id: standing for standing in tx.namespaces.seen_by(caller.user_id)})
            return {ns: seq for ns, (seq, _) in reading.seqs.items()}

        return await self.metadata.read(work)

    def _snapshot(
        self,
        tx: Transaction,
        user: UserId,
        reading: "_Reading",
        standings: dict[NamespaceId, Standing],
        limit: int,
    ) -> Changes:
        told: list[Told] = []
        for ns in sorted(standings):
            if reading.snapshot is None or ns < reading.snapshot[0]:
                continue
            after = reading.snapshot[1] if ns == reading.snapshot[0] else None
            found = tx.files.everything(ns, after=after, limit=limit - len(told) + 1)
            page = found[: limit - len(told)]
            paths = tx.files.paths(ns, [node for _, node in page])
            for place, node in page:
                kind = ChangeKind.FILE_CREATED if node.kind is NodeKind.FILE else ChangeKind.FOLDER_CREATED
                told.append(Told(ns, place.seq, kind, node.id, node, paths.get(node.id), None))
            if len(found) > len(page):
                last = page[-1][0] if page else after
                return Changes(told, self._seal(user, _Reading(reading.seqs, (ns, last))), True)
        done = _Reading(reading.seqs, None)
        return Changes(told, self._seal(user, done), done.is_behind(standings))

    def _journal(
        self,
        tx: Transaction,
        user: UserId,
        reading: "_Reading",
        standings: dict[NamespaceId, Standing],
        limit: int,
    ) -> Changes:
        told: list[Told] = []
        seqs = dict(reading.seqs)
        for ns, standing in sorted(standings.items()):
            seq, epoch = seqs.get(ns, (0, standing.epoch))
            if len(told) >= limit:
                break
            entries = tx.journal.after(ns, seq=seq, limit=limit - len(told))
            paths = tx.files.paths(ns, [entry.node for entry in entries if entry.node is not None])
            for entry in entries:
                change, path = entry.change, paths.get(entry.change.node)
                told.append(Told(ns, entry.seq, change.kind, change.node, entry.node, path, change.device))
            seqs[ns] = (entries[-1].seq if entries else seq, epoch)
        read = _Reading(seqs, None)
        return Changes(told, self._seal(user, read), read.is_behind(standings))

    def _seal(self, user: UserId, reading: "_Reading") -> str:
        return self.seals.seal(_PURPOSE, reading.dump(user))


@dataclass(frozen=True)
class _Reading:
    """How far a client is: (seq, epoch) of each namespace, and where in a snapshot it stands, if in one."""

    seqs: dict[NamespaceId, tuple[int, int]]
    snapshot: tuple[NamespaceId, Place | None] | None

    @classmethod
    def begin(cls, standings: dict[NamespaceId, Standing]) -> "_Reading":
        seqs = {standing.id: (standing.seq, standing.epoch) for standing in standings.values()}
        return cls(seqs, (min(standings), None))

    @classmethod
    def load(cls, content: bytes, user: UserId) -> "_Reading":
        document = json.loads(content)
        if document["user"] != user:
            raise CursorReset("this cursor is another user's; start again without one")
        seqs = {NamespaceId(ns): (seq, epoch) for ns, seq, epoch in document["at"]}
        if document["in"] is None:
            return cls(seqs, None)
        ns, seq, position = document["in"]
        return cls(seqs, (NamespaceId(ns), None if seq is None else Place(seq, position)))

    def dump(self, user: UserId) -> bytes:
        inside: list[Any] | None = None
        if self.snapshot is not None:
            ns, place = self.snapshot
            inside = [ns, place.seq if place else None, place.position if place else None]
        at = [[ns, seq, epoch] for ns, (seq, epoch) in self.seqs.items()]
        return json.dumps({"user": user, "at": at, "in": inside}, separators=(",", ":")).encode()

    def is_behind(self, standings: dict[NamespaceId, Standing]) -> bool:
        """Whether a journal goes on; one that the user came to since the cursor was made is not read at all."""
        return any(standing.seq > self.seqs.get(ns, (0, 0))[0] for ns, standing in standings.items())

    def check(self, standings: dict[NamespaceId, Standing]) -> None:
        for ns, (seq, epoch) in self.seqs.items():
            standing = standings.get(ns)
            if standing is not None and (standing.epoch != epoch or seq > standing.seq):
                raise CursorReset("the journal began anew since this cursor; start again without one")
