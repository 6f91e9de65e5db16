"""Local files that are received: where they may go, and how they appear there whole or not at all.

A name comes from another machine, or from somebody who wishes harm: each is checked again here, and the folder
that it leads to must lie in the one that was asked for. Bytes go to a temporary file beside the target, so that
the last step is a rename in one file system; until then the target is what it was.
"""

import errno
import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from client.errors import Conflicting, LocalProblem, Refused, Stopped
from client.part_file import PartFile
from shared.domain.blocks import BLOCK_SIZE, Buffer
from shared.domain.errors import Malformed, NameRefused
from shared.domain.names import parse_name

SPARE = 16 * 1024 * 1024
"""Bytes that must stay free on the disk: a full one troubles more than this command."""


def safe_below(root: Path, names: tuple[str, ...]) -> Path:
    """The local path of remote `names` below the folder `root`.

    Raises Refused for a name that a system can't hold or that would lead out of `root`, also by way of a
    symbolic link that stands there.
    """
    for name in names:
        try:
            parse_name(name)
        except (Malformed, NameRefused) as error:
            raise Refused(
                f"the server names a file that can't be kept here: {error}", code="name_refused"
            ) from None
    path = root.joinpath(*names)
    if names and not path.parent.resolve().is_relative_to(root.resolve()):
        raise Refused(f"{path} would lie outside of {root}: a symbolic link leads away", code="name_refused")
    return path


def check_free(target: Path, *, force: bool) -> None:
    """Raise Conflicting when something is at `target` that must not be replaced."""
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalProblem(f"{target}: {error.strerror}") from None
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise Conflicting(f"{target} is {kind}, and stays as it is", code="local_exists")
    if not force:
        raise Conflicting(f"{target} exists: --force replaces it", code="local_exists")


def check_space(folder: Path, size: int) -> None:
    """Raise LocalProblem unless the file system of `folder` has room for `size` bytes."""
    import shutil  # loads every kind of compression

    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if size + SPARE > free:
        raise LocalProblem(
            f"{existing}: {size:,} bytes don't fit, {free:,} are free", code="disk_full", fatal=True
        )


class Target:
    """A file that is being received; any number of threads may write to it. It is either kept or discarded."""

    def __init__(self, path: Path, size: int) -> None:
        """Open a temporary file of `size` bytes beside `path`; raises LocalProblem."""
        self.path = path
        self._temporary = path.parent / f".strata-{os.urandom(8).hex()}.part"
        self._settled = False
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._temporary, flags, 0o666)
        except OSError as error:
            raise _problem(path, error) from None
        self._file = PartFile(descriptor)
        try:
            if size > BLOCK_SIZE:  # a smaller one grows by being written
                os.ftruncate(descriptor, size)
        except OSError as error:
            self.discard()
            raise _problem(path, error) from None

    def write(self, content: Buffer, offsets: Iterable[int]) -> None:
        """Write the same content at each offset; raises LocalProblem, and Stopped once it is kept or discarded."""
        try:
            if not self._file.write(content, offsets):
                raise Stopped
        except OSError as error:
            raise _problem(self.path, error) from None

    def settle(self, modified_at: str) -> None:
        """Give the content its time and have it on the disk; raises LocalProblem. `keep` does it otherwise."""
        try:
            moment = nanoseconds(modified_at)
            self._settled = self._file.settle(self._temporary, moment)
        except OSError as error:
            self.discard()
            raise _problem(self.path, error) from None
        except LocalProblem:
            self.discard()
            raise

    def keep(self, modified_at: str, *, force: bool) -> None:
        """Put the file in its place, on the disk and with its time; raises LocalProblem or Conflicting.

        Raises Stopped once it is discarded: then the run is over, and nothing has been received.
        """
        if not self._settled:
            self.settle(modified_at)
        if not self._settled:
            raise Stopped
        self._file.close()
        try:
            _move(self._temporary, self.path, force=force)
        except OSError as error:
            self.discard()
            raise _problem(self.path, error) from None
        except (Conflicting, LocalProblem):
            self.discard()
            raise

    def discard(self) -> None:
        """Leave no trace."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _move(temporary: Path, path: Path, *, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    try:
        # Unlike a rename, a link never replaces what somebody has put there meanwhile.
        os.link(temporary, path)
    except FileExistsError:
        raise Conflicting(f"{path} exists: --force replaces it", code="local_exists") from None
    except OSError:  # a file system without hard links
        check_free(path, force=False)
        temporary.replace(path)
    else:
        temporary.unlink()


def nanoseconds(moment: str) -> int:
    """A time in ISO 8601, UTC unless it says otherwise, as nanoseconds since 1970; raises LocalProblem."""
    try:
        time = datetime.fromisoformat(moment)
    except ValueError:
        raise LocalProblem(
            f"the server states a time that can't be read: {moment!r}", code="bad_answer"
        ) from None
    delta = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return ((delta.days * 86_400 + delta.seconds) * 10**6 + delta.microseconds) * 1_000


def _problem(path: Path, error: OSError) -> LocalProblem:
    # On a full disk the other files would fail as well.
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return LocalProblem(f"{path}: {error.strerror}", code="disk_full" if full else None, fatal=full)
