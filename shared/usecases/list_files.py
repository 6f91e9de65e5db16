"""Listing files: the whole tree in the order of creation, one folder by name, or one path.

Pages of the tree and of folders are questions, to be asked through the cache; whether there is anything at a path, and
what has a name, is asked of the database.

Pages are cut by key, never by count, so the last page costs what the first does. A page's cursor is sealed
and belongs to the listing that it came from.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.accounts import Caller
from shared.domain.errors import Malformed, NotFound
from shared.domain.ids import NamespaceId, NodeId
from shared.domain.names import Name, name_key
from shared.ports.credentials import Seals
from shared.ports.metadata import Metadata, Transaction
from shared.ports.tables_files import Node, NodeKind, Place
from shared.usecases.authority import reader
from shared.usecases.remembering import Question

_PURPOSE = "page cursor"


@dataclass(frozen=True, slots=True)
class Entry:
    """A living node and its path."""

    node: Node
    path: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A page; `folders` is None where the listing is not of one folder, `next_cursor` on the last page."""

    files: Sequence[Entry]
    folders: Sequence[Entry] | None
    next_cursor: str | None


@dataclass(frozen=True)
class ListFiles:
    metadata: Metadata
    seals: Seals

    def whole_tree(
        self, caller: Caller, namespace: NamespaceId | None, *, cursor: str | None, limit: int
    ) -> Question[Listing]:
        """A page of all files, oldest first. Raises Malformed for a cursor of another listing."""

        def answer(tx: Transaction, ns: NamespaceId) -> Listing:
            position = self._open(cursor, [ns, "tree"])
            after = Place(*position) if position else None
            found = tx.files.page(ns, after=after, limit=limit + 1)
            page = found[:limit]
            last = page[-1][0] if page else None
            more = len(found) > limit and last is not None
            following = self._close([ns, "tree"], [last.seq, last.position]) if more and last else None
            return Listing(_entries(tx, ns, [node for _, node in page]), None, following)

        return Question("tree", (cursor, limit), _reader_of(caller, namespace), answer)

    def folder(
        self,
        caller: Caller,
        namespace: NamespaceId | None,
        path: tuple[Name, ...],
        *,
        cursor: str | None,
        limit: int,
    ) -> Question[Listing]:
        """A page of one folder's entries, folders first, each kind by name. Raises NotFound, and Malformed as above."""

        def answer(tx: Transaction, ns: NamespaceId) -> Listing:
            folder = find(tx, ns, path)
            if folder is None or folder.kind is not NodeKind.FOLDER:
                raise NotFound("there is no such folder")
            position = self._open(cursor, [ns, folder.id]) or [NodeKind.FOLDER.value, None]
            kind, after = NodeKind(str(position[0])), position[1]
            above = tx.files.paths(ns, [folder])[folder.id] + "/" if path else "/"
            taken: dict[NodeKind, list[Entry]] = {NodeKind.FOLDER: [], NodeKind.FILE: []}
            room = limit
            for each in [NodeKind.FOLDER, NodeKind.FILE] if kind is NodeKind.FOLDER else [NodeKind.FILE]:
                start = None if after is None or each is not kind else str(after)
                found = tx.files.children(ns, folder.id, each, after=start, limit=room + 1)
                taken[each] = [Entry(node, above + node.name) for _, node in found[:room]]
                if len(found) > room:
                    last = found[room - 1][0] if room else None
                    following = self._close([ns, folder.id], [each.value, last])
                    return Listing(taken[NodeKind.FILE], taken[NodeKind.FOLDER], following)
                room -= len(found)
            return Listing(taken[NodeKind.FILE], taken[NodeKind.FOLDER], None)

        asked = (cursor, limit, *(name.key for name in path))
        return Question("folder", asked, _reader_of(caller, namespace), answer)

    async def one(self, caller: Caller, namespace: NamespaceId | None, path: tuple[Name, ...]) -> Listing:
        """The file or the folder at `path`, or an empty listing."""

        def work(tx: Transaction) -> Listing:
            ns = reader(tx, caller, namespace).namespace
            node = find(tx, ns, path)
            found = _entries(tx, ns, [node]) if node is not None and node.parent is not None else []
            is_file = node is not None and node.kind is NodeKind.FILE
            return Listing(found if is_file else [], None if is_file else found, None)

        return await self.metadata.read(work)

    async def search(
        self, caller: Caller, namespace: NamespaceId | None, text: str, *, cursor: str | None, limit: int
    ) -> Listing:
        """A page of the files and folders whose name contains `text`, without regard to case, oldest first.

        Raises Malformed for text that no database can look for: with NUL, or that is not valid Unicode.
        """
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise Malformed("the text to search for must be valid Unicode without NUL")
        key = name_key(text)

        def work(tx: Transaction) -> Listing:
            ns = reader(tx, caller, namespace).namespace
            listing = [ns, "search", key]
            position = self._open(cursor, listing)
            after = Place(*position) if position else None
            found = tx.files.search(ns, key, after=after, limit=limit + 1)
            page = found[:limit]
            following = None
            if len(found) > limit:
                last = page[-1][0]
                following = self._close(listing, [last.seq, last.position])
            entries = _entries(tx, ns, [node for _, node in page])
            files = [entry for entry in entries if entry.node.kind is NodeKind.FILE]
            folders = [entry for entry in entries if entry.node.kind is NodeKind.FOLDER]
            return Listing(files, folders, following)

        return await self.metadata.read(work)

    def _open(self, cursor: str | None, listing: list[str]) -> list[Any] | None:
        if cursor is None:
            return None
        content = json.loads(self.seals.unseal(_PURPOSE, cursor))
        if content[0] != listing:
            raise Malformed("the page cursor belongs to another listing")
        position: list[Any] = content[1]
        return position

    def _close(self, listing: list[str], position: list[Any]) -> str:
        return self.seals.seal(_PURPOSE, json.dumps([listing, position], separators=(",", ":")).encode())


def _reader_of(caller: Caller, namespace: NamespaceId | None) -> Callable[[Transaction], NamespaceId]:
    return lambda tx: reader(tx, caller, namespace).namespace


def find(tx: Transaction, namespace: NamespaceId, path: tuple[Name, ...]) -> Node | None:
    """The node at `path`, spelled as it is stored or not, None where there is none."""
    node = tx.files.node(namespace, NodeId(namespace))
    for name in path:
        node = tx.files.child(namespace, node.id, name.key) if node else None
    return node


def _entries(tx: Transaction, namespace: NamespaceId, nodes: Sequence[Node]) -> list[Entry]:
    paths = tx.files.paths(namespace, nodes)
    return [Entry(node, paths[node.id]) for node in nodes if node.id in paths]
