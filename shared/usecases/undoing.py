"""One undo in its transaction: what a device did is found in the journal, and put back step by step.

Names depend on each other: a file can only return when what took its name has gone. So steps are tried until no more of
them succeed, and where nodes wait for each other's places in a circle, one of them steps aside.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.domain.errors import (
    FolderCycle,
    StrataError,
    TooLarge,
    Unacceptable,
    Unavailable,
    VersionConflict,
)
from shared.domain.ids import NO_VERSION, DeviceId, NamespaceId, NodeId, VersionId
from shared.domain.names import name_key, parse_name
from shared.ports.metadata import Transaction
from shared.ports.system import Ids
from shared.ports.tables_files import NewVersion, Node, NodeKind, NodeState
from shared.ports.tables_journal import Change, ChangeKind, Origin
from shared.usecases.authority import Member
from shared.usecases.tree import (
    DELETED,
    MOVED,
    RESTORED,
    origin_of,
    path_of,
    refuse_taken,
    refuse_too_deep,
)
from shared.usecases.undo_plan import Earlier, Kept, earlier_state

MOST_NODES = 20_000
"""Files and folders of one undo: a transaction that holds its namespace for some seconds."""

MOST_SHOWN = 1_000
"""Files and folders of each kind that the answer names; the others are counted."""


@dataclass(frozen=True, slots=True)
class UndoRequest:
    """What `device` did from `since` to `until`, both included; with `dry_run` it is only told."""

    device: DeviceId
    since: datetime
    until: datetime
    dry_run: bool = False
    namespace: NamespaceId | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        if self.until < self.since:
            raise Unacceptable("the time to undo ends before it begins")


class Undo:
    """One undo in its transaction, behind the namespace's lock."""

    def __init__(
        self, tx: Transaction, member: Member, request: UndoRequest, now: datetime, ids: Ids
    ) -> None:
        self._tx, self._member, self._request, self._now, self._ids = tx, member, request, now, ids
        self._ns = member.namespace
        self._first_seq = tx.namespaces.usage(member.namespace).seq + 1
        self._seqs: dict[NodeId, int] = {}
        self._changes: dict[NodeId, list[Change]] = defaultdict(list)
        self._kept: dict[NodeId, str] = {}
        self._did: dict[NodeId, list[str]] = defaultdict(list)
        self._delta = 0

    def run(self) -> dict[str, Any]:
        wanted = self._wanted()
        states = self._tx.files.states(self._ns, list(wanted))
        before = self._paths(states)
        pending: dict[NodeId, Earlier] = {}
        for node, earlier in wanted.items():
            if isinstance(earlier, Kept):
                self._kept[node] = earlier.reason
            elif node not in states or states[node].purged:
                self._kept[node] = "it was purged for good"
            else:
                pending[node] = earlier
        self._put_back(pending, states)
        self._bring_contents_back(pending, states)
        self._write()
        after = self._paths(self._tx.files.states(self._ns, list(self._did)))
        undone = [
            {
                "id": node,
                "kind": states[node].node.kind.value,
                "path": after.get(node),
                "was": before.get(node),
                "did": did,
            }
            for node, did in self._did.items()
        ]
        kept = [
            {"id": node, "path": before.get(node), "reason": reason} for node, reason in self._kept.items()
        ]
        return {
            "undone": undone[:MOST_SHOWN],
            "undone_count": len(undone),
            "kept": kept[:MOST_SHOWN],
            "kept_count": len(kept),
            "seq": self._first_seq + len(self._seqs) - 1,
        }

    def _wanted(self) -> Mapping[NodeId, Earlier | Kept]:
        request = self._request
        theirs = self._tx.journal.changed_by(
            self._ns, request.device, since=request.since, until=request.until
        )
        nodes = {node for _, node in theirs}
        if len(nodes) > MOST_NODES:
            raise TooLarge(
                f"the device changed {len(nodes)} files and folders then: choose a shorter time",
                limit=MOST_NODES,
            )
        if not theirs:
            return {}
        histories: dict[NodeId, list[tuple[int, datetime, Change]]] = defaultdict(list)
        for entry in self._tx.journal.history(self._ns, nodes, since_seq=theirs[0][0]):
            histories[entry[2].node].append(entry)
        return {
            node: earlier_state(
                node, histories[node], request.device, since=request.since, until=request.until
            )
            for node in sorted(nodes, key=lambda one: histories[one][-1][0], reverse=True)
        }

    def _paths(self, states: Mapping[NodeId, NodeState]) -> Mapping[NodeId, str]:
        living = [one.node for one in states.values() if not one.deleted and not one.purged]
        return self._tx.files.paths(self._ns, living)

    # -- places -------------------------------------------------------------------------------------------------

    def _put_back(self, pending: Mapping[NodeId, Earlier], states: Mapping[NodeId, NodeState]) -> None:
        """Delete, restore and move until nothing more can be; what is left stays, with its reason."""
        left = {node: earlier for node, earlier in pending.items() if _changes_place(earlier, states[node])}
        parked: set[NodeId] = set()
        while left:
            waiting = len(left)
            refused: dict[NodeId, str] = {}
            for node, earlier in list(left.items()):
                try:
                    self._put_one_back(earlier, states[node])
                except Unavailable:
                    raise
                except StrataError as error:
                    refused[node] = str(error)
                else:
                    del left[node]
            if len(left) == waiting and not self._park_one(left, refused, states, parked):
                if parked & refused.keys():
                    raise Unacceptable("these changes hang together in a way that can't be undone in one go")
                self._kept.update(refused)
                return

    def _put_one_back(self, earlier: Earlier, state: NodeState) -> None:
        node, ns = state.node, self._ns
        if earlier.lived is False:
            if node.kind is NodeKind.FOLDER:
                self._refuse_filled(node.id)
            self._delete(node)
            return
        place = earlier.place or Origin(_parent_of(node), node.name)
        name = parse_name(place.name)
        if not self._tx.files.is_living(ns, place.parent):
            raise Unacceptable("the folder that it was in is gone")
        if self._tx.files.is_within(ns, place.parent, node.id):
            raise FolderCycle("it would come to lie within itself")
        refuse_taken(self._tx, ns, place.parent, name, node.id)
        above = path_of(self._tx, ns, place.parent).rstrip("/") if place.parent != NodeId(ns) else ""
        refuse_too_deep(self._tx, ns, node.id, f"{above}/{name.text}")
        if state.deleted:
            self._tx.trash.restore(ns, node.id, place.parent, name)
            self._note(node, RESTORED[node.kind], "restored", origin=origin_of(node))
        else:
            self._tx.files.move_node(ns, node.id, place.parent, name)
            self._note(node, MOVED[node.kind], "moved", origin=origin_of(node))

    def _delete(self, node: Node) -> None:
        self._note(node, DELETED[node.kind], "deleted")
        self._tx.files.delete_node(self._ns, node.id, seq=self._seqs[node.id])

    def _refuse_filled(self, folder: NodeId) -> None:
        for kind in NodeKind:
            if self._tx.files.children(self._ns, folder, kind, after=None, limit=1):
                raise Unacceptable("it holds what isn't undone")

    def _park_one(
        self,
        left: Mapping[NodeId, Earlier],
        refused: Mapping[NodeId, str],
        states: Mapping[NodeId, NodeState],
        parked: set[NodeId],
    ) -> bool:
        """Where nodes wait for each other's places in a circle, give one of them a name that nobody wants."""
        waits: dict[NodeId, NodeId] = {}
        for node in refused:
            place = left[node].place
            if place and not states[node].deleted and left[node].lived is not False:
                there = self._tx.files.child(self._ns, place.parent, name_key(place.name))
                if there and there.id != node and there.id in refused:
                    waits[node] = there.id
        for start in waits:
            seen: set[NodeId] = set()
            here = start
            while here in waits and here not in seen:
                seen.add(here)
                here = waits[here]
            if here == start and start not in parked and start in seen:
                parked.add(start)
                name = parse_name(f"undo {start}")
                self._tx.files.move_node(self._ns, start, _parent_of(states[start].node), name)
                return True
        return False

    # -- contents -----------------------------------------------------------------------------------------------

    def _bring_contents_back(
        self, pending: Mapping[NodeId, Earlier], states: Mapping[NodeId, NodeState]
    ) -> None:
        firsts = {
            earlier.first_version: node
            for node, earlier in pending.items()
            if earlier.first_version and earlier.lived is not False and node not in self._kept
        }
        bases = self._tx.files.bases(self._ns, list(firsts))
        sources = self._tx.files.versions_by_id(self._ns, list(bases.values()))
        edges = self._tx.blocks.of_versions(self._ns, list(sources))
        new: list[NewVersion] = []
        for first, node in firsts.items():
            state, base = states[node], bases.get(first, NO_VERSION)
            head = state.node.head
            if head is None:
                continue
            if base not in sources:
                self._kept[node] = "the content that it had is not kept any more"
                continue
            source = sources[base][1]
            if (source.root_hash, source.size) == (head.root_hash, head.size):
                continue
            version = replace(
                source, id=VersionId(self._ids.new()), number=head.number + 1, created_at=self._now
            )
            self._note(state.node, ChangeKind.FILE_CHANGED, f"version {source.number}", version=version.id)
            version = replace(version, seq=self._seqs[node])
            if not self._tx.files.swap_head(self._ns, node, head.id, version.id):
                raise VersionConflict("a file was changed meanwhile", head=None)
            keys = [block.key for block in edges.get(base, ())]
            new.append(NewVersion(node, version, head.id, self._member.user_id, self._member.device_id, keys))
            self._delta += source.size - head.size
        if new:
            self._tx.blocks.keep(sorted({key for one in new for key in one.blocks}))
            self._tx.files.add_versions(self._ns, new)

    # -- the journal --------------------------------------------------------------------------------------------

    def _note(
        self,
        node: Node,
        kind: ChangeKind,
        did: str,
        *,
        version: VersionId | None = None,
        origin: Origin | None = None,
    ) -> None:
        # Each node has a seq of its own, so that no page of the journal or the trash has to hold all of them.
        self._seqs.setdefault(node.id, self._first_seq + len(self._seqs))
        self._changes[node.id].append(Change(kind, node.id, version, self._member.device_id, origin))
        self._did[node.id].append(did)

    def _write(self) -> None:
        if not self._seqs:
            return
        last = self._tx.namespaces.advance(self._ns, delta=self._delta, by=len(self._seqs))
        assert last == self._first_seq + len(self._seqs) - 1, "the namespace was not locked"
        for node, seq in self._seqs.items():
            self._tx.journal.record(self._ns, seq, self._changes[node], now=self._now)


def _changes_place(earlier: Earlier, state: NodeState) -> bool:
    if earlier.lived is False:
        return not state.deleted
    if earlier.lived is True and state.deleted:
        return True
    place = earlier.place
    return place is not None and (place.parent, place.name) != (state.node.parent, state.node.name)


def _parent_of(node: Node) -> NodeId:
    if node.parent is None:
        raise Unacceptable("the root has no other place")
    return node.parent
