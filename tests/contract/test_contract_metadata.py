"""What a metadata database owes: transactions that are all or nothing, and tables whose guards hold.

Each case makes users of its own, so the suite can run on a database that others use too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from shared.adapters.sql.database import SqlMetadata
from shared.adapters.sql.schema import blocks
from shared.adapters.system import RandomIds
from shared.domain.accounts import Caller, Role, Username, parse_username
from shared.domain.blocks import BlockRef, Sha256, hash_of, root_hash
from shared.domain.codecs import Codec
from shared.domain.digests import Blake3, blake3_of
from shared.domain.errors import KeyReused, NameExists, NotFound, QuotaExceeded, UsernameTaken
from shared.domain.ids import (
    NO_VERSION,
    BlobId,
    BlockKey,
    DeviceId,
    FamilyId,
    NamespaceId,
    NodeId,
    UserId,
    VersionId,
)
from shared.domain.names import parse_name
from shared.domain.versions import Version
from shared.ports.metadata import Transaction
from shared.ports.tables_accounts import Device, RefreshToken
from shared.ports.tables_blocks import NewBlock, Placement
from shared.ports.tables_files import Assembly, NewNode, NewVersion, NodeKind, Place
from shared.ports.tables_journal import Change, ChangeKind
from shared.ports.tables_namespaces import Repeatable, Revision, Usage
from tests.support.doubles import START as NOW

LATER = NOW + timedelta(days=1)
new = RandomIds().new


class Somebody:
    """A user with a device and a namespace, and short words for what most cases need first."""

    def __init__(self, quota: int = 1000) -> None:
        self.id, self.device, self.ns = UserId(new()), DeviceId(new()), NamespaceId(new())
        self.name: Username = parse_username(f"user-{new()}")
        self.quota = quota

    @property
    def root(self) -> NodeId:
        return NodeId(self.ns)

    @property
    def caller(self) -> Caller:
        return Caller(self.id, self.device, 1)

    def join(self, tx: Transaction) -> None:
        tx.accounts.add_user(self.id, self.name, "hash", now=NOW)
        tx.accounts.add_device(Device(self.device, self.id, "laptop", "linux"), now=NOW)
        tx.namespaces.add_personal(self.ns, self.id, quota=self.quota, now=NOW)

    def stored(self, tx: Transaction, container: str = "blocks") -> BlobId:
        blob = BlobId(new())
        tx.blocks.start_blob(blob, container, 10, now=NOW)
        assert tx.blocks.finish_blob(blob, '"etag"')
        return blob

    def block(self, tx: Transaction, word: str, *, leased: bool = True) -> tuple[BlockKey, BlobId]:
        blob = self.stored(tx)
        ref = BlockRef(hash_of(word.encode()), len(word))
        placed = NewBlock(BlockKey(new()), ref, Placement(blob, 0, 10, Codec.NONE), blake3_of(word.encode()))
        key = tx.blocks.place_blocks(self.ns, [placed])[ref.sha256]
        if leased:
            tx.blocks.lease(self.ns, key, ref.size, self.id, expires_at=LATER)
        return key, blob

    def node(
        self, tx: Transaction, name: str, parent: NodeId | None = None, kind: NodeKind = NodeKind.FILE
    ) -> NodeId:
        node = NodeId(new())
        seq = tx.namespaces.advance(self.ns, delta=0)
        entry = NewNode(node, parent or self.root, kind, parse_name(name), Place(seq, 0))
        tx.files.add_nodes(self.ns, [entry])
        return node

    def version(
        self,
        tx: Transaction,
        node: NodeId,
        keys: list[BlockKey],
        base: VersionId = NO_VERSION,
        number: int = 1,
    ) -> tuple[Version, bool]:
        made = Version(VersionId(new()), number, 5, root_hash([]), NOW, NOW, 1)
        if not tx.files.swap_head(self.ns, node, base, made.id):
            return made, False
        tx.files.add_versions(self.ns, [NewVersion(node, made, base, self.id, self.device, keys)])
        return made, True


@pytest.fixture
async def ann(metadata: SqlMetadata) -> Somebody:
    ann = Somebody()
    await metadata.write(ann.join)
    return ann


@pytest.fixture
async def bob(metadata: SqlMetadata) -> Somebody:
    bob = Somebody()
    await metadata.write(bob.join)
    return bob


# --- transactions


async def test_commit_is_atomic_a_write_that_raises_leaves_nothing(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    blob = BlobId(new())

    def work(tx: Transaction) -> None:
        tx.blocks.start_blob(blob, "blocks", 1, now=NOW)
        tx.namespaces.advance(ann.ns, delta=10)
        raise KeyError("a mistake of the caller's")

    with pytest.raises(KeyError):
        await metadata.write(work)
    assert (await metadata.read(lambda tx: tx.namespaces.usage(ann.ns))).used == 0
    await metadata.write(lambda tx: tx.blocks.start_blob(blob, "blocks", 1, now=NOW))


async def test_read_your_writes(metadata: SqlMetadata, ann: Somebody) -> None:
    assert await metadata.write(lambda tx: tx.namespaces.advance(ann.ns, delta=7)) == 1
    assert await metadata.read(lambda tx: tx.namespaces.usage(ann.ns)) == Usage(1000, 7, 1)


async def test_writers_end_as_if_one_ran_after_the_other(metadata: SqlMetadata, ann: Somebody) -> None:
    seqs = await asyncio.gather(
        *(metadata.write(lambda tx: tx.namespaces.advance(ann.ns, delta=1)) for _ in range(20))
    )
    assert sorted(seqs) == list(range(1, 21))
    assert (await metadata.read(lambda tx: tx.namespaces.usage(ann.ns))).used == 20


async def test_a_key_that_somebody_else_took_first_is_decided_anew(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    runs: list[int] = []
    blobs = [BlobId(new()), BlobId(new())]
    await metadata.write(lambda tx: tx.blocks.start_blob(blobs[0], "blocks", 1, now=NOW))

    def work(tx: Transaction) -> BlobId:
        chosen = blobs[len(runs)]
        runs.append(1)
        tx.namespaces.advance(ann.ns, delta=1)
        tx.blocks.start_blob(chosen, "blocks", 1, now=NOW)
        return chosen

    assert await metadata.write(work) == blobs[1]
    assert (await metadata.read(lambda tx: tx.namespaces.usage(ann.ns))).used == 1, (
        "the first run left something"
    )


async def test_a_key_that_is_always_refused_is_a_mistake_and_said_so(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    def orphan(tx: Transaction) -> None:
        tx.blocks.lease(ann.ns, BlockKey(new()), 1, ann.id, expires_at=LATER)

    with pytest.raises(IntegrityError):
        await metadata.write(orphan)


# --- accounts


async def test_a_user_is_found_by_every_spelling_of_the_name(metadata: SqlMetadata) -> None:
    word = new()
    await metadata.write(
        lambda tx: tx.accounts.add_user(UserId(new()), parse_username(f"Straße{word}"), "h", now=NOW)
    )
    for spelling in (f"STRASSE{word}", f"strasse{word}", f"ｓtraße{word}"):
        found = await metadata.read(lambda tx, name=spelling: tx.accounts.user_by_name(parse_username(name)))
        assert found is not None
        assert found.username == f"Straße{word}"
        with pytest.raises(UsernameTaken):
            await metadata.write(
                lambda tx, name=spelling: tx.accounts.add_user(
                    UserId(new()), parse_username(name), "h", now=NOW
                )
            )


async def test_names_are_compared_exactly(metadata: SqlMetadata) -> None:
    word = new()[:20]
    for end in ("", "a", "ä", "\u0131"):
        name = parse_username(f"x{word}{end}")
        await metadata.write(
            lambda tx, name=name, end=end: tx.accounts.add_user(UserId(new()), name, end, now=NOW)
        )
    found = await metadata.read(lambda tx: tx.accounts.user_by_name(parse_username(f"X{word}Ä")))
    assert found is not None
    assert found.password_hash == "ä"
    assert await metadata.read(lambda tx: tx.accounts.user_by_name(parse_username(f"x{word}i"))) is None


async def test_a_password_is_set_only_on_the_epoch_that_was_seen(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    assert not await metadata.write(lambda tx: tx.accounts.set_password(ann.id, "theirs", epoch=2))
    assert await metadata.write(lambda tx: tx.accounts.set_password(ann.id, "mine", epoch=1))
    assert await metadata.write(lambda tx: tx.accounts.advance_epoch(ann.id)) == 2
    assert not await metadata.write(lambda tx: tx.accounts.hold_epoch(ann.id, 1))
    assert await metadata.write(lambda tx: tx.accounts.hold_epoch(ann.id, 2))
    user = await metadata.read(lambda tx: tx.accounts.user(ann.id))
    assert user is not None
    assert (user.password_hash, user.epoch) == ("mine", 2)
    assert await metadata.read(lambda tx: tx.accounts.user(UserId(new()))) is None


async def test_only_the_user_s_own_living_device_at_the_present_epoch_is_current(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    def current(caller: Caller) -> Callable[[Transaction], bool]:
        return lambda tx: tx.accounts.is_current(caller)

    assert await metadata.read(current(ann.caller))
    for wrong in (
        replace(ann.caller, epoch=2),
        replace(ann.caller, epoch=0),
        replace(ann.caller, device_id=bob.device),
        replace(ann.caller, user_id=bob.id),
        replace(ann.caller, device_id=DeviceId(new())),
    ):
        assert not await metadata.read(current(wrong))
    await metadata.write(lambda tx: tx.accounts.revoke_device(ann.device, bob.id, now=NOW))
    assert await metadata.read(current(ann.caller)), "another user's device was revoked"
    assert await metadata.write(lambda tx: tx.accounts.see_device(ann.device, ann.id, now=LATER))
    assert not await metadata.write(lambda tx: tx.accounts.see_device(ann.device, bob.id, now=LATER))
    await metadata.write(lambda tx: tx.accounts.revoke_device(ann.device, ann.id, now=NOW))
    assert not await metadata.read(current(ann.caller))
    assert not await metadata.write(lambda tx: tx.accounts.see_device(ann.device, ann.id, now=LATER))
    assert await metadata.read(lambda tx: tx.accounts.count_devices(ann.id)) == 0
    assert await metadata.read(lambda tx: tx.accounts.count_devices(bob.id)) == 1


def refresh_token(owner: Somebody, family: FamilyId, generation: int) -> RefreshToken:
    word = hash_of(f"{family}{generation}".encode())
    return RefreshToken(word, family, generation, owner.id, owner.device, LATER)


async def test_a_refresh_token_is_used_once(metadata: SqlMetadata, ann: Somebody) -> None:
    token = refresh_token(ann, FamilyId(new()), 1)
    await metadata.write(lambda tx: tx.accounts.add_refresh_token(token, now=NOW))
    assert await metadata.read(lambda tx: tx.accounts.refresh_token(token.token_hash)) == token
    used = await asyncio.gather(
        *(
            metadata.write(lambda tx: tx.accounts.use_refresh_token(token.token_hash, now=NOW))
            for _ in range(8)
        )
    )
    assert sorted(used) == [False] * 7 + [True]
    found = await metadata.read(lambda tx: tx.accounts.refresh_token(token.token_hash))
    assert found == replace(token, used_at=NOW)
    with pytest.raises(IntegrityError):
        again = replace(token, token_hash=hash_of(b"another" + new().encode()))
        await metadata.write(lambda tx: tx.accounts.add_refresh_token(again, now=NOW))


async def test_revoking_reaches_what_it_names_and_nothing_else(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    phone = DeviceId(new())
    tokens = {
        "laptop": refresh_token(ann, FamilyId(new()), 1),
        "laptop, second login": refresh_token(ann, FamilyId(new()), 1),
        "phone": replace(refresh_token(ann, FamilyId(new()), 1), device_id=phone),
        "bob": refresh_token(bob, FamilyId(new()), 1),
    }

    def add(tx: Transaction) -> None:
        tx.accounts.add_device(Device(phone, ann.id, "phone", "android"), now=NOW)
        for token in tokens.values():
            tx.accounts.add_refresh_token(token, now=NOW)

    def revoked(tx: Transaction) -> set[str]:
        found = {name: tx.accounts.refresh_token(token.token_hash) for name, token in tokens.items()}
        return {name for name, token in found.items() if token and token.revoked_at}

    await metadata.write(add)
    await metadata.write(lambda tx: tx.accounts.revoke_family(tokens["laptop"].family, now=NOW))
    assert await metadata.read(revoked) == {"laptop"}
    assert not await metadata.write(
        lambda tx: tx.accounts.use_refresh_token(tokens["laptop"].token_hash, now=NOW)
    )
    await metadata.write(lambda tx: tx.accounts.revoke_tokens(ann.id, ann.device, now=NOW))
    assert await metadata.read(revoked) == {"laptop", "laptop, second login"}
    await metadata.write(lambda tx: tx.accounts.revoke_tokens(ann.id, None, now=NOW))
    assert await metadata.read(revoked) == set(tokens) - {"bob"}


# --- namespaces


async def test_a_user_has_one_personal_namespace_with_a_root(metadata: SqlMetadata, ann: Somebody) -> None:
    assert await metadata.read(lambda tx: tx.namespaces.personal_of(ann.id)) == ann.ns
    assert await metadata.read(lambda tx: tx.namespaces.personal_of(UserId(new()))) is None
    assert await metadata.read(lambda tx: tx.namespaces.role(ann.ns, ann.id)) is Role.OWNER
    root = await metadata.read(lambda tx: tx.files.node(ann.ns, ann.root))
    assert root is not None
    assert (root.parent, root.kind, root.head) == (None, NodeKind.FOLDER, None)
    with pytest.raises(IntegrityError):
        await metadata.write(
            lambda tx: tx.namespaces.add_personal(NamespaceId(new()), ann.id, quota=1, now=NOW)
        )


async def test_tenant_isolation_a_foreign_namespace_is_like_none(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    for namespace in (ann.ns, NamespaceId(new())):
        assert await metadata.read(lambda tx, ns=namespace: tx.namespaces.role(ns, bob.id)) is None
    with pytest.raises(NotFound):
        await metadata.write(lambda tx: tx.namespaces.lock(NamespaceId(new())))


async def test_quota_never_exceeded_to_the_byte(metadata: SqlMetadata, ann: Somebody) -> None:
    def advance(delta: int) -> Callable[[Transaction], int]:
        return lambda tx: tx.namespaces.advance(ann.ns, delta=delta)

    with pytest.raises(QuotaExceeded) as refused:
        await metadata.write(advance(1001))
    assert (refused.value.quota, refused.value.used) == (1000, 0)
    assert await metadata.write(advance(1000)) == 1
    for delta in (1, 2**40):
        with pytest.raises(QuotaExceeded):
            await metadata.write(advance(delta))
    assert await metadata.write(advance(0)) == 2, "a change that needs no room needs no room"
    assert await metadata.write(advance(-1)) == 3
    assert await metadata.write(advance(1)) == 4


# --- replies


async def test_commit_is_idempotent_an_answer_is_recalled_for_its_request_only(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    key = f"key-{new()}"
    request = Repeatable(ann.id, key, "files/commit", hash_of(b"body"), LATER)
    assert await metadata.read(lambda tx: tx.replies.recall(request)) is None
    await metadata.write(lambda tx: tx.replies.keep(request, '{"path": "/ä"}'))
    assert await metadata.read(lambda tx: tx.replies.recall(request)) == '{"path": "/ä"}'
    for other in (replace(request, body_hash=hash_of(b"other")), replace(request, route="files/delete")):
        with pytest.raises(KeyReused):
            await metadata.read(lambda tx, other=other: tx.replies.recall(other))
    for another in (replace(request, user_id=bob.id), replace(request, key=key.upper())):
        assert await metadata.read(lambda tx, another=another: tx.replies.recall(another)) is None
    with pytest.raises(IntegrityError):
        await metadata.write(lambda tx: tx.replies.keep(request, "again"))


# --- blobs, blocks, leases


async def test_a_blob_is_finished_once_and_only_when_it_was_started(metadata: SqlMetadata) -> None:
    blob = BlobId(new())
    assert not await metadata.write(lambda tx: tx.blocks.finish_blob(blob, "e"))
    await metadata.write(lambda tx: tx.blocks.start_blob(blob, "blocks", 5, now=NOW))
    assert await metadata.write(lambda tx: tx.blocks.finish_blob(blob, "e"))
    assert not await metadata.write(lambda tx: tx.blocks.finish_blob(blob, "e"))


async def test_no_dangling_edge_a_block_is_refused_in_a_blob_that_is_not_stored(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    blob = BlobId(new())
    await metadata.write(lambda tx: tx.blocks.start_blob(blob, "blocks", 5, now=NOW))
    ref = BlockRef(hash_of(b"x"), 1)
    for place in (blob, BlobId(new())):
        with pytest.raises(IntegrityError):
            new_block = NewBlock(BlockKey(new()), ref, Placement(place, 0, 1, Codec.NONE), blake3_of(b"x"))
            await metadata.write(lambda tx, made=new_block: tx.blocks.place_blocks(ann.ns, [made]))


async def test_a_block_has_its_blake3_and_an_older_one_gets_it_when_it_heals(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    def read(tx: Transaction, version: VersionId) -> list[Blake3 | None]:
        return [block.blake3 for block in tx.blocks.of_version(ann.ns, version)]

    key, blob = await metadata.write(lambda tx: ann.block(tx, "word"))
    version, _ = await metadata.write(lambda tx: ann.version(tx, ann.node(tx, "file"), [key]))
    assert await metadata.read(lambda tx: read(tx, version.id)) == [blake3_of(b"word")]
    with metadata._engine.begin() as connection:
        connection.execute(blocks.update().where(blocks.c.block_key == key).values(blake3=None))
    assert await metadata.read(lambda tx: read(tx, version.id)) == [None]
    await metadata.write(lambda tx: tx.blocks.mark_bad([blob], now=NOW))
    await metadata.write(lambda tx: ann.block(tx, "word"))
    assert await metadata.read(lambda tx: read(tx, version.id)) == [blake3_of(b"word")]


async def test_a_good_copy_stays_and_a_bad_one_is_replaced(metadata: SqlMetadata, ann: Somebody) -> None:
    def blob_of(tx: Transaction, key: BlockKey) -> tuple[BlobId, ...]:
        node = ann.node(tx, f"file {new()}")
        version, made = ann.version(tx, node, [key])
        assert made
        return tuple(block.placement.blob for block in tx.blocks.of_version(ann.ns, version.id))

    key, first = await metadata.write(lambda tx: ann.block(tx, "word"))
    again, second = await metadata.write(lambda tx: ann.block(tx, "word"))
    assert again == key
    assert await metadata.write(lambda tx: blob_of(tx, key)) == (first,)
    assert await metadata.read(lambda tx: tx.blocks.good_copies(ann.ns, [hash_of(b"word")])) == {
        hash_of(b"word"): key
    }
    assert await metadata.write(lambda tx: tx.blocks.mark_bad([first, BlobId(new())], now=NOW)) == 1
    assert await metadata.write(lambda tx: tx.blocks.mark_bad([first], now=LATER)) == 0
    assert await metadata.read(lambda tx: tx.blocks.good_copies(ann.ns, [hash_of(b"word")])) == {}
    healed, third = await metadata.write(lambda tx: ann.block(tx, "word"))
    assert healed == key
    assert second != third
    assert await metadata.write(lambda tx: blob_of(tx, key)) == (third,)
    assert await metadata.read(lambda tx: tx.blocks.good_copies(ann.ns, [hash_of(b"word")])) == {
        hash_of(b"word"): key
    }


async def test_a_revision_changes_with_a_change_and_with_a_block_that_moves(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    async def revision() -> Revision:
        return await metadata.read(lambda tx: tx.namespaces.revision(ann.ns))

    first = await revision()
    seq = await metadata.write(lambda tx: tx.namespaces.advance(ann.ns, delta=0, by=3))
    assert await revision() == replace(first, seq=seq)
    _, blob = await metadata.write(lambda tx: ann.block(tx, "word"))
    await metadata.write(lambda tx: ann.block(tx, "word"))
    await metadata.write(lambda tx: tx.blocks.mark_bad([blob], now=NOW))
    await metadata.write(lambda tx: bob.block(tx, "word"))
    assert await revision() == replace(first, seq=seq), "nothing that is there lies elsewhere now"
    await metadata.write(lambda tx: ann.block(tx, "word"))
    assert await revision() == replace(first, seq=seq, upkeep=first.upkeep + 1)


async def test_usable_is_what_is_leased_or_referred_to_and_readable(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    words = ("leased", "referred", "neither", "bad", "bob's")
    blobs: dict[str, BlobId] = {}

    def set_up(tx: Transaction) -> None:
        for word in words[:4]:
            key, blobs[word] = ann.block(tx, word, leased=word in ("leased", "bad"))
            if word == "referred":
                ann.version(tx, ann.node(tx, "file"), [key])
        bob.block(tx, "bob's")
        tx.blocks.mark_bad([blobs["bad"]], now=NOW)

    def usable(tx: Transaction, namespace: NamespaceId, user: UserId) -> set[str]:
        hashes = {hash_of(word.encode()): word for word in words}
        found = tx.blocks.usable(namespace, list(hashes), user)
        assert all(found[sha256].size == len(hashes[sha256]) for sha256 in found)
        return {hashes[sha256] for sha256 in found}

    await metadata.write(set_up)
    assert await metadata.read(lambda tx: usable(tx, ann.ns, ann.id)) == {"leased", "referred"}
    # Bob has no lease in ann's namespace, and in his own he sees nothing of hers.
    assert await metadata.read(lambda tx: usable(tx, ann.ns, bob.id)) == {"referred"}
    assert await metadata.read(lambda tx: usable(tx, bob.ns, bob.id)) == {"bob's"}
    assert await metadata.read(lambda tx: usable(tx, bob.ns, ann.id)) == set()


async def test_lists_longer_than_a_statement_takes(metadata: SqlMetadata, ann: Somebody) -> None:
    key, _ = await metadata.write(lambda tx: ann.block(tx, "word"))
    hashes = [hash_of(str(number).encode()) for number in range(3000)] + [hash_of(b"word")]
    assert set(await metadata.read(lambda tx: tx.blocks.usable(ann.ns, hashes, ann.id))) == {hash_of(b"word")}
    keys = [BlockKey(new()) for _ in range(3000)] + [key]

    def much(tx: Transaction) -> int:
        tx.blocks.renew_leases(ann.ns, hashes, ann.id, expires_at=LATER)
        tx.blocks.keep(keys)
        tx.blocks.end_leases(keys, ann.id)
        assert tx.blocks.mark_bad([BlobId(each) for each in keys], now=NOW) == 0
        return tx.blocks.leased_bytes(ann.id, now=NOW)

    assert await metadata.write(much) == 0


async def test_an_expired_lease_does_not_count(metadata: SqlMetadata, ann: Somebody) -> None:
    key, _ = await metadata.write(lambda tx: ann.block(tx, "12345"))
    await metadata.write(lambda tx: tx.blocks.lease(ann.ns, key, 5, ann.id, expires_at=LATER))
    just_before = LATER - timedelta(seconds=1)
    assert await metadata.read(lambda tx: tx.blocks.leased_bytes(ann.id, now=just_before)) == 5
    assert await metadata.read(lambda tx: tx.blocks.leased_bytes(ann.id, now=LATER)) == 0


async def test_leases_count_once_a_block_and_each_user_s_own(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    def leased(tx: Transaction) -> tuple[int, int]:
        return tx.blocks.leased_bytes(ann.id, now=NOW), tx.blocks.leased_bytes(bob.id, now=NOW)

    key, _ = await metadata.write(lambda tx: ann.block(tx, "12345"))
    await metadata.write(lambda tx: tx.blocks.lease(ann.ns, key, 5, ann.id, expires_at=LATER + timedelta(1)))
    assert await metadata.read(leased) == (5, 0)
    await metadata.write(lambda tx: tx.blocks.lease(ann.ns, key, 5, bob.id, expires_at=LATER))
    await metadata.write(lambda tx: ann.block(tx, "123"))
    assert await metadata.read(leased) == (8, 5)
    await metadata.write(lambda tx: tx.blocks.end_leases([key], ann.id))
    assert await metadata.read(leased) == (3, 5)
    sha256: list[Sha256] = [hash_of(b"12345")]
    await metadata.write(lambda tx: tx.blocks.renew_leases(ann.ns, sha256, ann.id, expires_at=LATER))
    assert await metadata.read(leased) == (3, 5), "renewing made a lease"


async def test_stored_blobs_are_paged_in_ascending_order(metadata: SqlMetadata, ann: Somebody) -> None:
    container = f"c{new()[:12]}"
    stored = await metadata.write(lambda tx: [ann.stored(tx, container) for _ in range(7)])
    await metadata.write(lambda tx: tx.blocks.start_blob(BlobId(new()), container, 1, now=NOW))
    pages: list[list[BlobId]] = []
    after: BlobId | None = None
    while page := await metadata.read(
        lambda tx, after=after: list(tx.blocks.stored_blobs(container, after=after, limit=3))
    ):
        pages.append(page)
        after = page[-1]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [blob for page in pages for blob in page] == sorted(stored)


async def test_bad_blocks_are_those_that_somebody_would_miss(metadata: SqlMetadata, ann: Somebody) -> None:
    before = await metadata.read(lambda tx: tx.blocks.bad_blocks())

    def spoil(tx: Transaction) -> None:
        referred, blob = ann.block(tx, "referred")
        _, other = ann.block(tx, "only leased")
        ann.version(tx, ann.node(tx, "file"), [referred, referred])
        tx.blocks.mark_bad([blob, other], now=NOW)

    await metadata.write(spoil)
    assert await metadata.read(lambda tx: tx.blocks.bad_blocks()) == before + 1


# --- files


@pytest.mark.parametrize(("one", "other"), [("Report", "rEPORT"), ("é", "e\u0301"), ("straße", "STRASSE")])
async def test_clashing_names_are_refused_among_the_living(
    metadata: SqlMetadata, ann: Somebody, one: str, other: str
) -> None:
    first = await metadata.write(lambda tx: ann.node(tx, one))
    with pytest.raises(NameExists):
        await metadata.write(lambda tx: ann.node(tx, other))
    assert await metadata.write(lambda tx: tx.files.delete_node(ann.ns, first, seq=2))
    assert not await metadata.write(lambda tx: tx.files.delete_node(ann.ns, first, seq=3))
    second = await metadata.write(lambda tx: ann.node(tx, other))
    found = await metadata.read(lambda tx: tx.files.child(ann.ns, ann.root, parse_name(one).key))
    assert found is not None
    assert found.id == second
    assert await metadata.read(lambda tx: tx.files.node(ann.ns, first)) is None
    assert await metadata.read(lambda tx: tx.files.namespace_of(first)) == ann.ns


async def test_names_that_only_end_differently_live_side_by_side(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    for name in ("a", "ä", "а", " a", "a.b", "ı", "i"):
        node = await metadata.write(lambda tx, name=name: ann.node(tx, name))
        found = await metadata.read(
            lambda tx, name=name: tx.files.child(ann.ns, ann.root, parse_name(name).key)
        )
        assert found is not None
        assert (found.id, found.name) == (node, name)


async def test_no_lost_update_only_the_head_is_replaced(metadata: SqlMetadata, ann: Somebody) -> None:
    key, _ = await metadata.write(lambda tx: ann.block(tx, "word"))
    node = await metadata.write(lambda tx: ann.node(tx, "file"))
    first, made = await metadata.write(lambda tx: ann.version(tx, node, [key]))
    assert made
    for base, number in ((NO_VERSION, 2), (VersionId(new()), 2)):
        _, made = await metadata.write(lambda tx, b=base, n=number: ann.version(tx, node, [key], b, n))
        assert not made
    second, made = await metadata.write(lambda tx: ann.version(tx, node, [key, key], first.id, 2))
    assert made
    found = await metadata.read(lambda tx: tx.files.node(ann.ns, node))
    assert found is not None
    assert found.head == second
    assert await metadata.read(lambda tx: tx.files.version(ann.ns, node, first.id)) == first
    assert len(await metadata.read(lambda tx: tx.blocks.of_version(ann.ns, second.id))) == 2
    await metadata.write(lambda tx: tx.files.delete_node(ann.ns, node, seq=9))
    _, made = await metadata.write(lambda tx: ann.version(tx, node, [key], second.id, 3))
    assert not made, "a deleted file got a version"


async def test_no_dangling_edge_to_a_block_that_is_not_in_the_namespace(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    theirs, _ = await metadata.write(lambda tx: bob.block(tx, "theirs"))
    node = await metadata.write(lambda tx: ann.node(tx, "file"))
    for key in (theirs, BlockKey(new())):
        with pytest.raises(IntegrityError):
            await metadata.write(lambda tx, key=key: ann.version(tx, node, [key]))
    found = await metadata.read(lambda tx: tx.files.node(ann.ns, node))
    assert found is not None
    assert found.head is None


async def test_versions_are_known_by_their_own_node_only(
    metadata: SqlMetadata, ann: Somebody, bob: Somebody
) -> None:
    node, other = await metadata.write(lambda tx: (ann.node(tx, "a"), ann.node(tx, "b")))
    version, _ = await metadata.write(lambda tx: ann.version(tx, node, []))
    assert await metadata.read(lambda tx: tx.files.knows_version(node, version.id))
    assert not await metadata.read(lambda tx: tx.files.knows_version(other, version.id))
    assert await metadata.read(lambda tx: tx.files.version(ann.ns, other, version.id)) is None
    assert await metadata.read(lambda tx: tx.files.version(bob.ns, node, version.id)) is None
    assert await metadata.read(lambda tx: tx.files.node(bob.ns, node)) is None
    assert await metadata.read(lambda tx: tx.files.namespace_of(NodeId(new()))) is None


async def test_paths_lead_through_living_folders(metadata: SqlMetadata, ann: Somebody) -> None:
    def build(tx: Transaction) -> list[NodeId]:
        outer = ann.node(tx, "Ä", kind=NodeKind.FOLDER)
        inner = ann.node(tx, "b c", outer, NodeKind.FOLDER)
        return [outer, inner, ann.node(tx, "deep.txt", inner), ann.node(tx, "top.txt")]

    outer, _, deep, top = await metadata.write(build)

    def paths(tx: Transaction) -> dict[NodeId, str]:
        nodes = [tx.files.node(ann.ns, node) for node in (deep, top)]
        return dict(tx.files.paths(ann.ns, [node for node in nodes if node]))

    assert await metadata.read(paths) == {deep: "/Ä/b c/deep.txt", top: "/top.txt"}
    await metadata.write(lambda tx: tx.files.delete_node(ann.ns, outer, seq=9))
    assert await metadata.read(paths) == {top: "/top.txt"}


async def test_pages_and_children_together_give_everything_once(metadata: SqlMetadata, ann: Somebody) -> None:
    names = ["b", "a", "é", "C", "z", "日", "aa"]
    made = await metadata.write(lambda tx: [ann.node(tx, name) for name in names])
    folder = await metadata.write(lambda tx: ann.node(tx, "folder", kind=NodeKind.FOLDER))
    found: list[Any] = []
    place: Place | None = None
    while page := await metadata.read(lambda tx, after=place: tx.files.page(ann.ns, after=after, limit=3)):
        found += [node.id for _, node in page]
        place = page[-1][0]
    assert found == made
    keys: list[str] = []
    after: str | None = None
    while entries := await metadata.read(
        lambda tx, after=after: tx.files.children(ann.ns, ann.root, NodeKind.FILE, after=after, limit=2)
    ):
        keys += [key for key, _ in entries]
        after = keys[-1]
    assert keys == sorted(parse_name(name).key for name in names)
    folders = await metadata.read(
        lambda tx: tx.files.children(ann.ns, ann.root, NodeKind.FOLDER, after=None, limit=9)
    )
    assert [node.id for _, node in folders] == [folder]


async def test_the_journal_has_each_place_once(metadata: SqlMetadata, ann: Somebody) -> None:
    change = Change(ChangeKind.FILE_CREATED, NodeId(new()), VersionId(new()), ann.device)
    await metadata.write(lambda tx: tx.journal.record(ann.ns, 1, [change, change], now=NOW))
    with pytest.raises(IntegrityError):
        await metadata.write(lambda tx: tx.journal.record(ann.ns, 1, [change], now=NOW))


async def test_an_assembly_is_used_until_it_is_bad(metadata: SqlMetadata, ann: Somebody) -> None:
    node = await metadata.write(lambda tx: ann.node(tx, "file"))
    version, _ = await metadata.write(lambda tx: ann.version(tx, node, []))
    blobs = await metadata.write(lambda tx: [ann.stored(tx, "assembled") for _ in range(2)])
    assert await metadata.read(lambda tx: tx.files.assembly(version.id)) is None
    for blob in blobs:
        kept = Assembly(blob, LATER)
        await metadata.write(lambda tx, kept=kept: tx.files.set_assembly(version.id, kept))
        assert await metadata.read(lambda tx: tx.files.assembly(version.id)) == kept
    await metadata.write(lambda tx: tx.blocks.mark_bad([blobs[1]], now=NOW))
    assert await metadata.read(lambda tx: tx.files.assembly(version.id)) is None


async def test_times_come_back_with_their_zone_and_their_microseconds(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    node = await metadata.write(lambda tx: ann.node(tx, "file"))
    moment = NOW + timedelta(microseconds=123_456)
    made = Version(VersionId(new()), 1, 0, root_hash([]), moment, moment, 1)
    await metadata.write(
        lambda tx: tx.files.add_versions(ann.ns, [NewVersion(node, made, NO_VERSION, ann.id, ann.device, [])])
    )
    assert await metadata.read(lambda tx: tx.files.version(ann.ns, node, made.id)) == made
