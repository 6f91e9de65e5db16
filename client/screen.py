"""What the command shows: results on standard output, everything else on standard error.

A script that asked for JSON gets one document, whatever happens; a person at a terminal gets tables and a
progress bar. Names come from other people, so nothing in them may steer the terminal.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from client.errors import CommandFailed, Stopped
from client.report import Done, Report, Skipped

Document = dict[str, Any]
"""What is printed as JSON: made here and in the commands, and read by nobody inside."""


def shown(text: str) -> str:
    """`text` with every character that isn't printable spelled out."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def json_line(document: Mapping[str, Any]) -> str:
    # Names of local files may hold bytes that are no text; JSON can't, so they are spelled out.
    return json.dumps(_text(document), ensure_ascii=False, separators=(",", ":"))


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value


def error_member(error: CommandFailed) -> Document:
    return {"code": error.code, "message": str(error), "exit_code": error.exit_code}


class Screen:
    """Where a command's output goes.

    `has_told` is whether this command has printed a document: an interrupt behind its result adds no other.
    """

    has_told: ClassVar[bool] = False

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def note(self, text: str) -> None:
        """Something good to know, for people."""
        if not self.quiet:
            print_err(shown(text))

    def complain(self, text: str) -> None:
        """Something that went wrong; --quiet doesn't hide it."""
        print_err(shown(f"strata: {text}"))

    def result(self, document: Document, text: str | None = None) -> None:
        """The one result of the command: the document as JSON, or else the text (a note, not for scripts)."""
        if self.as_json:
            self._tell(document)
        elif text:
            self.note(text)

    def fail(self, error: CommandFailed) -> None:
        """The one result, when there is nothing else to tell."""
        if self.as_json and not (Screen.has_told and isinstance(error, Stopped)):
            self._tell({"error": error_member(error)})
        else:
            self.complain(str(error))

    @staticmethod
    def _tell(document: Document) -> None:
        line = json_line(document)
        Screen.has_told = True  # what an interrupt keeps from being printed now is printed at the end
        print_out(line)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows for people; for a pipe, lines with tabs, which nothing cuts off."""
        if not self.at_terminal:
            for row in rows:
                print_out("\t".join(shown(cell) for cell in row))
            return
        from rich.console import Console  # loading it takes as long as a short command
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for column in columns:
            table.add_column(
                column, overflow="fold", justify="right" if column in ("Size", "Version") else "left"
            )
        for row in rows:
            table.add_row(*(shown(cell) for cell in row))
        Console(markup=False, highlight=False, emoji=False).print(table)

    @contextmanager
    def transfer(self, verb: str, total: tuple[int, int] | None) -> Iterator[Report]:
        """A report whose counts are shown while they grow; `total` is files and bytes, None when not known."""
        if not self.shows_progress:
            yield Report(keep_all=self.as_json, say=self.complain, remark=self.note)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        with Progress(*columns, console=console, transient=True) as by_bytes:
            files, size = total or (None, None)
            bytes_task = by_bytes.add_task(verb, total=size)
            count = 0

            def one_more(done: int) -> None:
                nonlocal count
                count += done
                of = f" of {files:,}" if files else ""
                by_bytes.update(bytes_task, description=f"{verb} {count:,}{of}")

            yield Report(
                keep_all=self.as_json,
                on_bytes=lambda done: by_bytes.advance(bytes_task, done),
                on_files=one_more,
                say=self.complain,
                remark=self.note,
            )

    @property
    def at_terminal(self) -> bool:
        """Whether results go to a person's terminal."""
        return sys.stdout.isatty()

    @property
    def shows_progress(self) -> bool:
        return sys.stderr.isatty() and not self.as_json and not self.quiet


def print_err(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def print_out(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def summary(report: Report) -> str:
    """A transfer in one line."""
    from rich import filesize

    counts = report.counts
    words = [
        f"{counts[status]:,} {status}" for status in ("committed", "received", "unchanged") if counts[status]
    ]
    line = f"{', '.join(words) or 'nothing to do'}: {filesize.decimal(report.bytes)}"
    if counts["committed"]:
        line += f", {filesize.decimal(report.bytes_sent)} sent"
    for status, word in (("skipped", "passed over"), ("failed", "failed")):
        if counts[status]:
            line += f"; {counts[status]:,} {word}"
    return line


def report_document(report: Report) -> Document:
    """A transfer as JSON shows it; sizes in bytes."""
    totals: Document = {
        status: report.counts[status]
        for status in ("committed", "unchanged", "received", "failed", "skipped")
    }
    totals |= {"bytes": report.bytes, "bytes_sent": report.bytes_sent}
    return {
        "files": [_file(done) for done in report.done],
        "skipped": [_skipped(skipped) for skipped in report.skipped],
        "totals": totals,
    }


def _file(done: Done) -> Document:
    document: Document = {
        "status": done.status,
        "source": done.source,
        "target": done.target,
        "size": done.size,
    }
    if done.error:
        return document | {"error": error_member(done.error)}
    return document | {"file_id": done.file_id, "version_id": done.version_id, "version": done.version}


def _skipped(skipped: Skipped) -> Document:
    document: Document = {"path": skipped.path, "reason": skipped.reason}
    return document | {"error": error_member(skipped.error)} if skipped.error else document
