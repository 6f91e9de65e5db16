"""Local files to send: what is named on the command line, and what is below it.

A tree is walked one folder at a time and never held as a whole. What isn't a regular file is passed over with a
note: following a symbolic link could leave the tree or go round in circles, and reading a pipe never ends. Two
names that Strata can't keep apart (`a` and `A`, or one name in two Unicode forms) would overwrite each other in
turn, so the second is refused here.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client.errors import CommandFailed, Conflicting, LocalProblem, Refused
from client.remote_paths import RemotePath
from shared.domain.names import name_key


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to send to `target`; `siblings` files are sent to the same folder, about."""

    path: Path
    target: RemotePath
    siblings: int


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Something that isn't sent, and why; `error` when that makes the run a failure."""

    path: Path
    reason: str
    error: CommandFailed | None = None


Found = LocalFile | PassedOver


def plan_sources(sources: list[Path], target: RemotePath) -> list[tuple[Path, RemotePath]]:
    """Which remote path each source gets, before anything is read.

    Raises LocalProblem for one that isn't there, Refused or Conflicting for one without a place of its own.
    """
    for source in sources:
        if not os.path.lexists(source):
            raise LocalProblem(f"{source}: no such file or folder", code="local_not_found")
    if len(sources) == 1 and not target.into:
        if not target.names and not sources[0].is_dir():
            raise Refused("the root is a folder: write a name behind the slash, or `/` with a trailing slash")
        return [(sources[0], target)]
    planned: dict[str, Path] = {}
    pairs: list[tuple[Path, RemotePath]] = []
    for source in sources:
        # "." and ".." have no name of their own.
        name = source.name or source.resolve().name if source.name != ".." else source.resolve().name
        earlier = planned.setdefault(name_key(name), source)
        if earlier is not source:
            raise Conflicting(
                f"{earlier} and {source} would both become {target.child(name)}", code="name_exists"
            )
        pairs.append((source, target.child(name)))
    return pairs


def walk(source: Path, target: RemotePath) -> Iterator[Found]:
    """Everything at and below `source`, in the order of names; raises nothing about single files."""
    try:
        mode = os.lstat(source).st_mode
    except OSError as error:
        yield PassedOver(source, "unreadable", LocalProblem(f"{source}: {error.strerror}"))
        return
    if stat.S_ISDIR(mode):
        yield from _walk_folder(source, target)
    else:
        yield _found(source, mode, target, siblings=1)


def _walk_folder(folder: Path, target: RemotePath) -> Iterator[Found]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield PassedOver(folder, "unreadable", LocalProblem(f"{folder}: {error.strerror}"))
        return
    taken: dict[str, str] = {}
    for entry in entries:
        path = folder / entry.name
        try:
            child = target.child(entry.name)
            _take_name(taken, entry.name)
            mode = entry.stat(follow_symlinks=False).st_mode
        except OSError as error:
            yield PassedOver(path, "unreadable", LocalProblem(f"{path}: {error.strerror}"))
        except CommandFailed as error:
            yield PassedOver(path, "refused", error)
        else:
            if stat.S_ISDIR(mode):
                yield from _walk_folder(path, child)
            else:
                yield _found(path, mode, child, siblings=len(entries))


def _found(path: Path, mode: int, target: RemotePath, *, siblings: int) -> Found:
    if stat.S_ISREG(mode):
        return LocalFile(path, target, siblings)
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
    return PassedOver(path, kind)


def _take_name(taken: dict[str, str], name: str) -> None:
    other = taken.setdefault(name_key(name), name)
    if other != name:
        raise Conflicting(f"{name!r} can't stand beside {other!r}: one name to Strata", code="name_exists")


def measure(sources: list[tuple[Path, RemotePath]]) -> tuple[int, int]:
    """How many files and bytes a walk would find now: for the progress bar, not for decisions."""
    files = size = 0
    for source, target in sources:
        for found in walk(source, target):
            if isinstance(found, LocalFile):
                files += 1
                try:
                    size += found.path.lstat().st_size
                except OSError:
                    continue  # gone since: the transfer itself will say so
    return files, size
