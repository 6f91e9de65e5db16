"""`strata up`, `down`."""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import Event
from typing import Annotated

from client.api import Api
from client.arguments import Argument, Option
from client.block_fetching import BlockReader
from client.block_putting import BlockPutter
from client.block_sending import ROOM
from client.connection import logged_in
from client.crew import Crew
from client.errors import CommandFailed, Conflicting, Ended, LocalProblem, Misuse, Refused, Stopped
from client.http import Http
from client.options import Common, JobsOption
from client.receiving import FILES_UNDER_WAY, Receiver, Wanted, receive_stream
from client.remote_paths import RemotePath, parse_remote
from client.remote_tree import contents, look_up
from client.report import Report
from client.screen import Screen, error_member, report_document, summary
from client.sending import Sender
from client.sources import measure, plan_sources, walk
from client.targets import check_space, safe_below
from client.wire import RemoteFile
from shared.domain.blocks import BLOCK_SIZE
from shared.domain.names import name_key


def up(
    common: Common,
    paths: Annotated[
        list[str],
        Argument(
            "LOCAL... [REMOTE]",
            help="Files and folders, or `-` for standard input. The last of several is the remote path.",
        ),
    ],
    to: Annotated[
        str | None,
        Option("--to", metavar="REMOTE", help="The remote path, when all arguments are local."),
    ] = None,
    force: Annotated[
        bool,
        Option("--force", "-f", help="Put the content on top of a version that appeared meanwhile."),
    ] = False,
    no_compress: Annotated[bool, Option("--no-compress", help="Send blocks as they are.")] = False,
    direct: Annotated[
        bool,
        Option("--direct", help="Put blocks straight into storage (uncompressed), not through the gateway."),
    ] = False,
    jobs: JobsOption = 8,
) -> None:
    """Make local files the current content of remote ones.

    Only blocks that the server lacks travel. A remote path that ends with a slash is a folder to put things in;
    without one it is the file's, or the tree's, own new path. Symbolic links and special files are passed over.

    Examples:

      strata up report.pdf                  becomes /report.pdf

      strata up report.pdf /office/           becomes /office/report.pdf

      strata up photos /backup              what is in photos is then in /backup

      strata up --to /office/ *.txt           each becomes /office/NAME

      pg_dump db | strata up - /db.sql      standard input
    """
    screen = common.screen
    sources, target = _split(paths, to)
    stop = Event()
    planned = [] if sources == ["-"] else plan_sources([Path(source) for source in sources], target)
    total = measure(planned) if screen.shows_progress and planned else None
    with (
        logged_in(common.place, stop, connections=jobs) as api,
        Http(jobs) if direct else nullcontext() as storage,
    ):
        putter = BlockPutter(storage, stop) if storage else None

        def send(report: Report) -> None:
            with Crew(jobs, room=ROOM, stop=stop) as crew:
                sender = Sender(api, crew, report, compressing=not no_compress, force=force, direct=putter)
                if not planned:
                    sender.send_stream(sys.stdin.buffer, target)
                for source, path in planned:
                    sender.send_all(walk(source, path), tree=path if source.is_dir() else None)
                sender.finish()

        _transfer(screen, "up", total, send)


def down(
    common: Common,
    remote: Annotated[str, Argument("REMOTE", help="A remote file or folder; `/` is everything.")],
    local: Annotated[
        str | None, Argument("[LOCAL]", help="Where to; `-` is standard output. Default: here.")
    ] = None,
    force: Annotated[bool, Option("--force", "-f", help="Replace local files that exist.")] = False,
    jobs: JobsOption = 8,
) -> None:
    """Fetch remote files and folders.

    Each block is verified before its file appears, and a file appears whole or not at all. A local path that ends
    with a slash is a folder to put things in.

    Examples:

      strata down /office/report.pdf          becomes ./report.pdf

      strata down /office/report.pdf old.pdf

      strata down /backup photos            what is in /backup is then in photos

      strata down /db.sql - | psql db       standard output
    """
    screen = common.screen
    path = parse_remote(remote)
    if local == "-" and screen.as_json:
        raise Misuse("--json and the file's content can't both have standard output")
    stop = Event()
    with logged_in(common.place, stop, connections=jobs) as api, Http(jobs) as storage:
        reader = BlockReader(storage, stop)
        file = look_up(api, path)
        if local == "-":
            if file is None:
                raise Refused(f"{path} is a folder: standard output takes one file")
            remote_file = file

            def pour(report: Report) -> None:
                with Crew(jobs, room=jobs * 2 * BLOCK_SIZE, stop=stop) as crew:
                    receive_stream(api, crew, reader, report, remote_file, sys.stdout.buffer)

            _transfer(screen, "down", (1, file.size_bytes), pour)
            return
        wanted = [_file_target(file, local)] if file else _tree_targets(api, path, local)
        size = sum(one.remote.size_bytes for one in wanted)
        if wanted:
            check_space(wanted[0].local.parent, size)

        def receive(report: Report) -> None:
            with Crew(jobs, room=FILES_UNDER_WAY, stop=stop) as crew:
                Receiver(api, crew, reader, report, force=force).receive_all(wanted)

        _transfer(screen, "down", (len(wanted), size), receive)


def _split(paths: list[str], to: str | None) -> tuple[list[str], RemotePath]:
    """Sources and target as they were typed; raises Misuse when they can't be told apart."""
    if to is not None:
        sources, target = paths, parse_remote(to)
    elif len(paths) == 1:
        sources, target = paths, RemotePath((), into=True)
    else:
        sources, target = paths[:-1], parse_remote(paths[-1])
        if not paths[-1].startswith("/") and Path(paths[-1]).exists():
            # With `strata up *.txt` the shell makes the last file look like a target.
            raise Misuse(
                f"{paths[-1]!r} exists here: is it to be sent, or is it the remote path? Write /{paths[-1]} for a "
                "remote path, or name the target with --to and everything else is sent"
            )
    if "-" in sources:
        if len(sources) > 1 or target.into or not target.names:
            raise Misuse("standard input needs one remote path for itself: strata up - /name")
        return sources, target
    return sources, RemotePath(target.names, into=True) if len(sources) > 1 else target


def _file_target(file: RemoteFile, local: str | None) -> Wanted:
    name = file.path.rpartition("/")[2]
    if local is None:
        return Wanted(file, safe_below(Path(), (name,)))
    if local.endswith("/") or Path(local).is_dir():
        return Wanted(file, safe_below(Path(local), (name,)))
    if not Path(local).absolute().parent.is_dir():
        raise LocalProblem(
            f"{local}: there is no such folder to put it in (with a slash at the end it is made)"
        )
    return Wanted(file, Path(local))


def _tree_targets(api: Api, path: RemotePath, local: str | None) -> list[Wanted]:
    """Everything below `path` and the local paths for it; makes the local folders, empty ones too.

    A name that can't be kept here refuses the whole run, before a byte of content has come.
    """
    into = local is None or local.endswith("/")
    root = safe_below(Path(local or "."), path.names[-1:] if into else ())
    if os.path.lexists(root) and not root.is_dir():
        raise Conflicting(f"{root} exists and is not a folder", code="local_exists")
    try:
        root.mkdir(parents=True, exist_ok=True)
        wanted: list[Wanted] = []
        for content in contents(api, path, recursive=True):
            for folder in content.folders:
                safe_below(root, _below(path, folder.path)).mkdir(parents=True, exist_ok=True)
            wanted += [Wanted(file, safe_below(root, _below(path, file.path))) for file in content.files]
    except OSError as error:
        raise LocalProblem(f"{error.filename}: {error.strerror}") from None
    return wanted


def _below(root: RemotePath, path: str) -> tuple[str, ...]:
    """The names that lead from `root` to `path`, as the server spelled them; raises Refused outside of it."""
    names = tuple(path.removeprefix("/").split("/"))
    depth = len(root.names)
    keys = [name_key(name) for name in names[:depth]]
    if keys != [name_key(name) for name in root.names] or len(names) == depth:
        raise Refused(f"the server names {path!r}, which is not below {root}", code="name_refused")
    return names[depth:]


def _transfer(
    screen: Screen, verb: str, total: tuple[int, int] | None, work: Callable[[Report], None]
) -> None:
    """Do `work` and tell what came of it, also when it ended early; raises Ended with the exit code."""
    failure: CommandFailed | None = None
    with screen.transfer(verb, total) as report:
        try:
            work(report)
        except CommandFailed as error:
            failure = error
        except KeyboardInterrupt:
            failure = Stopped()
    outcome = failure or report.error
    document = report_document(report)
    if outcome:
        document["error"] = error_member(outcome)
    if failure and not screen.as_json:
        screen.complain(str(failure))
    screen.result(document, summary(report))
    if outcome:
        raise Ended(outcome.exit_code)
