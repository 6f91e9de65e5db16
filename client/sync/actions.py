"""What a plan of `strata sync` consists of.

What executes a plan owes this to it, and the proofs about losing nothing lean on it:

* Actions are carried out in their order. Each names what must still be so (a fingerprint, a version): if it is not,
  nothing is done, and a new plan is made from a new look. A structural action that fails (a folder, a move, KeepBoth)
  ends the round; a transfer or deletion that fails ends only itself.
* The base row that an action leaves is written when the action is done and durable, before the next one of that node.
  A crash between the two is harmless: the next plan sees both sides equal, and records that.
* A new plan is made until one comes out without actions. Each action settles something that no later one unsettles
  (docs/sync.md), so that ends, unless somebody works at the same time.
"""

import msgspec

from client.sync.rules import Rule
from client.sync.trees import BaseEntry, Content, Fingerprint, Kind, Names
from shared.domain.ids import NodeId, VersionId


class Record(msgspec.Struct, frozen=True):
    """Both sides are equal: `entry` becomes the node's base row. Nothing else is touched.

    Here and below, `instead_of` is a node of the base that is gone on the server, and whose place this one takes: in
    the same transaction its row goes, and the rows that have it as `parent_id` get the new id there.
    """

    rule: Rule
    entry: BaseEntry
    instead_of: NodeId | None = None


class Forget(msgspec.Struct, frozen=True):
    """The node's base row goes: it is gone on both sides, or what is left of it is new. Nothing else is touched."""

    rule: Rule
    node_id: NodeId


class KeepBoth(msgspec.Struct, frozen=True):
    """Something local gives way, with all that is in it: it is renamed from `path` to `copy`, which must be free.

    For a file, its fingerprint must still be `fingerprint`, for a folder its inode. If `node_id` is not None, its base
    row goes *before* the rename (otherwise a crash between the two would look like a move made here). The copy is
    uploaded later in the plan, as something new.
    """

    rule: Rule
    path: Names
    copy: Names
    kind: Kind
    fingerprint: Fingerprint
    node_id: NodeId | None = None


class MakeFolderLocal(msgspec.Struct, frozen=True):
    """`path` must be free. The base row: the node at (`parent_id`, `path[-1]`), with the new folder's fingerprint.

    Here and below, `parent_id` is None when the folder above was made by a MakeFolderRemote of this same plan: then it
    is the id which that one brought for `path[:-1]`.
    """

    rule: Rule
    path: Names
    node_id: NodeId
    parent_id: NodeId | None
    name: str


class MakeFolderRemote(msgspec.Struct, frozen=True):
    """The local folder `local_path` is made at `path`. The base row: the new node's, with `fingerprint`."""

    rule: Rule
    path: Names
    local_path: Names
    parent_id: NodeId | None
    fingerprint: Fingerprint
    instead_of: NodeId | None = None


class MoveLocal(msgspec.Struct, frozen=True):
    """What is at `source` moves to `target`, which must be free; a file's fingerprint (a folder's inode) is as stated.

    If `settles`, the base row's place becomes (`parent_id`, `name`) and nothing else of it changes: both sides are
    there now. Otherwise it stays. Without `node_id` there is no base row.
    """

    rule: Rule
    source: Names
    target: Names
    kind: Kind
    fingerprint: Fingerprint
    node_id: NodeId | None
    parent_id: NodeId | None
    name: str
    settles: bool


class MoveRemote(msgspec.Struct, frozen=True):
    """The node moves from `source` to `target`, whose folder is there. `settles` as in MoveLocal."""

    rule: Rule
    node_id: NodeId
    source: Names
    target: Names
    kind: Kind
    parent_id: NodeId | None
    settles: bool


class Upload(msgspec.Struct, frozen=True):
    """The local file `path` becomes a version: of `node_id`, based on `base_version`; without one, of a new file.

    The local file's fingerprint must be `fingerprint` before and after it is read. A new file goes to `remote_path`
    with no base, so that a file which appeared there meanwhile is never replaced. A version conflict means to plan
    again. The base row: for a node that is known only content, version and fingerprint change, not its place; for a
    new one all, its name being `remote_path[-1]`.
    """

    rule: Rule
    path: Names
    remote_path: Names
    content: Content
    fingerprint: Fingerprint
    parent_id: NodeId | None
    node_id: NodeId | None = None
    base_version: VersionId | None = None
    instead_of: NodeId | None = None


class Download(msgspec.Struct, frozen=True):
    """The node's content, at `version_id`, appears at `path` whole, and only if what is there still is `replaces`.

    `replaces` None: nothing may be there. The base row: content, version and the written file's fingerprint; a node
    that has no row yet gets one at (`parent_id`, `name`), one that has keeps its place.
    """

    rule: Rule
    path: Names
    node_id: NodeId
    version_id: VersionId
    content: Content
    modified_at: str
    parent_id: NodeId | None
    name: str
    replaces: Fingerprint | None = None


class DeleteLocal(msgspec.Struct, frozen=True):
    """A file goes if its fingerprint is as stated (the server has its content, in the trash), a folder if it is empty.

    Never recursive: what the plan doesn't know, stays. Then the base row goes.
    """

    rule: Rule
    path: Names
    node_id: NodeId
    kind: Kind
    fingerprint: Fingerprint


class DeleteRemote(msgspec.Struct, frozen=True):
    """The node goes to the trash, with all that is below it: exactly `covers`, a version for each file.

    If the server can't be held to that (another device has put something there since), it is asked right before,
    and what slipped in between is in the trash, not lost. Then the base rows of the node and of `covers` go.
    """

    rule: Rule
    path: Names
    node_id: NodeId
    kind: Kind
    version_id: VersionId | None = None
    covers: tuple[tuple[NodeId, VersionId | None], ...] = ()


class Report(msgspec.Struct, frozen=True):
    """Something that is left as it is, and why: for people. It is not an action, and comes back in every plan."""

    rule: Rule
    path: Names


Action = (
    Record
    | Forget
    | KeepBoth
    | MakeFolderLocal
    | MakeFolderRemote
    | MoveLocal
    | MoveRemote
    | Upload
    | Download
    | DeleteLocal
    | DeleteRemote
)


class Plan(msgspec.Struct, frozen=True):
    """What to do, in order, and what to tell. `base_files` is how many files were in step before, for the brakes."""

    actions: tuple[Action, ...] = ()
    reports: tuple[Report, ...] = ()
    base_files: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing to do, not even to record."""
        return not self.actions
