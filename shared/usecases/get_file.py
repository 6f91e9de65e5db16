"""One file: its state, or the manifest of one of its versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.accounts import Caller
from shared.domain.errors import FileNotFound
from shared.domain.ids import NamespaceId, NodeId, VersionId
from shared.domain.versions import Version
from shared.ports.block_store import BlockStore
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock
from shared.ports.tables_blocks import PlacedBlock
from shared.ports.tables_files import Node, NodeKind
from shared.usecases.authority import file_reader
from shared.usecases.read_urls import read_urls


@dataclass(frozen=True, slots=True)
class File:
    """A living file, and the version of it that was asked for."""

    namespace: NamespaceId
    node: Node
    path: str
    version: Version


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version's blocks in order, each with an address that anybody who has it can read until `expires_at`."""

    file: File
    blocks: Sequence[tuple[PlacedBlock, str]]
    expires_at: datetime


@dataclass(frozen=True)
class GetFile:
    metadata: Metadata

    async def __call__(self, caller: Caller, file_id: NodeId, version: VersionId | None = None) -> File:
        """The file at its head or at `version`; raises FileNotFound."""
        return await self.metadata.read(lambda tx: find_file(tx, caller, file_id, version))


@dataclass(frozen=True)
class GetManifest:
    metadata: Metadata
    store: BlockStore
    clock: Clock
    grant: timedelta

    async def __call__(self, caller: Caller, file_id: NodeId, version: VersionId | None = None) -> Manifest:
        """Raises FileNotFound, Unavailable."""

        def work(tx: Transaction) -> tuple[File, Sequence[PlacedBlock]]:
            file = find_file(tx, caller, file_id, version)
            return file, blocks_of(tx, file)

        file, placed = await self.metadata.read(work)
        expires_at = self.clock.now() + self.grant
        urls = await read_urls(self.store, placed, expires_at=expires_at)
        return Manifest(file, [(block, urls[block.placement.blob]) for block in placed], expires_at)


def blocks_of(tx: Transaction, file: File) -> Sequence[PlacedBlock]:
    """The blocks of the file's version, in order; raises FileNotFound when it was purged since it was found.

    A version without its blocks would otherwise be taken for an empty file.
    """
    placed = tx.blocks.of_version(file.namespace, file.version.id)
    if sum(block.size for block in placed) != file.version.size:
        raise FileNotFound("this version of the file is not kept any more")
    return placed


def find_file(tx: Transaction, caller: Caller, file_id: NodeId, version: VersionId | None) -> File:
    """The file that `caller` may read; raises FileNotFound for all else."""
    namespace = file_reader(tx, caller, file_id).namespace
    node = tx.files.node(namespace, file_id)
    path = tx.files.paths(namespace, [node]).get(file_id) if node else None
    if node is None or node.kind is not NodeKind.FILE or path is None or node.head is None:
        raise FileNotFound("there is no such file")
    if version is None or version == node.head.id:
        return File(namespace, node, path, node.head)
    found = tx.files.version(namespace, file_id, version)
    if found is None:
        raise FileNotFound("the file has no such version")
    return File(namespace, node, path, found)
