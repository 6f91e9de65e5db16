"""What the outbox and the notes of backlogs owe, on every database."""

from datetime import timedelta

import pytest

from shared.adapters.sql.database import SqlMetadata
from shared.adapters.system import RandomIds
from shared.domain.accounts import parse_username
from shared.domain.errors import Malformed
from shared.domain.events import FileEvent
from shared.domain.ids import DeviceId, NamespaceId, NodeId, UserId
from shared.ports.metadata import Transaction
from shared.ports.tables_accounts import Device
from shared.ports.tables_journal import Change, ChangeKind
from tests.support.doubles import START as NOW

new = RandomIds().new
LATER = NOW + timedelta(days=1)
FOREVER = NOW + timedelta(days=1000)


class Somebody:
    def __init__(self) -> None:
        self.id, self.device, self.ns = UserId(new()), DeviceId(new()), NamespaceId(new())

    def join(self, tx: Transaction) -> None:
        tx.accounts.add_user(self.id, parse_username(f"user-{new()}"), "hash", now=NOW)
        tx.accounts.add_device(Device(self.device, self.id, "laptop", "linux"), now=NOW)
        tx.namespaces.add_personal(self.ns, self.id, quota=1000, now=NOW)

    def record(self, tx: Transaction, *kinds: ChangeKind, days: int = 0) -> int:
        seq = tx.namespaces.advance(self.ns, delta=0)
        changes = [Change(kind, NodeId(new()), None, self.device) for kind in kinds]
        tx.journal.record(self.ns, seq, changes, now=NOW + timedelta(days=days))
        return seq


@pytest.fixture
async def ann(metadata: SqlMetadata) -> Somebody:
    ann = Somebody()
    await metadata.write(ann.join)
    # On a database that others use too, nothing of theirs may wait.
    await metadata.write(lambda tx: tx.outbox.forget(created_before=FOREVER, limit=10_000))
    return ann


async def test_each_seq_has_one_event_that_tells_what_the_journal_tells(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    made = [ChangeKind.FILE_CREATED, ChangeKind.FOLDER_CREATED, ChangeKind.FILE_CREATED]
    first = await metadata.write(lambda tx: ann.record(tx, *made))
    second = await metadata.write(lambda tx: ann.record(tx, ChangeKind.FILE_DELETED, days=1))
    events = await metadata.read(lambda tx: tx.outbox.waiting(created_until=LATER, limit=10))
    assert events == [
        FileEvent(
            namespace=ann.ns,
            epoch=1,
            seq=first,
            device=ann.device,
            at=NOW,
            kinds={"file_created": 2, "folder_created": 1},
        ),
        FileEvent(
            namespace=ann.ns, epoch=1, seq=second, device=ann.device, at=LATER, kinds={"file_deleted": 1}
        ),
    ]
    found = await metadata.read(lambda tx: tx.outbox.find([(ann.ns, second), (ann.ns, 99)]))
    assert found == events[1:]


async def test_outbox_neither_phantom_nor_loss_a_change_that_is_taken_back_has_no_event(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    def fails(tx: Transaction) -> None:
        ann.record(tx, ChangeKind.FILE_CREATED)
        raise Malformed("no")

    with pytest.raises(Malformed):
        await metadata.write(fails)
    assert await metadata.read(lambda tx: tx.outbox.waiting(created_until=FOREVER, limit=10)) == []


async def test_the_oldest_come_first_and_are_gone_when_they_are_removed(
    metadata: SqlMetadata, ann: Somebody
) -> None:
    bob = Somebody()
    await metadata.write(bob.join)
    ages = [(ann, 3), (bob, 1), (ann, 2), (bob, 5)]
    for who, days in ages:
        await metadata.write(
            lambda tx, who=who, days=days: who.record(tx, ChangeKind.FILE_CREATED, days=days)
        )
    in_order = [(bob.ns, 1), (ann.ns, 2), (ann.ns, 1), (bob.ns, 2)]

    async def keys(limit: int = 10, until: int = 1000) -> list[tuple[NamespaceId, int]]:
        created_until = NOW + timedelta(days=until)
        events = await metadata.read(lambda tx: tx.outbox.waiting(created_until=created_until, limit=limit))
        return [(event.namespace, event.seq) for event in events]

    assert await keys() == in_order
    assert await keys(limit=2) == in_order[:2]
    assert await keys(until=2) == in_order[:2]
    backed = await metadata.read(lambda tx: tx.outbox.backed(limit=3))
    assert (backed.count, backed.since) == (3, NOW + timedelta(days=1))
    for _ in range(2):
        await metadata.write(lambda tx: tx.outbox.remove(in_order[1:3]))
    assert await keys() == [in_order[0], in_order[3]]
    old = NOW + timedelta(days=5)
    assert await metadata.write(lambda tx: tx.outbox.forget(created_before=old, limit=10)) == 1
    assert await keys() == in_order[3:]
    await metadata.write(lambda tx: tx.outbox.remove(in_order))
    backed = await metadata.read(lambda tx: tx.outbox.backed(limit=3))
    assert (backed.count, backed.since) == (0, None)


async def test_long_lists_of_events(metadata: SqlMetadata, ann: Somebody) -> None:
    def many(tx: Transaction) -> list[tuple[NamespaceId, int]]:
        return [(ann.ns, ann.record(tx, ChangeKind.FILE_CREATED)) for _ in range(2500)]

    keys = await metadata.write(many)
    assert len(await metadata.read(lambda tx: tx.outbox.find(keys))) == 2500
    await metadata.write(lambda tx: tx.outbox.remove(keys))
    assert await metadata.read(lambda tx: tx.outbox.find(keys)) == []


async def test_who_should_have_a_hint(metadata: SqlMetadata, ann: Somebody) -> None:
    bob, stranger = Somebody(), Somebody()
    tablet, lost, old = (DeviceId(new()) for _ in range(3))

    def prepare(tx: Transaction) -> None:
        bob.join(tx)
        stranger.join(tx)
        for device in (tablet, lost):
            tx.accounts.add_device(Device(device, ann.id, "more", "linux"), now=NOW)
        tx.accounts.add_device(Device(old, ann.id, "old", "linux"), now=NOW - timedelta(days=61))
        assert tx.accounts.revoke_device(lost, ann.id, now=NOW)

    await metadata.write(prepare)

    async def without(but: DeviceId, *, now_is: int = 0) -> list[DeviceId]:
        now = NOW + timedelta(days=now_is)
        return list(
            await metadata.read(
                lambda tx: tx.backlogs.without_hint(
                    ann.ns,
                    but=but,
                    seen_since=NOW - timedelta(days=60),
                    hinted_before=now - timedelta(days=7),
                )
            )
        )

    assert await without(ann.device) == [tablet]
    assert await without(stranger.device) == sorted([ann.device, tablet])
    await metadata.write(lambda tx: tx.backlogs.note([tablet], now=NOW))
    assert await without(ann.device) == []
    assert await metadata.read(lambda tx: tx.backlogs.is_noted(tablet))
    assert await without(ann.device, now_is=7) == [], "a note is worth something for the whole time"
    assert await without(ann.device, now_is=8) == [tablet]
    await metadata.write(lambda tx: tx.backlogs.clear(tablet))
    await metadata.write(lambda tx: tx.backlogs.clear(tablet))
    assert not await metadata.read(lambda tx: tx.backlogs.is_noted(tablet))
    assert not await metadata.read(lambda tx: tx.backlogs.is_noted(DeviceId(new())))
    assert await without(ann.device) == [tablet]
