"""What a file or folder was before a device's last changes to it: pure, from the journal alone.

Only the *run* counts: the changes of that device, in the given time, that nobody's change came after. What somebody
else built upon stays, since taking away its ground would undo their work too.

    ann creates, bob edits                  ann's run is empty: the file stays
    ann edits, bob edits, ann moves, edits  her move and second edit are the run; bob's content comes back
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.domain.ids import DeviceId, NodeId, VersionId
from shared.ports.tables_journal import Change, ChangeKind, Origin

_CREATED = {ChangeKind.FILE_CREATED, ChangeKind.FOLDER_CREATED}
_DELETED = {ChangeKind.FILE_DELETED, ChangeKind.FOLDER_DELETED}
_RESTORED = {ChangeKind.FILE_RESTORED, ChangeKind.FOLDER_RESTORED}
_PURGED = {ChangeKind.FILE_PURGED, ChangeKind.FOLDER_PURGED}


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a node was before the run, as far as the run touched it.

    `lived` says whether it was in the tree, None when that didn't change; `place` is where, `first_version` the first
    version that the run made: the content before is that version's base.
    """

    node: NodeId
    lived: bool | None
    place: Origin | None
    first_version: VersionId | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A node that stays as it is, and why."""

    node: NodeId
    reason: str


def earlier_state(
    node: NodeId,
    history: Sequence[tuple[int, datetime, Change]],
    device: DeviceId,
    *,
    since: datetime,
    until: datetime,
) -> Earlier | Kept:
    """What `node` was before the run of `device`; `history` are its changes, all devices', in order."""
    run: list[Change] = []
    for _, at, change in reversed(history):
        if change.device != device or not since <= at <= until:
            break
        run.insert(0, change)
    if not run:
        by_other = history[-1][2].device != device
        return Kept(node, "another device has changed it since" if by_other else "it was changed again later")
    kinds = [change.kind for change in run]
    if any(kind in _PURGED for kind in kinds):
        return Kept(node, "it was purged for good")
    lived: bool | None = None
    for kind in kinds:
        if kind in _CREATED | _RESTORED | _DELETED:
            lived = kind in _DELETED
            break
    place = next((change.origin for change in run if change.origin), None)
    version = next((change.version for change in run if change.kind is ChangeKind.FILE_CHANGED), None)
    return Earlier(node, lived, place, version)
