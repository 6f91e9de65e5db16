"""One run of `strata sync`: look, plan, carry out, and again until there is nothing left to do.

A plan is made of what was seen, and people work on meanwhile: what an action finds changed it leaves, and the next
round sees it. So a run is over when a plan comes out empty. Mostly that is the second one. It need not be made where
nothing was written here: after a plan of uploads that were all done, with the folder as it was and a journal that tells
of these uploads only, it can only be empty.

When a run ends with nothing open, the state of the folder is kept as one digest. A run that sees the same digest, and
hears from the server that nothing has changed, is done after one call, and without looking at a single row.
"""

from collections.abc import Callable, Container, Iterable
from pathlib import Path
from threading import Event
from time import time

import msgspec

from client.api import Api
from client.block_fetching import BlockReader
from client.crew import Crew
from client.errors import Held, LocalProblem, Refused
from client.sync.actions import Plan
from client.sync.database import Database
from client.sync.digest import Walk, digest_of
from client.sync.ignoring import IGNORE_FILE, PART_PREFIX, Ignoring
from client.sync.remote import RemoteFollower
from client.sync.run_outcome import Outcome
from client.sync.scanning import Scan, asking, scan_folder
from client.sync.settled import Settled, keep, kept, settled_as
from client.sync.tally import Tally

MOST_ROUNDS = 12
"""Rounds of one run. Each settles something, so more are needed only while somebody works at the same time."""

FILES_UNDER_WAY = 64
"""Downloads that are open at once."""

SETTLING = 0.025
"""Seconds between what was moved here and the next look, so that no time is too young for it: more than a step of the
clock that stamps files (scanning.py)."""

OLD_PART = 24 * 3600
"""Seconds after which a part that another command has left is removed."""


class Wishes(msgspec.Struct, frozen=True):
    """What was asked for. `confirmed` lets a held plan pass; `jobs` is how many requests are under way at once."""

    jobs: int = 8
    compressing: bool = True
    confirmed: bool = False
    dry_run: bool = False


class Line(msgspec.Struct, frozen=True):
    """The server, as one run sees it: `stop` ends every pause, and the run."""

    api: Api
    reader: Callable[[], BlockReader]
    stop: Event


class Sync:
    """The folder `root` and what is remembered about it."""

    def __init__(self, database: Database, root: Path, wishes: Wishes, tally: Tally) -> None:
        self._database = database
        self._root = root
        self._wishes = wishes
        self._tally = tally

    def run(self, line: Line, outcome: Outcome, walk: Walk | None = None) -> None:
        """Bring both sides together, telling `outcome` as it goes.

        `walk` tells that the journal was read to its end just now, and that the folder has changed. Raises the failure
        that ended the run (no server, no login, Stopped, Held); what was done by then is done.
        """
        with Crew(self._wishes.jobs, room=FILES_UNDER_WAY, stop=line.stop) as crew:
            follower = RemoteFollower(line.api, self._database)
            ignoring = read_ignores(self._root)
            state = None if walk else kept(self._database)
            if state and self._is_settled(state, crew, follower, ignoring):
                state.tell(outcome)
                keep(self._database, state)
                return
            if not (walk or state):
                crew.submit(follower.follow, urgent=True)
            # Mostly nothing has changed, and this isn't needed. It takes a moment to load, while the server answers.
            from client.sync.one_round import OneRound

            scan = self._scan(ignoring, outcome, walk)
            crew.drain()
            work = OneRound(self._database, self._root, line, crew, follower, self._wishes, self._tally)
            for _ in range(MOST_ROUNDS):
                outcome.rounds += 1
                follower.listen()
                plan = work.plan(scan, ignoring)
                outcome.reports = plan.reports
                if outcome.plan is None and not plan.is_empty:
                    outcome.plan = plan
                if plan.is_empty or self._wishes.dry_run:
                    break
                outcome.held = work.reasons_to_hold(plan)
                if outcome.held:
                    raise Held(
                        f"nothing was done: {'; '.join(outcome.held)}. If that is meant, say so with --confirm"
                    )
                done = work.carry_out(plan)
                ignoring = read_ignores(self._root)
                if done.settles and self._stays(work.digest, crew, follower, ignoring):
                    plan = Plan()
                    break
                crew.submit(follower.follow, urgent=True)
                if done.stamps:
                    line.stop.wait(SETTLING)
                scan = self._scan(ignoring, outcome)
                crew.drain()
            else:
                self._tally.failed(".", LocalProblem("it keeps changing: run it again later", code="changed"))
            work.finish()
            if not self._wishes.dry_run:
                if plan.is_empty:
                    remove_parts(scan.parts, wanted=())
                outcome.settled = plan.is_empty and not plan.reports and not work.troubled
                state = None
                if outcome.settled and work.digest:
                    state = settled_as(work.digest, len(scan.entries), scan.passed_over)
                keep(self._database, state)

    def _is_settled(self, state: Settled, crew: Crew, follower: RemoteFollower, ignoring: Ignoring) -> bool:
        """Whether neither side has changed since the run that left nothing open and kept this."""
        digest = self._follow(crew, follower, ignoring)
        # What the server told has let go of the state that was kept.
        return state.digest == digest and kept(self._database) is not None

    def _stays(self, digest: str | None, crew: Crew, follower: RemoteFollower, ignoring: Ignoring) -> bool:
        """Whether the folder still has the digest, and the server tells of nothing but what came from here."""
        if digest is None:
            return False
        return self._follow(crew, follower, ignoring) == digest and follower.in_step()

    def _follow(self, crew: Crew, follower: RemoteFollower, ignoring: Ignoring) -> str | None:
        """Read the journal and meanwhile the folder's digest, which is returned."""
        crew.submit(follower.follow, urgent=True)
        patterns = (self._root / IGNORE_FILE).exists()
        digest = digest_of(self._root, asking(ignoring) if patterns else None)
        crew.drain()
        return digest

    def _scan(self, ignoring: Ignoring, outcome: Outcome, walk: Walk | None = None) -> Scan:
        scan = scan_folder(self._root, asking(ignoring), walk)
        outcome.passed_over, outcome.entries = scan.passed_over, len(scan.entries)
        return scan


def read_ignores(root: Path) -> Ignoring:
    """What `.strataignore` says; raises Refused for a pattern that can't be understood, LocalProblem."""
    path = root / IGNORE_FILE
    try:
        if path.is_symlink() or not path.is_file():
            return Ignoring()
        return Ignoring(path.read_text("utf-8", "replace").splitlines())
    except OSError as error:
        raise LocalProblem(f"{path}: {error.strerror}", fatal=True) from None
    except ValueError as error:
        raise Refused(f"{path}: {error}", code="bad_pattern") from None


def remove_parts(parts: Iterable[Path], wanted: Container[str]) -> None:
    """Remove part files that nobody goes on with: all of ours but the `wanted` versions', others when they are old."""
    for part in parts:
        version = part.name.removeprefix(PART_PREFIX).removesuffix(".part")
        try:
            status = part.lstat()
            # A file that was put aside has the time of its content.
            old = time() - max(status.st_mtime, status.st_ctime) > OLD_PART
            if (len(version) == _VERSION_DIGITS and version not in wanted) or old:
                part.unlink()
        except OSError:
            continue  # it is gone, or can't be removed: then it is in nobody's way but the disk's


_VERSION_DIGITS = 32
