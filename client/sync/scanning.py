"""What is in the folder: names, kinds, and the marks by which a file is taken for unchanged without reading it.

A scan meets a tree that others work in. A file that vanishes between its name and its marks was not there. A folder
that can't be listed is *unlisted*: what is below it was not seen, and must never be taken for deleted. Links are
never followed, since they lead out of the tree or round in circles.

The marks are size, time, inode and, for the memory of hashes only, the time of the last change of the inode (ctime),
which programs that set a file's time back don't reach. A clock that stamps files moves in steps: a file that is
written twice within one step looks the same after the second time. So what was stamped just before the scan is *racy*:
its content is believed only until the next look, which reads it again (as git does: "racily clean").
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import time_ns

import msgspec

from client.errors import LocalProblem, Refused
from client.sync.digest import Digest, Ignores, Listing, Marks, Walk, marks_of
from client.sync.ignoring import Ignoring, is_part
from client.sync.kept_names import why_not_kept
from client.sync.run_outcome import PassedOver
from client.sync.trees import Fingerprint, Kind, Names

STEP_NS = 20_000_000
"""Nanoseconds: the steps of Linux's, macOS's and Windows' file times are 1 to 16 ms."""

COARSE_STEP_NS = 2_000_000_000
"""FAT keeps times in steps of two seconds. A time with whole seconds is taken for one of those."""


class Found(msgspec.Struct, frozen=True):
    """An entry of the disk; `ctime_ns` is 0 for folders. `racy`: it was stamped too shortly before the scan."""

    path: Names
    kind: Kind
    fingerprint: Fingerprint
    ctime_ns: int
    racy: bool


class Scan(msgspec.Struct):
    """Everything below a folder. `digest` is equal for two scans between which nothing has changed at all, except in
    what was racy; it is None when that can't be said, because something wasn't seen.

    `holding` are folders with something directly in them that is passed over. `parts` are files on their way here.
    """

    entries: dict[Names, Found] = msgspec.field(default_factory=dict)
    passed_over: list[PassedOver] = msgspec.field(default_factory=list)
    unlisted: set[Names] = msgspec.field(default_factory=set)
    holding: set[Names] = msgspec.field(default_factory=set)
    parts: list[Path] = msgspec.field(default_factory=list)
    digest: str | None = None


def asking(ignoring: Ignoring) -> Ignores:
    """What a `.strataignore` says, as a scan asks it."""

    def ignores(path: Names, is_folder: bool) -> bool:
        return ignoring.covers(path, is_folder=is_folder)

    return ignores


def scan_folder(root: Path, ignores: Ignores, walk: Walk | None = None) -> Scan:
    """Look at everything below `root`; raises LocalProblem when not even that can be listed.

    What a `walk` has met just now isn't asked for again, and is taken out of it.
    """
    scan = Scan()
    digest = Digest()
    ways: list[Names] = [()]
    while ways:
        folder = ways.pop()
        listing = walk.listings.pop(folder, None) if walk else None
        if listing is None:
            listing = _listed(scan, root, folder)
        if listing is None:
            continue
        digest.folder(folder)
        for marks in listing.entries:
            path = (*folder, marks[0])
            kind = Kind.FOLDER if stat.S_ISDIR(marks[1]) else Kind.FILE
            if ignores(path, kind is Kind.FOLDER):
                scan.holding.add(folder)
                continue
            digest.entry(marks)
            passed = _reason_to_pass(path, marks[1])
            if passed:
                scan.passed_over.append(passed)
                scan.holding.add(folder)
                continue
            scan.entries[path] = _found(path, kind, marks, listing)
            if kind is Kind.FOLDER:
                ways.append(path)
    if not scan.unlisted:
        scan.digest = digest.text()
    return scan


def _listed(scan: Scan, root: Path, folder: Names) -> Listing | None:
    """What is in a folder that is to be looked through, None for one that isn't there or can't be listed."""
    began = time_ns()
    try:
        with os.scandir(root.joinpath(*folder)) as listing:
            entries = list(_with_marks(scan, folder, listing))
        return Listing(began, time_ns(), entries)
    except OSError as error:
        if not folder:
            raise LocalProblem(f"{root}: {error.strerror}", fatal=True) from None
        if _has_vanished(root.joinpath(*folder)):
            scan.entries.pop(folder, None)
        else:
            scan.unlisted.add(folder)
            scan.passed_over.append(_unseen(folder, root.joinpath(*folder), error))
    return None


def _with_marks(scan: Scan, folder: Names, listing: Iterable[os.DirEntry[str]]) -> Iterator[Marks]:
    for entry in listing:
        if is_part(entry.name):
            scan.parts.append(Path(entry.path))
            continue
        try:
            yield marks_of(entry.name, entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue
        except OSError as error:
            # It is there, and its kind is unknown: it stands for a whole tree that wasn't seen.
            path = (*folder, entry.name)
            scan.unlisted.add(path)
            scan.passed_over.append(_unseen(path, Path(entry.path), error))


def _found(path: Names, kind: Kind, marks: Marks, listing: Listing) -> Found:
    _, _, inode, device, size, mtime, ctime = marks
    racy = kind is Kind.FILE and is_racy_at(mtime, ctime, listing.began_ns, listing.ended_ns)
    return Found(path, kind, Fingerprint(size, mtime, inode, device), ctime, racy)


def is_racy_at(mtime_ns: int, ctime_ns: int, began_ns: int, ended_ns: int) -> bool:
    """Whether a file was stamped so shortly before it was looked at that another change might leave no trace.

    What is believed of it was seen between `began_ns` and `ended_ns`, at whatever moment: behind a pause, young marks
    would look old.
    """
    coarse = mtime_ns % 10**9 == 0 and ctime_ns % 10**9 == 0
    step = COARSE_STEP_NS if coarse else STEP_NS
    # A still later time (a clock was set back) is no reason: the next change is stamped with another one.
    return any(began_ns - step < stamp <= ended_ns for stamp in (mtime_ns, ctime_ns))


def fingerprint_at(path: Path) -> Fingerprint | None:
    """What is at `path` now, a folder's with size and time 0; None for nothing, or for what isn't synced at all."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return Fingerprint(0, 0, status.st_ino, status.st_dev)
    if stat.S_ISREG(status.st_mode):
        return Fingerprint(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)
    return None


def _reason_to_pass(path: Names, mode: int) -> PassedOver | None:
    if stat.S_ISLNK(mode):
        return PassedOver(path, "a symbolic link")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return PassedOver(path, "not a regular file")
    error = why_not_kept(path[-1])
    if error is None:
        return None
    return PassedOver(path, f"its name can't be kept: {error}", Refused(str(error), code=error.code))


def _unseen(path: Names, there: Path, error: OSError) -> PassedOver:
    reason = f"it can't be looked into: {error.strerror}"
    return PassedOver(path, reason, LocalProblem(f"{there}: {error.strerror}", code="unreadable"))


def _has_vanished(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return True
    except OSError:
        return False
