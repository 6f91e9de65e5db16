"""Many small files in one request: how it is written, and how its answer is read.

The body is one line of JSON that says what to commit, then the bytes of blocks, one behind the other. Which
blocks they are is found by their hashes, so nothing has to be said about them but their sizes.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from client.compression import compress, pays
from client.errors import CommandFailed, Unexpected
from client.refusals import error_of
from client.transport import encode
from client.wire import Batched, Committed, Manifest, ManyManifests, Outcome, PackedManifest, decode
from shared.domain.blocks import BlockRef, Buffer, Sha256

MEDIA = "application/vnd.strata.batch"
BLOCKS_MEDIA = "application/vnd.strata.blocks"

MOST_FILES = 1_000
"""Files of one batch: the interface's limit."""

MOST_CONTENT = 8 * 1024 * 1024
"""Plain bytes of the blocks of one batch: the interface's limit."""


class Commit(msgspec.Struct, frozen=True):
    """A commit: `blocks` become the content of a file if its head is still `base` (None for no file).

    The file is the one at `path`, or, where `file_id` is given, that one wherever it is now.
    """

    path: str
    base: str | None
    blocks: Sequence[BlockRef]
    modified_at: datetime
    file_id: str | None = None

    def document(self) -> dict[str, object]:
        """What a commit says of it."""
        target = {"path": self.path} if self.file_id is None else {"file_id": self.file_id}
        return {
            **target,
            "base_version": self.base,
            "blocks": [{"sha256": block.sha256, "size": block.size} for block in self.blocks],
            "modified_at": self.modified_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        }


def write_batch(
    files: Sequence[Commit], contents: Sequence[bytes], *, compressing: bool
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a batch that brings the blocks `contents`."""
    line = encode({"files": [file.document() for file in files], "sizes": [len(each) for each in contents]})
    plain = b"".join((line, b"\n", *contents))
    headers = {"Content-Type": MEDIA}
    # The line always shrinks. What decides is the contents, which are most of what travels.
    if compressing and pays(b"".join(contents) or line) and (frame := compress(plain)):
        return {**headers, "Content-Encoding": "zstd"}, frame
    return headers, plain


class Packed(NamedTuple):
    """A block on its way: `body` holds it, as a zstd frame if it is `compressed`."""

    sha256: Sha256
    body: Buffer
    compressed: bool


def write_blocks(blocks: Sequence[Packed]) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request that brings these blocks and commits nothing."""
    told = [
        {"sha256": each.sha256, "size": len(each.body), "codec": "zstd" if each.compressed else "none"}
        for each in blocks
    ]
    body = b"".join((encode({"blocks": told}), b"\n", *(each.body for each in blocks)))
    return {"Content-Type": BLOCKS_MEDIA}, body


def read_results(body: bytes, files: int) -> list[Committed | CommandFailed]:
    """What became of each file, in order; raises Unexpected for an answer that tells of another number of them."""
    results = _counted(decode(body, Batched, what="sending files").results, files)
    return [_refused(raw) or decode(raw, Committed, what="sending files") for raw in results]


def read_manifests(body: bytes, files: int) -> list[Manifest | CommandFailed]:
    """The manifest of each version, in order; raises Unexpected as `read_results` does."""
    answer = decode(body, ManyManifests, what="reading manifests")
    found: list[Manifest | CommandFailed] = []
    for raw in _counted(answer.manifests, files):
        refusal = _refused(raw)
        if refusal is None:
            packed = decode(raw, PackedManifest, what="reading manifests")
            try:
                found.append(packed.unpacked(answer.urls))
            except IndexError:
                raise Unexpected("a manifest names an address that wasn't told", code="bad_answer") from None
        else:
            found.append(refusal)
    return found


def _counted(answers: Sequence[msgspec.Raw], wanted: int) -> Iterator[bytes]:
    if len(answers) != wanted:
        raise Unexpected(f"the server answered for {len(answers)} of {wanted} files", code="bad_answer")
    return map(bytes, answers)


def _refused(raw: bytes) -> CommandFailed | None:
    status = decode(raw, Outcome, what="reading one answer of many").status
    return None if status < 300 else error_of(status, raw, what="one file of many")
