"""Getting one block, and making sure that it is the one.

A manifest says where a block's bytes are: a range behind a signed URL, on another host than the API's. The URL
is the permission, so nothing of the login goes there; and it is a secret, so it stands in no message. It
lasts for minutes: a long transfer outlives it, and then a new manifest has new ones.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Lock
from typing import Self, TypeVar

import msgspec

from client.api import Api
from client.block_runs import Landed, Run, Spot, Write
from client.compression import decode
from client.errors import CommandFailed, Corrupt, Unreachable
from client.http import Exchanges
from client.http_addresses import Unsendable
from client.http_answers import HttpFailure, Taker, TooLong
from client.retrying import WORTH_ANOTHER_READ, Patience, parse_retry_after
from client.transport import pause_before_retry
from client.wire import BlockPlace, Manifest
from shared.domain.blocks import BLOCK_SIZE, BlockRef, Buffer, Sha256, hash_of, root_hash

STORED_AT_MOST = BLOCK_SIZE + 64 * 1024
"""Bytes that a stored block may have: a frame that didn't shrink is a little larger than what it holds."""

VERIFY_TRIES = 2
GRANT_TRIES = 4
"""How often a block is asked for with new URLs. More means that they expire at once: a clock is wrong."""


T = TypeVar("T")


class GrantEnded(Exception):
    """The URL gives access no more, or the bytes have moved: a new manifest knows better."""


class BlockReader:
    """Reads ranges behind URLs with a client of its own, which knows nothing of the login."""

    def __init__(self, http: Exchanges, stop: Event, patience: Patience | None = None) -> None:
        self._http = http
        self._stop = stop
        self._patience = patience or Patience()

    def read(self, place: BlockPlace) -> bytearray:
        """The stored bytes at `place`; raises as `read_range`."""
        return self.read_range(place.url, place.offset, place.stored_size)

    def read_range(self, url: str, offset: int, size: int) -> bytearray:
        """`size` bytes at `offset`; raises GrantEnded, Unreachable, Corrupt when there are not that many."""
        body = self._patiently(lambda: self._read_once(url, offset, size, None))
        if len(body) != size:
            raise Corrupt("the storage sends fewer bytes than a block has")
        return body

    def read_run(self, run: Run) -> None:
        """Have a run's blocks come, as many as do; raises as `read_range`, and what the run raises.

        When the connection breaks off, the blocks that came before need not come again, and patience begins anew.
        """
        while run.left:
            try:
                self._patiently(lambda: self._read_left(run))
            except _Onward:
                continue
            return

    def _read_left(self, run: Run) -> None:
        """Read what is left of a run; raises _Onward when that broke off with less left."""
        left = len(run.left)
        try:
            body = self._read_once(run.url, *run.rest(), run.take)
        except HttpFailure:
            if len(run.left) < left:
                raise _Onward from None
            raise
        if body:  # it didn't come as a plain range, and stands in the answer
            run.take(memoryview(body))

    def _patiently(self, read: Callable[[], T]) -> T:
        failures = 0
        while True:
            retry_after: float | None = None
            try:
                return read()
            except TooLong:
                raise Corrupt("the storage sends more bytes than a block has") from None
            except HttpFailure as error:
                trouble = Unreachable(f"the storage can't be reached ({error})")
            except _Again as again:
                trouble, retry_after = Unreachable(f"the storage answers {again.status}"), again.retry_after
            except Unsendable:
                raise Corrupt("a manifest names a place that can't be read") from None
            failures += 1
            pause_before_retry(self._patience, failures, retry_after, self._stop, trouble)

    def _read_once(self, url: str, offset: int, size: int, into: Taker | None) -> bytearray:
        # The bytes are wanted as they are stored: no encoding may be asked for.
        headers = {"Range": f"bytes={offset}-{offset + size - 1}", "Accept-Encoding": "identity"}
        answer = self._http.request("GET", url, headers=headers, most=size, into=into)
        if answer.status in WORTH_ANOTHER_READ:
            raise _Again(answer.status, parse_retry_after(answer.headers.get("retry-after")))
        if answer.status in (401, 403, 404, 410):
            raise GrantEnded
        whole = answer.status == 200 and offset == 0
        if answer.status != 206 and not whole:
            raise Corrupt(f"the storage answers {answer.status} to the range of a block")
        return answer.body


class _Again(Exception):
    def __init__(self, status: int, retry_after: float | None) -> None:
        super().__init__(status)
        self.status, self.retry_after = status, retry_after


class _Onward(Exception):
    """Some of it came: to be gone on with."""


class _Current(msgspec.Struct):
    manifest: Manifest
    generation: int = 0


class VersionReader:
    """The blocks of one version, by their place in it; any number of threads may read."""

    def __init__(
        self,
        api: Api,
        blocks: BlockReader,
        manifest: Manifest,
        stored: dict[int, Buffer] | None = None,
        *,
        checked: bool = False,
    ) -> None:
        """`stored` has the stored bytes of blocks that were fetched already, by their place; each is used once.

        Raises Corrupt for a manifest that contradicts itself, unless that was `checked` before.
        """
        if not checked:
            check(manifest)
        self._api = api
        self._blocks = blocks
        self._lock = Lock()
        self._current = _Current(manifest)
        self._stored = stored or {}
        self._by_blake3 = True

    @classmethod
    def of(cls, api: Api, blocks: BlockReader, file_id: str, version_id: str | None) -> Self:
        """For a version whose manifest is yet to be asked for; raises NotThere, Corrupt."""
        return cls(api, blocks, api.manifest(file_id, version_id))

    @property
    def manifest(self) -> Manifest:
        with self._lock:
            return self._current.manifest

    def block(self, index: int) -> Buffer:
        """The plain bytes of a block, verified; raises Corrupt when they are wrong twice, Unreachable."""
        damaged: CommandFailed | None = None
        grants_ended = verified = 0
        while verified < VERIFY_TRIES and grants_ended < GRANT_TRIES:
            with self._lock:
                generation, place = self._current.generation, self._current.manifest.blocks[index]
            try:
                stored = self._stored.pop(index, None) or self._blocks.read(place)
                plain = decode(stored, place.codec, place.size)
                if hash_of(plain) == place.sha256:
                    return plain
                damaged = Corrupt(
                    f"a block's bytes are not the ones that its hash names ({place.sha256[:12]}…)"
                )
                verified += 1
            except Corrupt as error:
                damaged = error
                verified += 1
            except GrantEnded:
                grants_ended += 1
                self._renew(generation)
        raise damaged or Unreachable("the storage refuses every new grant to read: is a clock wrong?")

    def write_run(self, spots: Sequence[Spot], write: Write, landed: Landed) -> None:
        """Have blocks that lie side by side written at their places, verified; raises as `block`, and as `write` does.

        Bytes may be written that turn out to be wrong: what `landed` was told of counts.
        """
        run = Run(self.manifest.blocks, spots, write, landed, by_blake3=self._by_blake3)
        if self._stored.keys().isdisjoint([spot.block for spot in spots]):
            # That is no failure yet: what has not come is read block by block, with all the tries that one has.
            with suppress(GrantEnded, Corrupt):
                self._blocks.read_run(run)
        for spot in (*run.wrong, *run.left):
            plain = self.block(spot.block)
            if spot in run.wrong:  # perhaps the manifest was, and then it is so for all blocks
                self._by_blake3 = False
            write(plain, spot.offsets)
            landed(len(plain) * len(spot.offsets))

    def _renew(self, seen: int) -> None:
        with self._lock:  # one thread asks, the others find the answer
            if self._current.generation != seen:
                return
            old = self._current.manifest
            new = self._api.manifest(old.file_id, old.version_id)
            check(new)
            if new.root_hash != old.root_hash or len(new.blocks) != len(old.blocks):
                raise Corrupt("a version has another content than a moment ago")
            self._current = _Current(new, seen + 1)


def check(manifest: Manifest) -> None:
    """Raise Corrupt unless the manifest's numbers agree with each other and with the interface's limits."""
    for block in manifest.blocks:
        if not (
            1 <= block.size <= BLOCK_SIZE and 1 <= block.stored_size <= STORED_AT_MOST and block.offset >= 0
        ):
            raise Corrupt("a manifest lists a block of an impossible size")
        if not block.url.startswith(("https://", "http://")):
            raise Corrupt("a manifest names a place that can't be read")
    refs = [BlockRef(Sha256(block.sha256), block.size) for block in manifest.blocks]
    try:
        root = root_hash(refs)
    except ValueError:
        raise Corrupt("a manifest lists a block without a usable hash") from None
    if sum(ref.size for ref in refs) != manifest.size or root != manifest.root_hash:
        raise Corrupt("a manifest doesn't add up to the version that it describes")
