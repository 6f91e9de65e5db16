"""What one round needs: contents, trees, the planner, and hands to carry the plan out with."""

import socket
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from client.crew import Crew
from client.errors import LocalProblem
from client.sync.actions import (
    KeepBoth,
    MakeFolderRemote,
    MoveLocal,
    Plan,
    Record,
    Upload,
)
from client.sync.base_rows import BaseRows
from client.sync.care import Held, Limits, hold
from client.sync.contents import Contents
from client.sync.database import Database
from client.sync.decisions import Decisions, Trees
from client.sync.downloading import Downloader
from client.sync.executing import Executor, Hands
from client.sync.ignoring import Ignoring
from client.sync.ledger import Ledger
from client.sync.local_changes import LocalFolder
from client.sync.manifests import Manifests
from client.sync.outcomes import Stuck
from client.sync.planning import plan
from client.sync.remote import ROOT, RemoteFollower, load_remote
from client.sync.run_outcome import shown_path
from client.sync.scanning import Scan, asking, scan_folder
from client.sync.tally import Tally
from client.sync.trees import Here, LocalTree, Names, RemoteTree
from client.sync.under_way import UnderWay
from client.sync.uploading import Done as Uploaded
from client.sync.uploading import Uploader

if TYPE_CHECKING:
    from client.sync.rounds import Line, Wishes


class Done(msgspec.Struct, frozen=True):
    """What carrying out a plan has come to: whether it has stamped what was here already, and whether it has left
    nothing to do that was not there to be seen when it was made."""

    stamps: bool
    settles: bool


class OneRound:
    """Plans and carries out, round after round; what got stuck stays so for the whole run."""

    def __init__(
        self,
        database: Database,
        root: Path,
        line: "Line",
        crew: Crew,
        follower: RemoteFollower,
        wishes: "Wishes",
        tally: Tally,
    ) -> None:
        self._database = database
        self._line = line
        self._crew = crew
        self._follower = follower
        self._wishes = wishes
        self._tally = tally
        self._folder = LocalFolder(root)
        self._contents = Contents(database, root)
        self._manifests = Manifests(database)
        self._under_way = UnderWay(database)
        self._stuck = Stuck()
        self._ignoring = Ignoring()
        self._unread: dict[Names, LocalProblem] = {}
        self._trees = Trees({}, LocalTree({}), RemoteTree(ROOT, {}))
        self.digest: str | None = None
        """That of the scan which was planned for, if every change since then leaves another one."""

    def plan(self, scan: Scan, ignoring: Ignoring) -> Plan:
        """What to do about what was seen; reads the files that may have changed."""
        self._unread = {}
        self._ignoring = ignoring
        entries = self._contents.entries(
            scan.entries, self._crew, on_trouble=lambda path, error: self._unread.update({path: error})
        )
        self.digest = None if self._contents.doubtful else scan.digest
        for path in scan.holding:
            if path in entries:
                entries[path] = msgspec.structs.replace(entries[path], holds_unsynced=True)
        local = LocalTree(entries, frozenset(scan.unlisted))
        self._trees = Trees(BaseRows(self._database).load(), local, load_remote(self._database))
        name = socket.gethostname() or "unnamed"
        here = Here(name, _today(), frozenset(self._stuck.keys), self._under_way.load())
        return plan(self._trees.base, self._trees.local, self._trees.remote, device=here, ignoring=ignoring)

    def reasons_to_hold(self, made: Plan) -> tuple[str, ...]:
        """Why somebody has to confirm the plan first; none when nobody has to."""
        if self._wishes.confirmed:
            return ()
        verdict = hold(made, Limits())
        return verdict.reasons if isinstance(verdict, Held) else ()

    def carry_out(self, made: Plan) -> Done:
        """Do what the plan says, as far as it still holds.

        Raises the failure that ends the run.
        """
        ledger = Ledger(self._database, self._folder, self._contents, self._trees.base)
        hands = Hands(
            self._line.api,
            self._crew,
            self._folder,
            self._follower,
            self._manifests,
            ledger,
            self._under_way,
            self._uploader,
            Downloader(
                self._line.api,
                self._line.reader,
                self._crew,
                self._folder,
                self._contents,
                self._manifests,
                on_bytes=self._tally.on_bytes,
            ),
            self._appeared,
        )
        complete = Executor(hands, self._trees, self._tally, self._stuck).run(made)
        return Done(
            stamps=any(isinstance(action, _STAMPING) for action in made.actions),
            settles=complete
            and not made.reports
            and not self.troubled
            and all(isinstance(action, _UPWARD) for action in made.actions),
        )

    @property
    def troubled(self) -> bool:
        """Whether something was left undone that the next run should look at again."""
        return bool(self._unread or self._stuck.keys)

    def finish(self) -> None:
        """Tell what could not be read in the end, and let go of what nothing names any more."""
        for path, error in self._unread.items():
            self._tally.failed(shown_path(path), error)
        self._manifests.let_go()
        Decisions(self._database).trim()

    def _appeared(self) -> set[tuple[int, int]]:
        """What is at another path than when the plan was made, by (device, inode)."""
        entries = self._trees.local.entries
        now = scan_folder(self._folder.root, asking(self._ignoring)).entries
        return {
            (found.fingerprint.device, found.fingerprint.inode)
            for path, found in now.items()
            if path not in entries or entries[path].fingerprint.inode != found.fingerprint.inode
        }

    def _uploader(self, done: Uploaded) -> Uploader:
        return Uploader(
            self._line.api,
            self._crew,
            self._folder,
            self._manifests,
            compressing=self._wishes.compressing,
            done=done,
            on_bytes=self._tally.on_bytes,
            on_sent=self._tally.sent,
        )


_UPWARD = (Record, Upload, MakeFolderRemote)
# A download is not among them: what it has put here is known, whenever it was stamped.
_STAMPING = (KeepBoth, MoveLocal)


def _today() -> str:
    return datetime.now().astimezone().date().isoformat()
