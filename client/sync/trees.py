"""What `strata sync` plans with: three trees. `actions` has what makes them one.

A sync that compares only two trees can't tell "made here" from "deleted there", and guesses. So a third is kept:
the *base*, what both sides were when they were last seen equal. A difference from it is a change, and has a side.

* The **local** tree is known by paths: a file system has no better name for a file.
* The **remote** tree is known by node ids, as the journal tells it: a node that moves keeps its id.
* The **base** has the remote's shape, so that moving a folder rewrites one row, whatever is below.

Times, dates, the machine: all come in from outside, so that a test can replay every decision.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from shared.domain.blocks import Sha256
from shared.domain.ids import NodeId, VersionId

Names = tuple[str, ...]
"""A path below the folder that is synced, outermost name first; the empty one is that folder itself."""


class Kind(StrEnum):
    FILE = "file"
    FOLDER = "folder"


class Content(msgspec.Struct, frozen=True):
    """What is in a file: its root hash, and its size in bytes."""

    root_hash: Sha256
    size: int


class Fingerprint(msgspec.Struct, frozen=True):
    """By what a file is taken for unchanged without reading it: bytes, nanoseconds, and the file system's own number.

    A folder's `size` and `mtime_ns` are 0, since they change with what is in it. `inode` is 0 where there is no number.
    """

    size: int
    mtime_ns: int
    inode: int
    device: int


class LocalEntry(msgspec.Struct, frozen=True):
    """A file or folder as the scan found it, `path` in the spelling of the disk.

    `content` is None for folders, and for a file that could not be read: then nothing is decided about what is in it.
    `holds_unsynced` says of a folder that something directly in it is left out of the scan: ignored, a symbolic link,
    a name that can't be sent. It is not deleted with the folder, so the folder stays as well.
    """

    path: Names
    kind: Kind
    content: Content | None
    fingerprint: Fingerprint
    holds_unsynced: bool = False


class RemoteEntry(msgspec.Struct, frozen=True):
    """A node as the journal last told it. `content` and `version_id` are None for folders.

    `modified_at` is the time that the client stated for the content, ISO 8601, "" for folders.
    """

    node_id: NodeId
    parent_id: NodeId
    name: str
    kind: Kind
    content: Content | None = None
    version_id: VersionId | None = None
    modified_at: str = ""


class BaseEntry(msgspec.Struct, frozen=True):
    """What a node was when both sides last were seen equal; `name` is the server's spelling.

    `fingerprint` is the local file's at that time: while it stays the same, the content is taken to be the same.
    """

    node_id: NodeId
    parent_id: NodeId
    name: str
    kind: Kind
    content: Content | None = None
    version_id: VersionId | None = None
    fingerprint: Fingerprint | None = None


class LocalTree(msgspec.Struct, frozen=True):
    """What a scan found, without the root itself.

    What is missing below a folder in `unlisted` (it could not be read) was not seen, which is not the same as deleted.
    The same holds for everything when the scan is not `complete`.
    """

    entries: Mapping[Names, LocalEntry]
    unlisted: frozenset[Names] = frozenset()
    complete: bool = True


class RemoteTree(msgspec.Struct, frozen=True):
    """All nodes that the journal has told of, followed to its end; never a part of a snapshot.

    Those that hang below a deleted folder may be among them: they are out of the tree, since their way up is broken.
    """

    root_id: NodeId
    entries: Mapping[NodeId, RemoteEntry]


BaseTree = Mapping[NodeId, BaseEntry]
"""By node id, without the root. Empty before the first sync."""


class Here(msgspec.Struct, frozen=True):
    """The device that plans: its `name` and `today` (ISO 8601) are in the names of conflicted copies.

    `stuck` are nodes, and paths of local entries without one, that an earlier action of this run could not be carried
    out for, for a reason that stays: they are left where they are on both sides, so that the rest can go on.

    `under_way` is what the latest plan was to bring to the server: the content of each Upload, by node, or by remote
    path for new files; and None for each node that a DeleteRemote names or covers. Each plan that is carried out
    replaces it as a whole, durably: behind its Records and Forgets, before anything else. A kill may have left on the
    server what came from here and has no base row. Without knowing that, a file that was edited once more would be in
    conflict with itself, and one that was brought back here would be deleted again.
    """

    name: str
    today: str
    stuck: frozenset[NodeId | Names] = msgspec.field(default_factory=frozenset)
    under_way: Mapping[NodeId | Names, Content | None] = msgspec.field(default_factory=dict)
