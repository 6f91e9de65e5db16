"""A plan carried out: in its order, each action checked against what is there, each result written down.

Transfers that follow each other are under way side by side; everything else waits until they are through, because it
may be about what they read or write. An action that finds another state than the plan knew does nothing, and the next
look will know; one that can't be done for a reason that stays (a name, a right) makes its node *stuck*: the next plan
leaves that alone, so that the rest goes on.
"""

from collections.abc import Callable, Sequence, Set
from functools import partial
from itertools import groupby

import msgspec

from client.api import Api
from client.crew import Crew
from client.errors import CommandFailed, Conflicting, NotThere
from client.sync.actions import (
    Action,
    DeleteLocal,
    DeleteRemote,
    Download,
    Forget,
    KeepBoth,
    MakeFolderLocal,
    MakeFolderRemote,
    MoveLocal,
    MoveRemote,
    Plan,
    Record,
    Upload,
)
from client.sync.base_rows import BaseChange, Drop, Put, Replace
from client.sync.decisions import Trees
from client.sync.downloading import Downloader
from client.sync.ledger import Ledger
from client.sync.local_changes import LocalFolder, Outdated
from client.sync.manifests import Manifests
from client.sync.new_folders import NewFolders
from client.sync.outcomes import Outcomes, Stuck
from client.sync.remote import RemoteFollower
from client.sync.run_outcome import shown_path
from client.sync.tally import Tally
from client.sync.transferring import Transfers
from client.sync.trees import BaseEntry, Kind
from client.sync.under_way import UnderWay
from client.sync.uploading import Done, Uploader
from shared.domain.ids import NodeId


class RoundOver(Exception):
    """What comes next in the plan builds on what could not be done."""


class Hands(msgspec.Struct, frozen=True):
    """All that actions are carried out with. The crew's room counts downloads.

    `appeared` looks at the folder again, and tells (device, inode) of what is at other paths than when it was planned.
    """

    api: Api
    crew: Crew
    folder: LocalFolder
    follower: RemoteFollower
    manifests: Manifests
    ledger: Ledger
    under_way: UnderWay
    uploader: Callable[[Done], Uploader]
    downloader: Downloader
    appeared: Callable[[], Set[tuple[int, int]]]


class Executor:
    """Carries out one plan; `trees` are what it was made of."""

    def __init__(self, hands: Hands, trees: Trees, tally: Tally, stuck: Stuck) -> None:
        self._hands = hands
        self._trees = trees
        self._tally = tally
        self._outcomes = Outcomes(hands.ledger, trees, tally, stuck)
        self._folders = NewFolders()
        self._transfers = Transfers(
            hands.crew,
            hands.uploader,
            hands.downloader,
            folders=self._folders,
            ledger=hands.ledger,
            outcomes=self._outcomes,
            manifests=hands.manifests,
            trees=trees,
            tally=tally,
        )
        self._looked = False
        self._appeared: Set[tuple[int, int]] = frozenset()

    def run(self, plan: Plan) -> bool:
        """Carry out what can be, and return whether that was all of it.

        Raises the failure that ended the run (no server, no login, Stopped).

        Whatever was done by then is written down.
        """
        try:
            noted = False
            for kind, actions in groupby(plan.actions, key=_group):
                if kind is not _TRANSFERS:
                    self._hands.crew.drain()
                if not noted and kind not in _BOOKKEEPING:
                    # Behind what an earlier, killed run has left to write down, before anything of this one is done.
                    self._hands.ledger.flush()
                    self._hands.under_way.replace(plan)
                    noted = True
                self._run_group(list(actions))
            self._hands.crew.drain()
        except RoundOver:
            self._hands.crew.drain()
        finally:
            self._transfers.leave_all()
            self._hands.ledger.flush()
        return self._outcomes.count == len(plan.actions)

    def _run_group(self, actions: list[Action]) -> None:
        match actions[0]:
            case Upload() | Download():
                self._transfers.begin(actions)
            case MakeFolderRemote():
                # Side by side, but none before the one above it.
                for _, level in groupby(sorted(actions, key=_depth), key=_depth):
                    if not self._side_by_side(list(level)):
                        raise RoundOver
            case DeleteRemote():
                self._look_again()
                self._side_by_side(actions)
            case _:
                for action in actions:
                    if not self._attempt(action) and not isinstance(action, DeleteLocal):
                        raise RoundOver

    def _look_again(self) -> None:
        """See what has changed on both sides, directly before something is deleted on the server.

        A folder that was moved while the scan went by may be in neither of its places, and looks deleted.
        """
        if not self._looked:
            self._looked = True
            self._hands.follower.catch_up()
            self._appeared = self._hands.appeared()

    def _side_by_side(self, actions: Sequence[Action]) -> bool:
        """Carry out actions that don't depend on each other; whether all were done."""
        done: list[bool] = []
        for action in actions:
            self._hands.crew.submit(partial(self._attempt_into, done, action))
        self._hands.crew.drain()
        return all(done)

    def _attempt_into(self, done: list[bool], action: Action) -> None:
        done.append(self._attempt(action))

    def _attempt(self, action: Action) -> bool:
        """Carry out one action; whether it was done. Raises only what ends the run."""
        try:
            changes = self._do(action)
        except Outdated as error:
            self._outcomes.outdated(action, error)
        except (Conflicting, NotThere) as error:
            self._outcomes.outdated(action, Outdated(str(error)))
        except CommandFailed as error:
            if error.fatal:
                raise
            self._outcomes.failed(action, error)
        else:
            self._outcomes.done(action, changes)
            return True
        return False

    def _do(self, action: Action) -> list[BaseChange]:
        folder, api = self._hands.folder, self._hands.api
        match action:
            case Record():
                return [Put(action.entry, action.instead_of)]
            case Forget():
                return [Drop((action.node_id,))]
            case KeepBoth():
                self._keep_both(action)
                return []
            case MakeFolderLocal():
                parent, marks = self._folders.parent_of(action), folder.make_folder(action.path)
                return [Put(BaseEntry(action.node_id, parent, action.name, Kind.FOLDER, fingerprint=marks))]
            case MakeFolderRemote():
                parent = self._folders.parent_of(action)
                node = NodeId(api.make_folder(_remote(action.path)))
                self._folders.made(action, node)
                name, marks = action.path[-1], action.fingerprint
                row = BaseEntry(node, parent, name, Kind.FOLDER, fingerprint=marks)
                return [Put(row, action.instead_of)]
            case MoveLocal():
                folder.move(action.source, action.target, action.kind, action.fingerprint)
                return self._settled(action, action.name)
            case MoveRemote():
                api.move_node(action.kind.value, action.node_id, _remote(action.target))
                return self._settled(action, action.target[-1])
            case DeleteLocal():
                folder.delete(action.path, action.kind, action.fingerprint)
                return [Drop((action.node_id,))]
            case DeleteRemote():
                self._delete_remote(action)
                return [Drop((action.node_id, *(node for node, _ in action.covers)))]
            case Upload() | Download():
                raise AssertionError("transfers are begun in groups")

    def _keep_both(self, action: KeepBoth) -> None:
        ledger = self._hands.ledger
        if action.node_id is not None:
            ledger.note(changes=[Drop((action.node_id,))])
            ledger.flush()
        self._hands.folder.move(action.path, action.copy, action.kind, action.fingerprint)
        self._tally.conflict(shown_path(action.path), shown_path(action.copy), action.rule.why)

    def _delete_remote(self, action: DeleteRemote) -> None:
        if any(self._is_here(node) for node in (action.node_id, *(node for node, _ in action.covers))):
            raise Outdated(f"{shown_path(action.path)} was being moved here while it was looked for")
        there = self._hands.follower.subtree(action.node_id)
        if there is None:
            return  # it is gone already
        if there != {action.node_id: action.version_id, **dict(action.covers)}:
            raise Outdated(f"{shown_path(action.path)} has changed on the server meanwhile")
        try:
            # The server refuses what another device has changed since that look.
            if action.kind is Kind.FOLDER:
                self._hands.api.delete_folder(action.node_id, as_of=self._hands.follower.cursor)
            else:
                self._hands.api.delete(action.node_id, as_of=self._hands.follower.cursor)
        except NotThere:
            return  # somebody was faster

    def _is_here(self, node: NodeId) -> bool:
        row = self._trees.base.get(node)
        marks = row.fingerprint if row else None
        return marks is not None and (marks.device, marks.inode) in self._appeared

    def _settled(self, action: MoveLocal | MoveRemote, name: str) -> list[BaseChange]:
        if action.node_id is None or not action.settles:
            return []
        return [Replace(action.node_id, self._folders.parent_of(action), name)]


_TRANSFERS = "transfers"
_BOOKKEEPING = frozenset({Record.__name__, Forget.__name__})


def _group(action: Action) -> str:
    return _TRANSFERS if isinstance(action, (Upload, Download)) else type(action).__name__


def _depth(action: Action) -> int:
    return len(action.path) if isinstance(action, MakeFolderRemote) else 0


def _remote(path: tuple[str, ...]) -> str:
    return "/" + "/".join(path)
