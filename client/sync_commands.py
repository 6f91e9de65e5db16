"""`strata sync`."""

from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from client.errors import CommandFailed, Stopped
from client.options import JobsOption, JsonOption, QuietOption, place_of, screen_of
from client.screen import Screen, error_member

if TYPE_CHECKING:
    from client.sync.opening import Opened
    from client.sync.rounds import Wishes


def sync(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that is kept in step.")],
    watch: Annotated[
        bool, typer.Option("--watch/--once", help="Go on until Ctrl-C, or end when both sides are equal.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done.")] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Carry out also what would delete or replace much.")
    ] = False,
    accept_folder: Annotated[
        bool,
        typer.Option("--accept-folder", help="Take DIR for the folder that was at this path before."),
    ] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", min=1.0, help="With --watch: seconds between questions to the server."),
    ] = 30.0,
    limit_up: Annotated[
        float | None, typer.Option("--limit-up", min=1.0, help="KiB a second to the server, at most.")
    ] = None,
    limit_down: Annotated[
        float | None, typer.Option("--limit-down", min=1.0, help="KiB a second from the server, at most.")
    ] = None,
    no_compress: Annotated[bool, typer.Option("--no-compress", help="Send blocks as they are.")] = False,
    jobs: JobsOption = 8,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
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
    from client.sync.opening import opened
    from client.sync.rounds import Wishes
    from client.sync.wire_count import Limits

    screen = screen_of(context, as_json, quiet)
    limits = Limits(limit_up and limit_up * 1024, limit_down and limit_down * 1024)
    wishes = Wishes(jobs, compressing=not no_compress, confirmed=confirm, dry_run=dry_run)
    stop = Event()
    with opened(
        place_of(context), folder, jobs=jobs, limits=limits, stop=stop, accept_folder=accept_folder
    ) as there:
        if watch and not dry_run:
            from client.sync.watching import watch_folder

            watch_folder(there, wishes, screen, interval=interval)
        else:
            _sync_once(there, wishes, screen, stop)


def _sync_once(there: "Opened", wishes: "Wishes", screen: Screen, stop: Event) -> None:
    """One run, told when it is over; raises typer.Exit with the exit code."""
    from client.sync.decisions import shown_path
    from client.sync.rounds import Outcome, Sync
    from client.sync.summary import notes, plan_document, plan_lines, run_document, run_line
    from client.sync.tally import Tally

    outcome, failure = Outcome(), None
    with screen.transfer("sync", None) as report:
        tally = Tally(say=screen.complain, on_bytes=report.advance)
        try:
            Sync(there.database, there.folder.path, wishes, tally).run(there.line(stop), outcome)
        except CommandFailed as error:
            failure = error
        except KeyboardInterrupt:
            failure = Stopped()
    for each in outcome.passed_over:
        if each.error:
            tally.failed(shown_path(each.path), each.error)
    for note in notes(outcome):
        screen.note(note)
    worst = failure or tally.error
    document = {"folder": str(there.folder.path), **run_document(outcome, tally, there.meter.count)}
    if wishes.dry_run:
        document["plan"] = plan_document(outcome)
        if not screen.as_json:
            screen.table(("What", "Path", "Why"), list(plan_lines(outcome)))
    if worst:
        document["error"] = error_member(worst)
    if failure and not screen.as_json:
        screen.complain(str(failure))
    screen.result(document, run_line(outcome, tally, there.meter.count))
    if worst:
        raise typer.Exit(worst.exit_code)
