"""`strata sync --watch`: run after run, until Ctrl-C.

A failure ends a run and not the watch: it is said once, and when the server is away, the next try comes after pauses
that grow. What was saved meanwhile is on the disk, which is where the next run finds it. A login that has ended, or a
folder that is gone, ends the watch, since waiting would not help.
"""

from threading import Event

from client.errors import CommandFailed, NotLoggedIn, Stopped, Unexpected, Unreachable
from client.retrying import Patience
from client.screen import Screen, error_member
from client.sync.binding import bind
from client.sync.folder import find_folder
from client.sync.opening import Opened
from client.sync.rounds import Sync, Wishes
from client.sync.run_outcome import Outcome, shown_path
from client.sync.summary import notes, run_document, run_line
from client.sync.tally import Tally
from client.sync.waking import Listening, Waker
from client.sync.wire_count import WireCount

SHORTEST_PAUSE = 2.0
_PATIENCE = Patience(tries=10**9, first_pause=5.0, longest_pause=300.0)
"""How long to stay away from a server that is away itself, in seconds: the pauses of single calls are shorter."""

_SAID_KEPT = 10_000


class Watch:
    """A folder that is watched. What was said is not said again, until it has been different meanwhile."""

    def __init__(self, there: Opened, wishes: Wishes, screen: Screen) -> None:
        self._there = there
        self._wishes = wishes
        self._screen = screen
        self._said: set[str] = set()
        self._failures = 0

    def run(self) -> float | None:
        """One run; returns after how many seconds to try again, if the server is away. Raises what ends the watch."""
        there = self._there
        folder = find_folder(there.folder.path)
        bind(there.database, folder, url=there.credentials.url, user_id=there.credentials.user_id)
        outcome, tally = Outcome(), Tally(say=self._say, remark=self._screen.note)
        failure: CommandFailed | None = None
        before = there.meter.count
        try:
            Sync(there.database, folder.path, self._wishes, tally).run(there.line(Event()), outcome)
        except (NotLoggedIn, Stopped):
            raise
        except CommandFailed as error:
            failure = error
        for each in outcome.passed_over:
            if each.error:
                tally.failed(shown_path(each.path), each.error)
        self._tell(outcome, tally, failure, before)
        if not isinstance(failure, (Unreachable, Unexpected)):
            self._failures = 0
            return None
        self._failures += 1
        return SHORTEST_PAUSE + (_PATIENCE.pause(self._failures, None) or 0.0)

    def _tell(
        self,
        outcome: Outcome,
        tally: Tally,
        failure: CommandFailed | None,
        before: WireCount,
    ) -> None:
        wire = self._there.meter.since(before)
        did_something = bool(outcome.plan and outcome.plan.actions)
        if failure:
            going_on = "; going on by itself when it is back" if isinstance(failure, Unreachable) else ""
            self._say(f"{failure}{going_on}")
        elif self._failures:
            self._screen.note("the server is back")
            self._said.clear()
        for note in notes(outcome):
            if note not in self._said:
                self._said.add(note)
                self._screen.note(note)
        if self._screen.as_json:
            if did_something or (failure and not self._failures):
                document = {"folder": str(self._there.folder.path), **run_document(outcome, tally, wire)}
                if failure:
                    document["error"] = error_member(failure)
                self._screen.result(document)
        elif did_something:
            self._screen.note(run_line(outcome, tally, wire))

    def _say(self, text: str) -> None:
        if len(self._said) >= _SAID_KEPT:
            self._said.clear()
        if text not in self._said:
            self._said.add(text)
            self._screen.complain(text)


def watch_folder(there: Opened, wishes: Wishes, screen: Screen, *, interval: float) -> None:
    """Keep the folder in step until KeyboardInterrupt, which is how it is meant to end."""
    remote = Listening(lambda stop: there.line(stop).api, there.database, interval)
    blind = "the folder can't be watched ({}); it is looked through every minute instead"
    with Waker(there.folder.path, remote, on_blind=lambda why: screen.complain(blind.format(why))) as waker:
        watch = Watch(there, wishes, screen)
        screen.note(f"watching {there.folder.path}; Ctrl-C ends it")
        try:
            while True:
                waker.wait(pause=watch.run())
        except KeyboardInterrupt:
            screen.note("stopped; what was not in step yet will be by the next run")
