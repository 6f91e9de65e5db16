"""Reading: exactly the bytes that were asked for, verified, or an honest refusal that the next upload mends."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.accounts import Caller
from shared.domain.errors import (
    ContentUnavailable,
    FileNotFound,
    InvalidToken,
    Malformed,
    NotFound,
    Unacceptable,
    Unavailable,
)
from shared.domain.ids import BlobId, NamespaceId, NodeId, VersionId
from shared.domain.names import parse_path
from shared.ports.block_store import Container, Disposition
from shared.ports.metadata import Transaction
from shared.usecases import reconcile_blobs
from shared.usecases.drafting import Committed
from shared.usecases.get_file import File
from shared.usecases.list_files import Listing
from shared.usecases.reconcile_blobs import Reconciled
from tests.support.faults import Cut, Moment, WatchedMetadata, WatchedStore
from tests.support.samples import noise, prose
from tests.support.world import World

PARTS = [noise("a", 700), prose("b", 5000), noise("c", 1), noise("d", 300), prose("b", 5000), noise("e", 64)]
CONTENT = b"".join(PARTS)
SHOWN = Disposition("attachment", "application/octet-stream")


@pytest.fixture
async def made(world: World, ann: Caller) -> Committed:
    await world.admit(ann, *PARTS)
    return await world.commit(ann, "/a.bin", PARTS)


@pytest.fixture
async def file(world: World, ann: Caller, made: Committed) -> File:
    return await world.get_file(ann, made.file_id)


def spoil(world: World, how: str, place: int = 0) -> BlobId:
    """Damage the blob of the block at `place`, as disks, restores and bugs do."""
    [(blob,)] = world.sql(
        "SELECT b.blob_id FROM version_blocks e JOIN blocks b ON b.block_key = e.block_key WHERE e.position = :place",
        place=place,
    )
    stored = world.memory.blobs.pop((Container.BLOCKS, blob))
    damaged = {
        "flipped": stored[:-1] + bytes([stored[-1] ^ 1]),
        "short": stored[:-1],
        "another's": b"\0" * len(stored),
    }
    if how != "gone":
        world.memory.blobs[Container.BLOCKS, blob] = damaged[how]
    return BlobId(blob)


# --- content


@given(st.integers(0, len(CONTENT)), st.integers(0, len(CONTENT)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
async def test_any_range_is_the_slice(world: World, file: File, start: int, stop: int) -> None:
    assert await world.read_content.range(file, start, stop) == CONTENT[start:stop]


async def test_what_is_purged_between_finding_and_reading_is_not_taken_for_empty(
    world: World, file: File
) -> None:
    version = file.version.id
    world.sql("DELETE FROM version_blocks WHERE version_id = :version", version=version)
    world.sql("UPDATE versions SET purged_at = created_at WHERE version_id = :version", version=version)
    with pytest.raises(FileNotFound):
        await world.read_content.range(file, 0, file.version.size)
    with pytest.raises(FileNotFound):
        await world.read_content.assembled(file, SHOWN)
    assert all(room is not Container.ASSEMBLED for room, _ in world.memory.blobs)


async def test_ranges_around_every_edge_of_a_block(world: World, file: File) -> None:
    edges = [sum(len(part) for part in PARTS[:number]) for number in range(len(PARTS) + 1)]
    for edge in edges:
        for start, stop in (
            (edge - 1, edge),
            (edge, edge + 1),
            (edge - 1, edge + 1),
            (0, edge),
            (edge, len(CONTENT)),
        ):
            if 0 <= start <= stop <= len(CONTENT):
                assert await world.read_content.range(file, start, stop) == CONTENT[start:stop]


async def test_a_range_reads_only_the_blocks_that_it_touches(world: World, file: File) -> None:
    read: list[str] = []

    def note(moment: Moment, call: str, _tx: Transaction | None) -> None:
        if moment is Moment.BEFORE:
            read.append(call)

    watched = world.with_ports(store=WatchedStore(world.store, note))
    assert await watched.read_content.range(file, 0, 700) == PARTS[0]
    assert read == ["store.get"]


@pytest.mark.parametrize("how", ["gone", "flipped", "short", "another's"])
@pytest.mark.parametrize("place", [0, 1])
async def test_bad_copy_never_blocks_repair(
    world: World, ann: Caller, made: Committed, file: File, how: str, place: int
) -> None:
    blob = spoil(world, how, place)
    with pytest.raises(ContentUnavailable) as refused:
        await world.read(ann, made.file_id)
    assert refused.value.retry_after > 0
    assert world.sql("SELECT blob_id FROM blobs WHERE bad_at IS NOT NULL") == [(blob,)]
    start = sum(len(part) for part in PARTS[:2])
    assert await world.read_content.range(file, start, start + 301) == b"".join(PARTS[2:4]), (
        "the rest can be read"
    )
    again = await world.upload(ann, "/copy.bin", PARTS[place])
    assert await world.read(ann, made.file_id) == CONTENT
    assert await world.read(ann, again.file_id) == PARTS[place]


async def test_uploading_the_same_file_again_heals_it(world: World, ann: Caller) -> None:
    content = noise("big", 3_000_000)
    made = await world.upload(ann, "/big", content)
    spoil(world, "flipped", 1)
    with pytest.raises(ContentUnavailable):
        await world.read(ann, made.file_id)
    healed = await world.upload(ann, "/big", content)
    assert (healed.unchanged, healed.version_id) == (True, made.version_id)
    assert await world.read(ann, made.file_id) == content


async def test_a_store_that_is_away_condemns_nothing(
    world: World, ann: Caller, made: Committed, file: File
) -> None:
    def away(moment: Moment, _call: str, _tx: Transaction | None) -> None:
        if moment is Moment.BEFORE:
            raise Cut("away")

    broken = world.with_ports(store=WatchedStore(world.store, away))
    with pytest.raises(Unavailable):
        await broken.read_content.range(file, 0, len(CONTENT))
    assert world.sql("SELECT COUNT(*) FROM blobs WHERE bad_at IS NOT NULL") == [(0,)]
    assert await world.read(ann, made.file_id) == CONTENT


async def test_assembled_once_and_kept(world: World, file: File) -> None:
    first = await world.read_content.assembled(file, SHOWN)
    assert [blob for (room, _), blob in world.memory.blobs.items() if room is Container.ASSEMBLED] == [
        CONTENT
    ]
    assert await world.read_content.assembled(file, SHOWN) == first
    assert sum(room is Container.ASSEMBLED for room, _ in world.memory.blobs) == 1


async def test_of_two_that_assemble_at_once_one_is_kept(world: World, file: File) -> None:
    addresses: list[str] = []

    def note(moment: Moment, call: str, _tx: Transaction | None) -> None:
        if (moment, call) == (Moment.AFTER, "store.assemble"):
            addresses.append(call)

    watched = world.with_ports(store=WatchedStore(world.store, note))
    both = await asyncio.gather(*(watched.read_content.assembled(file, SHOWN) for _ in range(2)))
    assert both[0] == both[1]
    assert world.sql("SELECT COUNT(*) FROM assemblies") == [(1,)]
    assert len(addresses) == 1, "the second waits for the first"


async def test_a_file_that_can_not_be_read_is_not_assembled(world: World, file: File) -> None:
    spoil(world, "flipped", 3)
    with pytest.raises(ContentUnavailable):
        await world.read_content.assembled(file, SHOWN)
    assert all(room is Container.BLOCKS for room, _ in world.memory.blobs)
    assert world.sql("SELECT COUNT(*) FROM assemblies") == [(0,)]


async def test_an_assembled_blob_that_got_lost_is_made_anew(world: World, file: File) -> None:
    await world.read_content.assembled(file, SHOWN)
    [lost] = [blob for room, blob in world.memory.blobs if room is Container.ASSEMBLED]
    del world.memory.blobs[Container.ASSEMBLED, lost]
    assert (await world.reconcile_blobs()).missing == 1
    assert lost not in await world.read_content.assembled(file, SHOWN)


# --- one file


async def test_a_manifest_names_every_block_with_a_place_to_read_it(
    world: World, ann: Caller, made: Committed
) -> None:
    manifest = await world.get_manifest(ann, made.file_id)
    assert [block.size for block, _ in manifest.blocks] == [len(part) for part in PARTS]
    assert all(block.placement.blob in url for block, url in manifest.blocks)
    assert manifest.expires_at == world.clock.now() + timedelta(hours=1)


async def test_versions_of_another_file_are_not_found(world: World, ann: Caller, made: Committed) -> None:
    other = await world.commit(ann, "/other", [])
    for version in (other.version_id, VersionId("f" * 32)):
        with pytest.raises(FileNotFound):
            await world.get_file(ann, made.file_id, version)
        with pytest.raises(FileNotFound):
            await world.get_manifest(ann, made.file_id, version)


async def test_deleting_twice_is_not_found_and_the_trash_keeps_all(
    world: World, ann: Caller, made: Committed
) -> None:
    assert await world.delete_file(ann, made.file_id) == 2
    for _ in range(2):
        with pytest.raises(FileNotFound):
            await world.delete_file(ann, made.file_id)
    with pytest.raises(FileNotFound):
        await world.get_file(ann, made.file_id)
    assert world.sql("SELECT kind FROM changes ORDER BY seq") == [("file_created",), ("file_deleted",)]
    assert world.sql("SELECT COUNT(*) FROM version_blocks") == [(len(PARTS),)]


async def test_a_folder_is_no_file(world: World, ann: Caller) -> None:
    await world.commit(ann, "/folder/file", [])
    [(folder,)] = world.sql("SELECT node_id FROM nodes WHERE name = 'folder'")
    for use in (world.get_file, world.get_manifest, world.delete_file):
        with pytest.raises(FileNotFound):
            await use(ann, folder)


async def test_a_grant_carries_one_right_for_a_while(world: World, ann: Caller, made: Committed) -> None:
    grant = world.download_grants.issue(ann, made.version_id)
    assert world.download_grants.verify(grant) == (ann, made.version_id)
    for changed in (
        "",
        grant[:-2],
        grant[2:],
        "A" + grant[1:] if grant[0] != "A" else "B" + grant[1:],
        "\ud800",
    ):
        with pytest.raises(InvalidToken):
            world.download_grants.verify(changed)
    with pytest.raises(InvalidToken):
        world.download_grants.verify(world.seals.seal("page cursor", b"x" * 60))
    world.clock.advance(timedelta(hours=1))
    with pytest.raises(InvalidToken, match="expired"):
        world.download_grants.verify(grant)


# --- listing


async def pages(world: World, ann: Caller, limit: int) -> list[Listing]:
    found: list[Listing] = []
    cursor: str | None = None
    while not found or cursor:
        found.append(await world.list_files.whole_tree(ann, None, cursor=cursor, limit=limit))
        cursor = found[-1].next_cursor
    return found


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7, 100])
async def test_all_pages_together_are_everything_once_oldest_first(
    world: World, ann: Caller, limit: int
) -> None:
    paths = ["/z", "/a", "/m/b", "/m/a", "/é", "/m/n/o"]
    for path in paths:
        await world.commit(ann, path, [])
    found = await pages(world, ann, limit)
    assert [entry.path for page in found for entry in page.files] == paths
    assert len(found) == -(-len(paths) // limit)
    assert all(len(page.files) == limit for page in found[:-1])


async def test_what_happens_between_two_pages_neither_hides_nor_doubles(world: World, ann: Caller) -> None:
    made = [await world.commit(ann, f"/{number}", []) for number in range(6)]
    first = await world.list_files.whole_tree(ann, None, cursor=None, limit=3)
    await world.delete_file(ann, made[0].file_id)
    await world.delete_file(ann, made[4].file_id)
    await world.commit(ann, "/new", [])
    rest = await world.list_files.whole_tree(ann, None, cursor=first.next_cursor, limit=3)
    assert [entry.path for entry in rest.files] == ["/3", "/5", "/new"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
async def test_a_folder_is_paged_folders_first_by_name(world: World, ann: Caller, limit: int) -> None:
    for path in ("/d/B/x", "/d/a/x", "/d/c", "/d/A b", "/d/Z", "/elsewhere"):
        await world.commit(ann, path, [])
    found: list[tuple[list[str], list[str]]] = []
    cursor: str | None = None
    while not found or cursor:
        page = await world.list_files.folder(ann, None, parse_path("/d"), cursor=cursor, limit=limit)
        assert page.folders is not None
        found.append(([each.path for each in page.folders], [each.path for each in page.files]))
        assert len(page.folders) + len(page.files) <= limit
        cursor = page.next_cursor
    assert [path for folders, _ in found for path in folders] == ["/d/a", "/d/B"]
    assert [path for _, files in found for path in files] == ["/d/A b", "/d/c", "/d/Z"]
    assert len(found) == -(-5 // limit)


async def test_the_root_is_a_folder_and_other_things_are_not(world: World, ann: Caller, bob: Caller) -> None:
    await world.commit(ann, "/a/b", [])
    root = await world.list_files.folder(ann, None, (), cursor=None, limit=10)
    assert root.folders is not None
    assert [each.path for each in root.folders] == ["/a"]
    for path in ("/a/b", "/none", "/a/none/b"):
        with pytest.raises(NotFound):
            await world.list_files.folder(ann, None, parse_path(path), cursor=None, limit=10)
    assert [each.path for each in (await world.list_files.one(ann, None, parse_path("/A/B"))).files] == [
        "/a/b"
    ]
    for path in ("/a", "/none", "/"):
        assert (await world.list_files.one(ann, None, parse_path(path))).files == []
    for namespace in (await world.namespace_of(ann), NamespaceId("f" * 32)):
        with pytest.raises(NotFound, match="there is no such namespace"):
            await world.list_files.whole_tree(bob, namespace, cursor=None, limit=1)


async def test_cursor_is_honest_a_foreign_or_changed_one_is_refused(
    world: World, ann: Caller, bob: Caller
) -> None:
    for caller in (ann, bob):
        for name in ("/x/1", "/x/2", "/x/3"):
            await world.commit(caller, name, [])
    tree = (await world.list_files.whole_tree(ann, None, cursor=None, limit=1)).next_cursor
    folder = (await world.list_files.folder(ann, None, parse_path("/x"), cursor=None, limit=1)).next_cursor
    bobs = (await world.list_files.whole_tree(bob, None, cursor=None, limit=1)).next_cursor
    assert tree
    assert folder
    assert bobs
    forged = world.seals.seal("grant", json.dumps([["x", "tree"], [1, 0]]).encode())
    for cursor in ("", "x", tree[:-1], tree[1:], tree[::-1], folder, bobs, forged, "\ud800", "A" * 10_000):
        with pytest.raises(Malformed):
            await world.list_files.whole_tree(ann, None, cursor=cursor, limit=1)
    for cursor in (tree, bobs):
        with pytest.raises(Malformed):
            await world.list_files.folder(ann, None, parse_path("/x"), cursor=cursor, limit=1)
    with pytest.raises(Malformed):
        await world.list_files.folder(ann, None, (), cursor=folder, limit=1)


# --- reconciling


async def test_a_healthy_store_is_left_alone(world: World, ann: Caller, made: Committed) -> None:
    assert await world.reconcile_blobs() == Reconciled(known=5, missing=0, unknown=0, unreadable_blocks=0)


async def test_lost_blobs_are_found_marked_once_and_healed(
    world: World, ann: Caller, made: Committed
) -> None:
    stray = BlobId("0" * 31 + "1")
    await world.store.put(stray, b"nobody refers to this")
    await world.store.put(BlobId("f" * 32), b"nor to this")
    spoil(world, "gone", 0)
    spoil(world, "gone", 3)
    assert await world.reconcile_blobs() == Reconciled(known=5, missing=2, unknown=2, unreadable_blocks=2)
    assert await world.reconcile_blobs() == Reconciled(known=5, missing=0, unknown=2, unreadable_blocks=2)
    assert await world.store.exists(Container.BLOCKS, stray), "reconciling deletes nothing"
    await world.admit(ann, PARTS[0], PARTS[3])
    assert (await world.reconcile_blobs()).unreadable_blocks == 0
    assert await world.read(ann, made.file_id) == CONTENT


async def test_a_store_that_lost_everything(world: World, ann: Caller, made: Committed) -> None:
    world.memory.blobs.clear()
    assert (await world.reconcile_blobs()).missing == 5
    await world.admit(ann, *PARTS)
    assert await world.read(ann, made.file_id) == CONTENT


async def test_a_store_that_is_most_likely_the_wrong_one_marks_nothing(
    world: World, ann: Caller, made: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_blobs, "SUSPICIOUS", 2)
    world.memory.blobs.clear()
    with pytest.raises(Unacceptable, match="5 of 5 blobs are missing"):
        await world.reconcile_blobs()
    assert world.sql("SELECT COUNT(*) FROM blobs WHERE bad_at IS NOT NULL") == [(0,)]
    assert (await world.reconcile_blobs(accept_losses=True)).missing == 5
    # What is known to be lost raises no question again.
    assert (await world.reconcile_blobs()).missing == 0


async def test_a_blob_that_is_written_while_the_listing_passes_is_not_taken_for_lost(
    world: World, ann: Caller, made: Committed
) -> None:
    class Late:
        """A listing that was taken before the newest blob came."""

        def __init__(self) -> None:
            self.exists = world.store.exists

        async def names(self, container: Container) -> AsyncIterator[BlobId]:
            found = [name async for name in world.store.names(container)]
            for name in found[:2] + found[3:]:
                yield name

    late = replace(world.reconcile_blobs, store=Late())  # type: ignore[arg-type] # two calls are all it needs
    assert await late() == Reconciled(known=5, missing=0, unknown=0, unreadable_blocks=0)


async def test_unknown_ids_are_like_foreign_ones(
    world: World, ann: Caller, bob: Caller, made: Committed
) -> None:
    said: set[str] = set()
    for file_id in (made.file_id, NodeId("f" * 32)):
        for use in (world.get_file, world.get_manifest, world.delete_file):
            with pytest.raises(FileNotFound) as refused:
                await use(bob, file_id)
            said.add(str(refused.value))
    assert len(said) == 1, "tenant_isolation"


async def test_an_upload_admits_only_the_blocks_that_are_missing(world: World, ann: Caller) -> None:
    content = noise("f", 1_200_000)
    await world.upload(ann, "/a", content)
    calls: list[str] = []

    def note(moment: Moment, call: str, _tx: Transaction | None) -> None:
        if moment is Moment.BEFORE:
            calls.append(call)

    watched = world.with_ports(
        metadata=WatchedMetadata(world.metadata, note), store=WatchedStore(world.store, note)
    )
    await watched.upload(ann, "/b", content)
    assert calls.count("metadata.write") == 2, "one to check and one to commit"
    assert "store.put" not in calls
