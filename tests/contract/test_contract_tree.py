"""What the tables of the tree, the trash and the journal owe, below the use cases that ask first.

As in the suite of the metadata, each case makes users of its own.
"""

import pytest
from sqlalchemy.exc import IntegrityError

from shared.adapters.sql.database import SqlMetadata
from shared.adapters.system import RandomIds
from shared.domain.accounts import Caller, Username, parse_username
from shared.domain.blocks import BlockRef, hash_of, root_hash
from shared.domain.codecs import Codec
from shared.domain.digests import blake3_of
from shared.domain.errors import NameExists
from shared.domain.ids import NO_VERSION, BlobId, BlockKey, DeviceId, NamespaceId, NodeId, UserId, VersionId
from shared.domain.names import name_key, parse_name
from shared.domain.versions import Version
from shared.ports.metadata import Transaction
from shared.ports.tables_accounts import Device
from shared.ports.tables_blocks import NewBlock, Placement
from shared.ports.tables_files import Assembly, NewNode, NewVersion, NodeKind, Place
from shared.ports.tables_journal import Change, ChangeKind
from shared.ports.tables_namespaces import Standing
from shared.ports.tables_trash import Purged
from tests.support.doubles import START as NOW

FILE, FOLDER = NodeKind.FILE, NodeKind.FOLDER
new = RandomIds().new


class Gardener:
    """A user with a namespace, who plants nodes and writes the journal as a use case does."""

    def __init__(self) -> None:
        self.id, self.device, self.ns = UserId(new()), DeviceId(new()), NamespaceId(new())
        self.name: Username = parse_username(f"user-{new()}")
        self.root = NodeId(self.ns)
        self.caller = Caller(self.id, self.device, 1)

    def join(self, tx: Transaction) -> None:
        tx.accounts.add_user(self.id, self.name, "hash", now=NOW)
        tx.accounts.add_device(Device(self.device, self.id, "laptop", "linux"), now=NOW)
        tx.namespaces.add_personal(self.ns, self.id, quota=10**6, now=NOW)

    def change(self, tx: Transaction, *changes: tuple[ChangeKind, NodeId]) -> int:
        seq = tx.namespaces.advance(self.ns, delta=0)
        told = [Change(kind, node, None, self.device) for kind, node in changes]
        tx.journal.record(self.ns, seq, told, now=NOW)
        return seq

    def plant(
        self, tx: Transaction, name: str, parent: NodeId | None = None, kind: NodeKind = FOLDER
    ) -> NodeId:
        node = NodeId(new())
        made = ChangeKind.FOLDER_CREATED if kind is FOLDER else ChangeKind.FILE_CREATED
        place = Place(self.change(tx, (made, node)), 0)
        tx.files.add_nodes(self.ns, [NewNode(node, parent or self.root, kind, parse_name(name), place)])
        return node

    def fill(self, tx: Transaction, file: NodeId, size: int, *, after: Version | None = None) -> Version:
        """A version of `size` bytes, said to be in one block of one byte."""
        blob, ref = BlobId(new()), BlockRef(hash_of(new().encode()), 1)
        tx.blocks.start_blob(blob, "blocks", 1, now=NOW)
        tx.blocks.finish_blob(blob, '"etag"')
        placed = NewBlock(BlockKey(new()), ref, Placement(blob, 0, 1, Codec.NONE), blake3_of(b"x"))
        key = tx.blocks.place_blocks(self.ns, [placed])[ref.sha256]
        number, base = (after.number + 1, after.id) if after else (1, NO_VERSION)
        version = Version(VersionId(new()), number, size, root_hash([ref]), NOW, NOW, 1)
        assert tx.files.swap_head(self.ns, file, base, version.id)
        tx.files.add_versions(self.ns, [NewVersion(file, version, base, self.id, self.device, [key])])
        return version

    def bin(self, tx: Transaction, node: NodeId) -> int:
        seq = self.change(tx, (ChangeKind.FOLDER_DELETED, node))
        assert tx.files.delete_node(self.ns, node, seq=seq)
        return seq


@pytest.fixture
async def ann(metadata: SqlMetadata) -> Gardener:
    ann = Gardener()
    await metadata.write(ann.join)
    return ann


# --- files


async def test_ways_up_end_at_the_root_or_at_what_is_deleted(metadata: SqlMetadata, ann: Gardener) -> None:
    def work(tx: Transaction) -> None:
        a = ann.plant(tx, "a")
        b, c = ann.plant(tx, "b", a), ann.plant(tx, "c")
        f = ann.plant(tx, "f", b, FILE)
        within = {
            (node, folder): tx.files.is_within(ann.ns, node, folder)
            for node in (a, b, f)
            for folder in (a, b, c)
        }
        assert {pair for pair, said in within.items() if said} == {(a, a), (b, a), (b, b), (f, a), (f, b)}
        assert all(tx.files.is_living(ann.ns, node) for node in (ann.root, a, b, c, f))
        assert not tx.files.is_living(ann.ns, NodeId(new()))
        assert not tx.files.is_living(NamespaceId(new()), a)
        ann.bin(tx, a)
        assert [tx.files.is_living(ann.ns, node) for node in (ann.root, a, b, c, f)] == [
            True,
            False,
            False,
            True,
            False,
        ]
        found = tx.files.node(ann.ns, f)
        assert found is not None
        assert tx.files.paths(ann.ns, [found]) == {}
        assert tx.files.node(ann.ns, a) is None

    await metadata.write(work)


async def test_move_node_gives_another_place_and_the_key_refuses_a_taken_one(
    metadata: SqlMetadata, ann: Gardener
) -> None:
    def plant(tx: Transaction) -> tuple[NodeId, NodeId]:
        return ann.plant(tx, "a"), ann.plant(tx, "b")

    a, b = await metadata.write(plant)
    with pytest.raises(NameExists):
        await metadata.write(lambda tx: tx.files.move_node(ann.ns, a, ann.root, parse_name("B")))
    with pytest.raises((IntegrityError, NameExists)):
        await metadata.write(lambda tx: tx.files.move_node(ann.ns, a, NodeId(new()), parse_name("a")))
    await metadata.write(lambda tx: tx.files.move_node(ann.ns, a, b, parse_name("Ä")))
    moved = await metadata.read(lambda tx: tx.files.child(ann.ns, b, name_key("ä")))
    assert moved is not None
    assert (moved.id, moved.parent, moved.name) == (a, b, "Ä")
    assert await metadata.read(lambda tx: tx.files.child(ann.ns, ann.root, "a")) is None


async def test_delete_node_says_whether_it_did(metadata: SqlMetadata, ann: Gardener) -> None:
    node = await metadata.write(lambda tx: ann.plant(tx, "a"))
    assert await metadata.write(lambda tx: tx.files.delete_node(ann.ns, node, seq=1))
    assert not await metadata.write(lambda tx: tx.files.delete_node(ann.ns, node, seq=1))
    assert not await metadata.write(lambda tx: tx.files.delete_node(NamespaceId(new()), node, seq=1))


async def test_height_counts_living_levels_up_to_a_bound(metadata: SqlMetadata, ann: Gardener) -> None:
    def work(tx: Transaction) -> None:
        nodes = [ann.plant(tx, "top")]
        for _ in range(6):
            nodes.append(ann.plant(tx, "d", nodes[-1]))
        ann.plant(tx, "wide", nodes[0])
        ann.plant(tx, "f", nodes[-1], FILE)
        height = tx.files.height
        assert [height(ann.ns, node, most=64) for node in nodes] == [7, 6, 5, 4, 3, 2, 1]
        assert height(ann.ns, nodes[0], most=3) == 3
        ann.bin(tx, nodes[3])
        assert height(ann.ns, nodes[0], most=64) == 2, "what is in the trash doesn't come along"
        assert height(ann.ns, nodes[3], most=64) == 4, (
            "of what is in the trash itself, the living below count"
        )

    await metadata.write(work)


async def test_search_finds_keys_that_contain_the_text_and_nothing_else(
    metadata: SqlMetadata, ann: Gardener
) -> None:
    names = ["50%", "50", "a_c", "abc", "[abc]", "x^y", "ÄÖ"]
    await metadata.write(lambda tx: [ann.plant(tx, name) for name in names])

    async def found(text: str) -> list[str]:
        rows = await metadata.read(lambda tx: tx.files.search(ann.ns, text, after=None, limit=100))
        return [node.name for _, node in rows]

    assert await found("%") == ["50%"]
    assert await found("_") == ["a_c"]
    assert await found("[a") == ["[abc]"]
    assert await found("[abc]") == ["[abc]"]
    assert await found("^") == ["x^y"]
    assert await found(name_key("äö")) == ["ÄÖ"]
    assert await found("/") == []
    assert await found("") == names, "the root is not an entry"
    first, second = await metadata.read(lambda tx: tx.files.search(ann.ns, "50", after=None, limit=5))
    behind = await metadata.read(lambda tx: tx.files.search(ann.ns, "50", after=first[0], limit=5))
    assert behind == [second]


async def test_everything_has_what_is_below_deleted_folders_and_not_what_is_deleted_or_purged(
    metadata: SqlMetadata, ann: Gardener
) -> None:
    def work(tx: Transaction) -> None:
        def names() -> list[str]:
            return [node.name for _, node in tx.files.everything(ann.ns, after=None, limit=100)]

        top = ann.plant(tx, "top")
        ann.fill(tx, ann.plant(tx, "below", top, FILE), 5)
        ann.plant(tx, "beside")
        ann.bin(tx, top)
        assert names() == ["below", "beside"]
        tx.trash.purge(ann.ns, top, now=NOW)
        assert names() == ["beside"]

    await metadata.write(work)


# --- trash


async def test_the_trash_has_each_deletion_once_newest_first(metadata: SqlMetadata, ann: Gardener) -> None:
    def work(tx: Transaction) -> None:
        a, b = ann.plant(tx, "a"), ann.plant(tx, "b")
        below = ann.plant(tx, "below", a, FILE)
        seqs = {node: ann.bin(tx, node) for node in (b, below, a)}
        page = tx.trash.page(ann.ns, before=None, limit=10)
        assert [(each.node.id, each.deleted_seq, each.deleted_at) for each in page] == [
            (node, seqs[node], NOW) for node in (a, below, b)
        ]
        assert tx.trash.page(ann.ns, before=seqs[a], limit=1) == [page[1]]
        assert tx.trash.get(ann.ns, b) == page[2]
        assert tx.trash.get(ann.ns, ann.root) is None
        assert tx.trash.get(NamespaceId(new()), b) is None
        tx.trash.restore(ann.ns, b, ann.root, parse_name("again"))
        assert tx.trash.get(ann.ns, b) is None
        assert tx.files.child(ann.ns, ann.root, "again") is not None

    await metadata.write(work)


async def test_the_key_refuses_to_restore_onto_a_taken_name(metadata: SqlMetadata, ann: Gardener) -> None:
    def plant(tx: Transaction) -> NodeId:
        old = ann.plant(tx, "a")
        ann.bin(tx, old)
        ann.plant(tx, "A")
        return old

    old = await metadata.write(plant)
    with pytest.raises(NameExists):
        await metadata.write(lambda tx: tx.trash.restore(ann.ns, old, ann.root, parse_name("a")))
    assert await metadata.read(lambda tx: tx.trash.get(ann.ns, old)) is not None


async def test_a_purge_counts_heads_and_takes_all_edges(metadata: SqlMetadata, ann: Gardener) -> None:
    def work(tx: Transaction) -> None:
        top = ann.plant(tx, "top")
        sub, early = ann.plant(tx, "sub", top), ann.plant(tx, "early", top, FILE)
        deep, stays = ann.plant(tx, "deep", sub, FILE), ann.plant(tx, "stays", None, FILE)
        first = ann.fill(tx, deep, 1000)
        head = ann.fill(tx, deep, 20, after=first)
        gone, kept = ann.fill(tx, early, 3), ann.fill(tx, stays, 7)
        blob = BlobId(new())
        tx.blocks.start_blob(blob, "assembled", 1, now=NOW)
        tx.blocks.finish_blob(blob, '"etag"')
        tx.files.set_assembly(head.id, Assembly(blob, NOW))
        ann.bin(tx, early)
        ann.bin(tx, top)
        assert tx.trash.purge(ann.ns, top, now=NOW) == Purged(files=2, size=23)
        for version, node in ((first, deep), (head, deep), (gone, early)):
            assert tx.blocks.of_version(ann.ns, version.id) == []
            assert tx.files.version(ann.ns, node, version.id) is None
            assert tx.files.assembly(version.id) is None
            assert tx.files.knows_version(node, version.id), "a base that was is still known"
        assert tx.files.versions(ann.ns, deep, before=None, limit=5) == []
        assert [tx.files.node(ann.ns, node) for node in (top, sub, early, deep)] == [None] * 4
        assert tx.files.child(ann.ns, top, "sub") is None
        assert tx.trash.page(ann.ns, before=None, limit=5) == []
        assert tx.trash.get(ann.ns, early) is None
        assert len(tx.blocks.of_version(ann.ns, kept.id)) == 1
        assert tx.files.namespace_of(deep) == ann.ns

    await metadata.write(work)


# --- journal


async def test_the_journal_comes_in_whole_seqs(metadata: SqlMetadata, ann: Gardener) -> None:
    def work(tx: Transaction) -> None:
        for count in (1, 3, 2, 1):
            ann.change(tx, *[(ChangeKind.FOLDER_CREATED, NodeId(new())) for _ in range(count)])

        def places(seq: int, limit: int) -> list[tuple[int, int]]:
            return [(entry.seq, entry.position) for entry in tx.journal.after(ann.ns, seq=seq, limit=limit)]

        second, third = [(2, 0), (2, 1), (2, 2)], [(3, 0), (3, 1)]
        assert places(0, 100) == [(1, 0), *second, *third, (4, 0)]
        assert places(0, 1) == places(0, 3) == [(1, 0)]
        assert places(0, 4) == places(0, 5) == [(1, 0), *second]
        assert places(1, 1) == places(1, 2) == places(1, 3) == second, "a seq that is longer than the limit"
        assert places(2, 3) == [*third, (4, 0)]
        assert places(4, 5) == []

    await metadata.write(work)


async def test_the_journal_tells_nodes_as_they_are_now(metadata: SqlMetadata, ann: Gardener) -> None:
    def work(tx: Transaction) -> None:
        top = ann.plant(tx, "top")
        below = ann.plant(tx, "below", top, FILE)
        head = ann.fill(tx, below, 5)
        tx.files.move_node(ann.ns, below, top, parse_name("renamed"))
        ann.bin(tx, top)

        def told() -> list[str | None]:
            return [
                entry.node.name if entry.node else None for entry in tx.journal.after(ann.ns, seq=0, limit=9)
            ]

        assert told() == [None, "renamed", None]
        entry = tx.journal.after(ann.ns, seq=1, limit=1)[0]
        assert entry.node is not None
        assert entry.node.head == head
        assert (entry.change.kind, entry.change.device) == (ChangeKind.FILE_CREATED, ann.device)
        tx.trash.restore(ann.ns, top, ann.root, parse_name("top"))
        assert told() == ["top", "renamed", "top"]
        ann.bin(tx, top)
        tx.trash.purge(ann.ns, top, now=NOW)
        assert told() == [None] * 4

    await metadata.write(work)


# --- namespaces


async def test_seen_by_tells_how_far_each_journal_is(metadata: SqlMetadata, ann: Gardener) -> None:
    bob = Gardener()
    await metadata.write(bob.join)
    await metadata.write(lambda tx: [ann.plant(tx, name) for name in "abc"])
    assert await metadata.read(lambda tx: tx.namespaces.seen_by(ann.id)) == [Standing(ann.ns, 3, 1)]
    assert await metadata.read(lambda tx: tx.namespaces.seen_by(bob.id)) == [Standing(bob.ns, 0, 1)]
    assert await metadata.read(lambda tx: tx.namespaces.seen_by(UserId(new()))) == []
