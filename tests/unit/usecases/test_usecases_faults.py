"""Killed anywhere: before or after every single call of a port, down to each statement's, and then done again.

A fault before a call is a process that died there; a fault after it is an answer that got lost when the effect was
there already. Whatever was hit, nothing dangles, what was acknowledged can be read, and doing it again works.
"""

from collections.abc import Awaitable, Callable

import pytest

from shared.domain.accounts import Caller
from shared.domain.ids import VersionId
from shared.ports.metadata import Transaction
from shared.usecases.drafting import Committed
from tests.support.faults import Cut, CutAt, Hook, Moment, WatchedMetadata, WatchedStore, cuts
from tests.support.invariants import check_invariants
from tests.support.samples import noise
from tests.support.world import World

CONTENT = noise("f", 1_200_000)
SMALL = [noise(word, 600) for word in ("one", "two")]


def broken(world: World, hook: Hook) -> World:
    return world.with_ports(
        metadata=WatchedMetadata(world.metadata, hook), store=WatchedStore(world.store, hook)
    )


async def upload(world: World, caller: Caller) -> Committed:
    return await world.upload(caller, "/docs/film.bin", CONTENT, idempotency_key="once")


async def commit_on(world: World, caller: Caller, base: VersionId) -> Committed:
    return await world.commit(caller, "/docs/a.txt", SMALL, base, idempotency_key="once")


async def interrupted(
    call: Callable[[World], Awaitable[Committed]], world: World, cut: CutAt
) -> Committed | None:
    """What the caller learns: the answer, or nothing."""
    try:
        return await call(broken(world, cut))
    except Cut:
        return None


@pytest.mark.parametrize("moment", list(Moment))
async def test_acked_is_readable_an_upload_that_is_cut_off_anywhere(world: World, moment: Moment) -> None:
    for number, cut in cuts(moment):
        caller = await world.caller(f"user{number}")
        answer = await interrupted(lambda other, who=caller: upload(other, who), world, cut)
        assert (answer is None) == (cut.where is not None), cut.where
        if number % 5 == 0:
            check_invariants(world)
        again = await upload(world, caller)
        assert answer in (None, again), cut.where
        assert (again.version, again.seq, again.path) == (1, 1, "/docs/film.bin"), f"done twice: {cut.where}"
        assert await world.read(caller, again.file_id) == CONTENT, cut.where
    assert number > 30, "hardly any call was hit"
    check_invariants(world)


@pytest.mark.parametrize("moment", list(Moment))
async def test_commit_is_atomic_a_commit_that_is_cut_off_anywhere(world: World, moment: Moment) -> None:
    for number, cut in cuts(moment):
        caller = await world.caller(f"user{number}")
        await world.admit(caller, *SMALL)
        first = await world.commit(caller, "/docs/a.txt", SMALL[:1])
        await world.admit(caller, *SMALL)
        answer = await interrupted(
            lambda other, f=first, who=caller: commit_on(other, who, f.version_id), world, cut
        )
        file = await world.get_file(caller, first.file_id)
        if answer is None:
            # Either nothing of it, or all of it: the content tells which, and is whole.
            expected = b"".join(SMALL[: file.version.number])
            assert await world.read(caller, first.file_id) == expected, cut.where
            lost_answer = moment is Moment.AFTER and cut.where is not None and "metadata.write" in cut.where
            assert file.version.number == (2 if lost_answer else 1), cut.where
        else:
            assert file.version.id == answer.version_id
        again = await commit_on(world, caller, first.version_id)
        assert answer in (None, again), cut.where
        assert (again.version, again.seq) == (2, 2), f"done twice: {cut.where}"
        assert await world.read(caller, first.file_id) == b"".join(SMALL), cut.where
    assert number > 15, "hardly any call was hit"
    check_invariants(world)


@pytest.mark.parametrize("moment", list(Moment))
async def test_an_upload_without_a_key_can_be_sent_again_too(world: World, moment: Moment) -> None:
    """The same content on the head changes nothing, so even a client without keys ends at one version."""
    for number, cut in cuts(moment, step=4):
        caller = await world.caller(f"user{number}")
        await interrupted(lambda other, who=caller: other.upload(who, "/a", SMALL[0]), world, cut)
        again = await world.upload(caller, "/a", SMALL[0])
        assert again.version == 1, cut.where
        assert await world.read(caller, again.file_id) == SMALL[0], cut.where
    check_invariants(world)


@pytest.mark.parametrize("moment", list(Moment))
async def test_a_delete_that_is_cut_off_anywhere(world: World, moment: Moment) -> None:
    for number, cut in cuts(moment):
        caller = await world.caller(f"user{number}")
        made = await world.commit(caller, "/a", [])
        try:
            await broken(world, cut).delete_file(caller, made.file_id, idempotency_key="once")
        except Cut:
            assert cut.where
        assert await world.delete_file(caller, made.file_id, idempotency_key="once") == 2, cut.where
    assert number > 8
    check_invariants(world)


@pytest.mark.parametrize("moment", list(Moment))
async def test_bad_copy_never_blocks_repair_a_healing_that_is_cut_off_anywhere(
    world: World, moment: Moment
) -> None:
    for number, cut in cuts(moment):
        caller = await world.caller(f"user{number}")
        made = await world.upload(caller, "/a", SMALL[0])
        world.memory.blobs.clear()
        await world.reconcile_blobs()
        await interrupted(lambda other, who=caller: other.upload(who, "/a", SMALL[0]), world, cut)
        await world.upload(caller, "/a", SMALL[0])
        assert await world.read(caller, made.file_id) == SMALL[0], cut.where
    assert number > 15


async def test_the_faults_are_what_they_say(world: World, ann: Caller) -> None:
    """The test of the test: before a write there is no effect, after it there is."""
    for moment, effects in ((Moment.BEFORE, 0), (Moment.AFTER, 1)):
        calls: list[str] = []

        def note(when: Moment, call: str, _tx: Transaction | None, calls: list[str] = calls) -> None:
            calls.append(f"{when.value} {call}")

        cut = CutAt(1, moment)

        def at_write(when: Moment, call: str, tx: Transaction | None, cut: CutAt = cut) -> None:
            if call == "metadata.write":
                cut(when, call, tx)

        with pytest.raises(Cut):
            await broken(world, at_write).commit(ann, "/a", [])
        assert len((await world.list_files.whole_tree(ann, None, cursor=None, limit=9)).files) == effects
        await broken(world, note).commit(ann, "/a", [])
        assert calls[0] == "before metadata.write"
        assert calls[-1] == "after metadata.write"
        assert "after namespaces.lock" in calls
