"""One file: its state, or the manifest of one of its versions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

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
from shared.usecases.remembering import Form, Question, Remembering

T = TypeVar("T")


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
        return await self.metadata.read(self.question(caller, file_id, version).now)

    def question(self, caller: Caller, file_id: NodeId, version: VersionId | None = None) -> Question[File]:
        """The same, to be asked through the cache."""
        return _about(caller, file_id, version, "file", lambda tx, file: file)


@dataclass(frozen=True)
class GetManifest:
    remembering: Remembering
    store: BlockStore
    clock: Clock
    grant: timedelta

    async def __call__(self, caller: Caller, file_id: NodeId, version: VersionId | None = None) -> Manifest:
        """Raises FileNotFound, Unavailable."""

        def content(tx: Transaction, file: File) -> _Content:
            return _Content(file, blocks_of(tx, file))

        question = _about(caller, file_id, version, "manifest", content)
        # What is remembered says where blocks lie; the right to read them there is made for this answer.
        found = (await self.remembering(question, _FORM)).value
        if found is None:
            raise ValueError("nothing is held here that an answer could be left out for")
        file, placed = found.file, found.blocks
        expires_at = self.clock.now() + self.grant
        urls = await read_urls(self.store, placed, expires_at=expires_at)
        return Manifest(file, [(block, urls[block.placement.blob]) for block in placed], expires_at)


@dataclass(frozen=True, slots=True)
class _Content:
    """A manifest as it is remembered."""

    file: File
    blocks: Sequence[PlacedBlock]


_FORM = Form(msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Content).decode)


def blocks_of(tx: Transaction, file: File) -> Sequence[PlacedBlock]:
    """The blocks of the file's version, in order; raises FileNotFound when it was purged since it was found.

    A version without its blocks would otherwise be taken for an empty file.
    """
    placed = tx.blocks.of_version(file.namespace, file.version.id)
    if sum(block.size for block in placed) != file.version.size:
        raise FileNotFound("this version of the file is not kept any more")
    return placed


def _about(
    caller: Caller,
    file_id: NodeId,
    version: VersionId | None,
    kind: str,
    answer: Callable[[Transaction, File], T],
) -> Question[T]:
    return Question(
        kind,
        (file_id, version),
        lambda tx: file_reader(tx, caller, file_id).namespace,
        lambda tx, ns: answer(tx, _file_in(tx, ns, file_id, version)),
    )


def find_file(tx: Transaction, caller: Caller, file_id: NodeId, version: VersionId | None) -> File:
    """The file that `caller` may read; raises FileNotFound for all else."""
    return _file_in(tx, file_reader(tx, caller, file_id).namespace, file_id, version)


def _file_in(tx: Transaction, namespace: NamespaceId, file_id: NodeId, version: VersionId | None) -> File:
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
