"""`strata sync`, `status`, `why`, `verify`. What they need is loaded when they run: most commands need none of it."""

from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

from client.arguments import Argument, Option
from client.errors import CommandFailed, Ended, NotThere, Stopped, Unreachable
from client.options import Common, JobsOption
from client.screen import Screen, error_member

if TYPE_CHECKING:
    from client.sync.decisions import State
    from client.sync.digest import Walk
    from client.sync.opening import Opened
    from client.sync.rounds import Wishes
    from client.sync.run_outcome import Outcome as RunOutcome
    from client.sync.tally import Tally
    from client.sync.wire_count import WireMeter


def sync(
    common: Common,
    folder: Annotated[Path, Argument("DIR", help="The folder that is kept in step.")],
    watch: Annotated[
        bool,
        Option("--watch", off="--once", help="Go on until Ctrl-C; without, end when both sides are equal."),
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", "-n", help="Show what would be done.")] = False,
    confirm: Annotated[
        bool, Option("--confirm", help="Carry out also what would delete or replace much.")
    ] = False,
    accept_folder: Annotated[
        bool,
        Option("--accept-folder", help="Take DIR for the folder that was at this path before."),
    ] = False,
    interval: Annotated[
        float,
        Option(
            "--interval",
            least=1.0,
            most=86_400.0,
            help="With --watch: seconds between questions to the server.",
        ),
    ] = 30.0,
    limit_up: Annotated[
        float | None, Option("--limit-up", least=1.0, help="KiB a second to the server, at most.")
    ] = None,
    limit_down: Annotated[
        float | None, Option("--limit-down", least=1.0, help="KiB a second from the server, at most.")
    ] = None,
    no_compress: Annotated[bool, Option("--no-compress", help="Send blocks as they are.")] = False,
    jobs: JobsOption = 8,
) -> None:
    """Make a local folder and your tree on the server equal, and keep them so.

    Edits, moves and deletions go both ways. What was changed on both sides is kept twice, the local state as a
    conflicted copy; what is deleted goes to the server's trash. `.strataignore` in DIR names what stays out, in the
    syntax of gitignore. `strata why PATH` tells why something happened.

    Examples:

      strata sync ~/Strata

      strata sync ~/Strata --dry-run

      strata sync ~/Strata --watch
    """
    from client.sync.at_hand import at_hand
    from client.sync.run_outcome import Outcome
    from client.sync.tally import Tally
    from client.sync.wire_count import Limits, WireMeter

    screen, stop, outcome = common.screen, Event(), Outcome()
    meter = WireMeter(stop, Limits(limit_up and limit_up * 1024, limit_down and limit_down * 1024))
    walk: Walk | None = None
    with at_hand(common.place, folder) as at:
        if not watch and not dry_run:
            from client.sync.glance import Glance, glance

            seen, walk = glance(at, meter, outcome)
            if seen is Glance.UNCHANGED:
                _tell_run(screen, folder, outcome, Tally(say=screen.complain), meter)
                return
        from client.sync.opening import opened
        from client.sync.rounds import Wishes

        wishes = Wishes(jobs, compressing=not no_compress, confirmed=confirm, dry_run=dry_run)
        with opened(at, meter, jobs=jobs, accept_folder=accept_folder) as there:
            if watch and not dry_run:
                from client.sync.watching import watch_folder

                watch_folder(there, wishes, screen, interval=interval)
            else:
                _sync_once(there, wishes, screen, outcome, stop, walk)


def status(
    common: Common,
    folder: Annotated[Path, Argument("DIR", help="A folder that is kept in step.")],
) -> None:
    """Tell how a synced folder stands: what has changed here since the last sync, and whether the server has news.

    Nothing is done about it, and a sync may run at the same time.
    """
    from client.connection import logged_in
    from client.retrying import Patience
    from client.sync.opening import remembered
    from client.sync.standing import standing_of

    screen, place = common.screen, common.place
    with remembered(place, folder) as (found, database):
        standing = standing_of(found, database, place.home)
        news: bool | None = None
        try:
            with logged_in(place, Event(), patience=Patience(tries=2)) as api:
                news = bool(api.changes(database.get("cursor"), limit=1).changes)
        except Unreachable:
            screen.note("the server can't be reached now")
    here = (
        "nothing has changed here since"
        if standing.as_before
        else f"since then {standing.new:,} new, {standing.changed:,} changed, {standing.gone:,} gone here"
    )
    there = {True: "; the server has news", False: "; the server has none", None: ""}[news]
    document = {
        "folder": str(found.path),
        **{name: getattr(standing, name) for name in standing.__struct_fields__},
        "server_has_news": news,
    }
    running = "; a sync is running" if standing.running else ""
    last = standing.finished_at or "never"
    screen.result(document, f"last in step: {last}, {standing.in_step:,} entries; {here}{there}{running}")


def why(
    common: Common,
    path: Annotated[Path, Argument("PATH", help="A file or folder in a synced folder.")],
) -> None:
    """Tell why a sync did what it did to a path: what both sides were, the rule, and what came of it.

    The path need not exist any more.
    """
    from client.sync.decisions import Decisions
    from client.sync.standing import memory_about

    screen = common.screen
    with memory_about(path, common.place.home) as (database, inside):
        decided = Decisions(database).about(inside)
    if decided is None:
        raise NotThere(f"{path}: nothing was decided about it yet")
    sides = {"base": decided.base, "local": decided.local, "remote": decided.remote}
    document = {
        "path": decided.path,
        "decided_at": decided.decided_at,
        "rule": decided.rule,
        "why": decided.sentence,
        "action": decided.action,
        "outcome": decided.outcome,
        **{
            side: state and {name: getattr(state, name) for name in state.__struct_fields__}
            for side, state in sides.items()
        },
    }
    if screen.as_json:
        screen.result(document)
        return
    words = {"base": "last in step", "local": "then here", "remote": "then on the server"}
    rows = [("path", decided.path), ("decided", decided.decided_at)]
    for side, state in sides.items():
        rows.append((words[side], _side(state)))
    rows += [
        ("why", f"{decided.sentence} ({decided.rule})"),
        ("done", decided.action),
        ("outcome", decided.outcome),
    ]
    screen.table(("", ""), rows)


def verify(
    common: Common,
    folder: Annotated[Path, Argument("DIR", help="A folder that is kept in step.")],
    offline: Annotated[
        bool, Option("--offline", help="Compare with the last manifests that were seen, asking nobody.")
    ] = False,
    jobs: JobsOption = 4,
) -> None:
    """Read every file that is in step, and compare it with what the server has, block by block.

    This finds what a disk has damaged without anybody writing to it. Files that were edited since the last sync are
    told apart. Nothing is changed.
    """
    from contextlib import nullcontext

    from client.connection import logged_in
    from client.sync.opening import remembered
    from client.sync.verifying import Verifier, damage

    screen, place = common.screen, common.place
    stop = Event()
    with (
        remembered(place, folder) as (found, database),
        nullcontext() if offline else logged_in(place, stop, connections=jobs) as api,
        screen.transfer("verify", None) as report,
    ):
        result = Verifier(database, found.path, api, on_bytes=report.advance).run(jobs=jobs, stop=stop)
    worst = damage(result)
    document = {
        "folder": str(found.path),
        "counts": {name: result.counts.get(name, 0) for name in _VERDICTS},
        "bytes": result.bytes,
        "findings": [
            {
                "path": each.path,
                "verdict": each.verdict,
                "reason": each.reason,
                "bad_blocks": [{"offset": offset, "size": size} for offset, size in each.bad_blocks],
            }
            for each in result.findings
        ],
    }
    for each in result.findings:
        (screen.complain if each.verdict in ("damaged", "unknown") else screen.note)(
            f"{each.path}: {each.verdict}: {each.reason}"
        )
    if worst:
        document["error"] = error_member(worst)
    counted = ", ".join(f"{result.counts[name]:,} {name}" for name in _VERDICTS if result.counts.get(name))
    screen.result(document, f"{counted or 'nothing is in step yet'}: {result.bytes:,} bytes read")
    if worst:
        raise Ended(worst.exit_code)


_VERDICTS = ("intact", "edited", "missing", "damaged", "unknown")


def _side(state: "State | None") -> str:
    if state is None:
        return "nothing"
    size = "" if state.size is None else f", {state.size:,} bytes"
    root = "" if state.root_hash is None else f", content {state.root_hash[:12]}"
    return f"{state.kind} {state.name!r}{size}{root}"


def _sync_once(
    there: "Opened",
    wishes: "Wishes",
    screen: Screen,
    outcome: "RunOutcome",
    stop: Event,
    walk: "Walk | None",
) -> None:
    """One run, told when it is over; raises Ended with the exit code."""
    from client.sync.rounds import Sync
    from client.sync.tally import Tally

    failure: CommandFailed | None = None
    with screen.transfer("sync", None) as report:
        tally = Tally(say=screen.complain, remark=screen.note, on_bytes=report.advance)
        try:
            Sync(there.database, there.folder.path, wishes, tally).run(there.line(stop), outcome, walk)
        except CommandFailed as error:
            failure = error
        except KeyboardInterrupt:
            failure = Stopped()
    _tell_run(screen, there.folder.path, outcome, tally, there.meter, failure, with_plan=wishes.dry_run)


def _tell_run(
    screen: Screen,
    folder: Path,
    outcome: "RunOutcome",
    tally: "Tally",
    meter: "WireMeter",
    failure: CommandFailed | None = None,
    *,
    with_plan: bool = False,
) -> None:
    """Tell what a run has come to; raises Ended with the exit code."""
    from client.sync.run_outcome import shown_path
    from client.sync.summary import notes, run_document, run_line

    for each in outcome.passed_over:
        if each.error:
            tally.failed(shown_path(each.path), each.error)
    for note in notes(outcome):
        screen.note(note)
    worst = failure or tally.error
    document = {"folder": str(folder.resolve()), **run_document(outcome, tally, meter.count)}
    if with_plan:
        from client.sync.plan_summary import plan_document, plan_lines

        document["plan"] = plan_document(outcome)
        if not screen.as_json:
            screen.table(("What", "Path", "Why"), list(plan_lines(outcome)))
    if worst:
        document["error"] = error_member(worst)
    if failure and not screen.as_json:
        screen.complain(str(failure))
    screen.result(document, run_line(outcome, tally, meter.count))
    if worst:
        raise Ended(worst.exit_code)
