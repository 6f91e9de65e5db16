"""The blocks of contents that are known here, so that nobody has to be asked about them.

A file that is in step is checked against its blocks without a server; an edit of it is sent as the blocks that are
new; and a content that is here already, at another path, needs no fetching.
"""

from collections.abc import Iterable, Sequence

from client.sync.database import Database
from client.sync.trees import Content
from shared.domain.blocks import BlockRef, Sha256, root_hash

Blocks = Sequence[BlockRef]


class Manifests:
    """The blocks of contents, by root hash. What is asked for is what rows of other tables name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def blocks(self, content: Content) -> Blocks | None:
        """The blocks of a content, in order; None when they were never known, or belong to another size."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT blocks FROM manifests WHERE root_hash = ?", (content.root_hash,)
            ).fetchone()
        if row is None:
            return None
        blocks = _unpack(row[0])
        return blocks if sum(block.size for block in blocks) == content.size else None

    def keep(self, manifests: Iterable[Blocks]) -> None:
        rows = [(root_hash(blocks), _pack(blocks)) for blocks in manifests]
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO manifests VALUES (?, ?)", rows)

    def let_go(self) -> None:
        """Forget the blocks that nothing names any more."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM manifests WHERE root_hash NOT IN"
                " (SELECT root_hash FROM base WHERE root_hash IS NOT NULL UNION SELECT root_hash FROM hashes)"
            )


def _pack(blocks: Blocks) -> bytes:
    return b"".join(bytes.fromhex(block.sha256) + block.size.to_bytes(4) for block in blocks)


def _unpack(packed: bytes) -> Blocks:
    return [
        BlockRef(Sha256(packed[at : at + 32].hex()), int.from_bytes(packed[at + 32 : at + 36]))
        for at in range(0, len(packed), 36)
    ]
