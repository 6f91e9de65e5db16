"""A file on its way into the folder: blocks arrive in a part file beside its place, which is then renamed.

The part is named after the version that it will be, so that a run that was killed is gone on with: the blocks which
lie in the part already are recognised by their hashes, whatever state the crash has left it in. Nobody has to remember
anything about it, and so nothing remembered can be wrong.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from client.errors import Stopped
from client.part_file import PartFile
from client.reading import Identity
from client.sync.aside import rename_to_free
from client.sync.local_changes import LocalFolder, Outdated, problem
from client.sync.trees import Fingerprint
from client.targets import nanoseconds
from shared.domain.blocks import BLOCK_SIZE, Buffer, hash_of
from shared.domain.ids import VersionId


class Landing:
    """The part file of one version, to be put at `place`; any number of threads may write to it.

    It is either kept or left: a part that is left is gone on with later, or removed when nobody wants it any more.
    """

    def __init__(self, folder: LocalFolder, place: Path, version: VersionId, size: int) -> None:
        """Open the part; `size` in bytes. Raises LocalProblem, Outdated when there is no folder for it."""
        self.place = place
        self._folder = folder
        self._part = part_of(place, version)
        self._settled = False
        try:
            descriptor = _open_own(self._part)
        except (FileNotFoundError, NotADirectoryError):
            raise Outdated(f"{place.parent} is gone") from None
        except OSError as error:
            raise problem(place, error) from None
        self._file = PartFile(descriptor)
        try:
            there = os.fstat(descriptor).st_size
            self.resumes = there > 0
            # A new part of a small file grows by being written.
            if there or size > BLOCK_SIZE:
                os.ftruncate(descriptor, size)
        except OSError as error:
            self.leave()
            raise problem(place, error) from None

    def holds(self, offset: int, size: int, sha256: str) -> bool:
        """Whether the bytes at `offset` are the block with this hash already."""
        try:
            return hash_of(self._file.read(offset, size)) == sha256
        except OSError as error:
            raise problem(self.place, error) from None

    def write(self, content: Buffer, offsets: Iterable[int]) -> None:
        """Write the same content at each offset; raises LocalProblem, and Stopped once the part is left."""
        try:
            if not self._file.write(content, offsets):
                raise Stopped
        except OSError as error:
            self._discard_if_failed()
            raise problem(self.place, error) from None

    def settle(self, modified_at: str) -> None:
        """Give the content its time and have it on the disk; raises LocalProblem, Outdated. What `keep` does otherwise,
        for who keeps many: this part of it may be done while others work, and takes long."""
        moment = nanoseconds(modified_at)
        try:
            if not self._file.settle(self._part, moment):
                raise Outdated(f"{self.place} was left before it was there")
        except FileNotFoundError:
            raise Outdated(f"{self.place.parent} is gone") from None
        except OSError as error:
            self._discard_if_failed()
            raise problem(self.place, error) from None
        self._settled = True

    def keep(self, modified_at: str, replaces: Fingerprint | None) -> Identity:
        """Put the file at its place, if what is there still is what it `replaces`; returns what it is then.

        Its content is on the disk then, its name after `LocalFolder.make_durable`. Raises LocalProblem, Outdated.
        """
        if not self._settled:
            self.settle(modified_at)
        self._file.close()
        try:
            self._put_in_place(replaces)
            status = self.place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise Outdated(f"{self.place.parent} is gone") from None
        except OSError as error:
            raise problem(self.place, error) from None
        self._folder.touch(self.place.parent)
        return Identity.of(status)

    def leave(self) -> None:
        """Close the part and keep what it has."""
        self._file.close()

    def discard(self) -> None:
        """Leave no trace."""
        self.leave()
        with suppress(OSError):  # then it stays a part, and is removed as such
            self._part.unlink()

    def _discard_if_failed(self) -> None:
        """A part that the disk has refused must not be gone on with: what can be read of it may not be there."""
        if self._file.failed:
            self.discard()

    def _put_in_place(self, replaces: Fingerprint | None) -> None:
        if replaces is not None:
            self._folder.replace(self.place, replaces, self._part)
            return
        try:
            # Unlike a rename, a link never replaces what somebody has put there meanwhile.
            os.link(self._part, self.place)
        except FileExistsError:
            raise Outdated(f"{self.place}: something has appeared here") from None
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError:  # a file system without hard links
            self._rename_in_place()
        else:
            self._part.unlink()

    def _rename_in_place(self) -> None:
        try:
            rename_to_free(self._part, self.place)
        except FileExistsError:
            raise Outdated(f"{self.place}: something has appeared here") from None


def part_of(place: Path, version: VersionId) -> Path:
    """The part file of a version that is to land at `place`."""
    return place.parent / f".strata-{version}.part"


def _open_own(part: Path) -> int:
    """Open a part, a new one if there is none; raises OSError.

    A run that was killed right behind its link has left a part that is the file in its place by another name. Writing
    to it would write over whatever somebody has saved there since, so that name goes, and a new part begins.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    file = os.open(part, flags, 0o666)
    if os.fstat(file).st_nlink <= 1:
        return file
    os.close(file)
    part.unlink()
    return os.open(part, flags | os.O_EXCL, 0o666)
