"""Accounts: one account a name, the same work for everybody, and tokens that end when they should."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from shared.domain.accounts import Caller
from shared.domain.errors import InvalidCredentials, InvalidToken, Malformed, Unacceptable, UsernameTaken
from shared.domain.ids import DeviceId
from shared.ports.metadata import Transaction
from shared.usecases.sign_in import MAX_DEVICES, REUSE_GRACE, DeviceClaim, SignedIn
from tests.support.doubles import PlainPasswords
from tests.support.faults import Inside, Moment, WatchedMetadata
from tests.support.world import PASSWORD, QUOTA, World

LAPTOP = DeviceClaim("laptop", "linux")
SECOND = timedelta(seconds=1)
T = TypeVar("T")


async def log_in(
    world: World, username: str = "ann", password: str = PASSWORD, claim: DeviceClaim = LAPTOP
) -> SignedIn:
    return await world.sign_in.log_in(username, password, claim)


def caller_of(world: World, signed: SignedIn) -> Caller:
    return world.tokens.verify_access(signed.access_token, now=world.clock.now())


async def is_current(world: World, caller: Caller) -> bool:
    return await world.metadata.read(lambda tx: tx.accounts.is_current(caller))


def at_once(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits for something")


# --- registering


async def test_a_new_user_has_an_empty_namespace_with_the_quota(world: World) -> None:
    ann = await world.caller("ann")
    namespace = await world.namespace_of(ann)
    usage = await world.metadata.read(lambda tx: tx.namespaces.usage(namespace))
    assert (usage.used, usage.quota) == (0, QUOTA)


@pytest.mark.parametrize("twin", ["ann", "ANN", "ａｎｎ", "ᴬnn"])
async def test_a_look_alike_is_taken_and_leaves_nothing(world: World, ann: Caller, twin: str) -> None:
    with pytest.raises(UsernameTaken):
        await world.register(twin, "another password")
    assert world.sql("SELECT COUNT(*) FROM users") == world.sql("SELECT COUNT(*) FROM namespaces") == [(1,)]
    with pytest.raises(InvalidCredentials):
        await log_in(world, "ann", "another password")


async def test_of_many_who_register_one_name_one_gets_it(world: World) -> None:
    asked = await asyncio.gather(*(world.register("ann", PASSWORD) for _ in range(8)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in asked) == ["UsernameTaken"] * 7 + ["str"]


@pytest.mark.parametrize(
    ("username", "password", "refusal"),
    [
        ("", PASSWORD, Malformed),
        ("a b", PASSWORD, Malformed),
        ("ann", "short", Unacceptable),
        ("ann", "x" * 1025, Unacceptable),
    ],
)
async def test_what_is_refused_costs_no_work_and_leaves_nothing(
    world: World, username: str, password: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await world.register(username, password)
    assert world.passwords.work == []  # type: ignore[attr-defined] # the double counts
    assert world.sql("SELECT COUNT(*) FROM users") == [(0,)]


# --- logging in


@pytest.mark.parametrize(
    "password", [PASSWORD, " päss  wörd ", "😀" * 9, "nul\0nul\0nul", "x" * 1024, "\ud800" * 9]
)
async def test_a_password_counts_as_it_was_given(world: World, password: str) -> None:
    await world.register("ann", password)
    assert caller_of(world, await log_in(world, "ann", password)).epoch == 1
    for other in (password[:-1], password + " ", password.strip() + "x"):
        with pytest.raises(InvalidCredentials):
            await log_in(world, "ann", other)


@pytest.mark.parametrize("username", ["ann", "nobody", "no name at all\0", ""])
async def test_a_wrong_login_has_one_answer_and_one_cost_for_every_name(
    world: World, ann: Caller, username: str
) -> None:
    passwords = PlainPasswords()
    with pytest.raises(InvalidCredentials) as refused:
        await world.with_ports(passwords=passwords).sign_in.log_in(username, "wrong password", LAPTOP)
    assert str(refused.value) == "user name and password don't belong together"
    assert passwords.work == ["matches"]


async def test_a_known_device_stays_the_same_and_others_get_a_new_one(
    world: World, ann: Caller, bob: Caller
) -> None:
    again = await log_in(world, claim=replace(LAPTOP, known=ann.device_id))
    assert again.device_id == ann.device_id
    for claimed in (bob.device_id, DeviceId("f" * 32), None):
        other = await log_in(world, claim=replace(LAPTOP, known=claimed))
        assert other.device_id not in (ann.device_id, bob.device_id, claimed)


async def test_devices_are_bounded_and_one_that_ends_makes_room(world: World, ann: Caller) -> None:
    for _ in range(MAX_DEVICES - 1):
        await log_in(world)
    with pytest.raises(Unacceptable, match="too many devices"):
        await log_in(world)
    assert (await log_in(world, claim=replace(LAPTOP, known=ann.device_id))).device_id == ann.device_id
    await world.sign_in.log_out(ann)
    await log_in(world)


# --- refreshing


async def test_a_refresh_goes_on_with_the_same_device(world: World, ann: Caller) -> None:
    signed = await log_in(world)
    for _ in range(3):
        world.clock.advance(timedelta(hours=1))
        following = await world.sign_in.refresh(signed.refresh_token)
        assert following.refresh_token != signed.refresh_token
        assert caller_of(world, following).device_id == signed.device_id
        signed = following


async def test_a_lost_answer_is_given_again_within_the_grace(world: World, ann: Caller) -> None:
    signed = await log_in(world)
    first = await world.sign_in.refresh(signed.refresh_token)
    world.clock.advance(REUSE_GRACE)
    assert (await world.sign_in.refresh(signed.refresh_token)).refresh_token == first.refresh_token
    await world.sign_in.refresh(first.refresh_token)


async def test_a_token_that_is_used_late_ends_its_whole_family_and_no_other(
    world: World, ann: Caller
) -> None:
    signed, other = await log_in(world), await log_in(world)
    following = await world.sign_in.refresh(signed.refresh_token)
    world.clock.advance(REUSE_GRACE + SECOND)
    with pytest.raises(InvalidToken):
        await world.sign_in.refresh(signed.refresh_token)
    with pytest.raises(InvalidToken):
        await world.sign_in.refresh(following.refresh_token)
    await world.sign_in.refresh(other.refresh_token)


async def test_two_refreshes_at_once_have_one_successor(world: World, ann: Caller) -> None:
    signed = await log_in(world)
    both = await asyncio.gather(*(world.sign_in.refresh(signed.refresh_token) for _ in range(8)))
    assert len({each.refresh_token for each in both}) == 1
    assert world.sql("SELECT COUNT(*) FROM refresh_tokens WHERE used_at IS NULL AND revoked_at IS NULL") == [
        (2,)
    ]
    await world.sign_in.refresh(both[0].refresh_token)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_refresh_that_another_one_overtakes_has_the_same_successor(
    world: World, ann: Caller, number: int
) -> None:
    """SQL Server lets both run side by side: the other one commits between two calls of this one.

    Behind the second call it can't, since the first has locked the token.
    """
    signed = await log_in(world)
    successors: list[str] = []
    calls: list[str] = []

    def overtake(moment: Moment, call: str, tx: Transaction | None) -> None:
        if moment is Moment.BEFORE and tx is not None:
            calls.append(call)
            if len(calls) == number:
                other = world.with_ports(metadata=Inside(tx)).sign_in
                successors.append(at_once(other.refresh(signed.refresh_token)).refresh_token)

    watched = world.with_ports(metadata=WatchedMetadata(world.metadata, overtake)).sign_in
    successors.append((await watched.refresh(signed.refresh_token)).refresh_token)
    assert calls[0] == "accounts.use_refresh_token", "what is read before the lock is out of date behind it"
    assert len(successors) == 2
    assert successors[0] == successors[1]
    await world.sign_in.refresh(successors[0])


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "\ud800", "' OR 1=1"])
async def test_a_token_that_was_never_given_out(world: World, ann: Caller, token: str) -> None:
    with pytest.raises(InvalidToken):
        await world.sign_in.refresh(token)


async def test_a_refresh_token_ends(world: World, ann: Caller) -> None:
    signed = await log_in(world)
    world.clock.advance(timedelta(days=60))
    with pytest.raises(InvalidToken):
        await world.sign_in.refresh(signed.refresh_token)


async def test_an_access_token_is_no_refresh_token_and_the_other_way_round(world: World, ann: Caller) -> None:
    signed = await log_in(world)
    with pytest.raises(InvalidToken):
        await world.sign_in.refresh(signed.access_token)
    with pytest.raises(InvalidToken):
        world.tokens.verify_access(signed.refresh_token, now=world.clock.now())


# --- ending


async def test_logging_out_ends_the_access_token_and_the_refresh_token_of_that_device(
    world: World, ann: Caller
) -> None:
    laptop, phone = await log_in(world), await log_in(world)
    await world.sign_in.log_out(caller_of(world, laptop))
    assert not await is_current(world, caller_of(world, laptop))
    with pytest.raises(InvalidToken):
        await world.list_files.whole_tree(caller_of(world, laptop), None, cursor=None, limit=1)
    with pytest.raises(InvalidToken):
        await world.sign_in.refresh(laptop.refresh_token)
    with pytest.raises(InvalidToken):
        await world.sign_in.log_out(caller_of(world, laptop))
    assert await is_current(world, caller_of(world, phone))
    await world.sign_in.refresh(phone.refresh_token)
    # The device is over: a later login with its id makes a new one.
    again = await log_in(world, claim=replace(LAPTOP, known=laptop.device_id))
    assert again.device_id != laptop.device_id


async def test_a_new_password_ends_every_token_of_the_user(world: World, ann: Caller, bob: Caller) -> None:
    laptop, phone = await log_in(world), await log_in(world)
    bobs = await log_in(world, "bob")
    await world.sign_in.change_password(caller_of(world, laptop), PASSWORD, "a new password")
    for signed in (laptop, phone):
        assert not await is_current(world, caller_of(world, signed))
        with pytest.raises(InvalidToken):
            await world.sign_in.refresh(signed.refresh_token)
    with pytest.raises(InvalidCredentials):
        await log_in(world)
    assert caller_of(world, await log_in(world, password="a new password")).epoch == 2
    assert await is_current(world, caller_of(world, bobs))


async def test_a_password_is_changed_only_by_who_knows_it(world: World, ann: Caller) -> None:
    with pytest.raises(InvalidCredentials):
        await world.sign_in.change_password(ann, "wrong password", "a new password")
    with pytest.raises(Unacceptable):
        await world.sign_in.change_password(ann, PASSWORD, "short")
    with pytest.raises(InvalidToken):
        await world.sign_in.change_password(replace(ann, epoch=2), PASSWORD, "a new password")
    assert await is_current(world, ann)
    await log_in(world)


async def test_of_two_changes_of_a_password_at_once_one_is_made(world: World, ann: Caller) -> None:
    asked = await asyncio.gather(
        *(world.sign_in.change_password(ann, PASSWORD, f"new password {number}") for number in range(4)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in asked) == ["InvalidToken"] * 3 + ["NoneType"]
    winner = asked.index(None)
    await log_in(world, password=f"new password {winner}")


class ChangedMeanwhile(PlainPasswords):
    """Passwords whose check takes so long that the user changes theirs meanwhile."""

    def __init__(self, world: World, ann: Caller) -> None:
        super().__init__()
        self._world, self._ann = world, ann

    async def matches(self, password: str, encoded: str | None) -> bool:
        right = await super().matches(password, encoded)
        await self._world.sign_in.change_password(self._ann, PASSWORD, "a new password")
        return right


async def test_a_login_by_the_old_password_does_not_outlive_its_change(world: World, ann: Caller) -> None:
    slow = world.with_ports(passwords=ChangedMeanwhile(world, ann))
    with pytest.raises(InvalidCredentials):
        await slow.sign_in.log_in("ann", PASSWORD, LAPTOP)
    assert world.sql("SELECT COUNT(*) FROM refresh_tokens WHERE revoked_at IS NULL") == [(0,)]


async def test_a_deleted_user_s_token_is_worth_nothing(world: World) -> None:
    unknown = Caller(ann_id := (await world.register("ann", PASSWORD)), DeviceId("e" * 32), 1)
    assert ann_id
    with pytest.raises(InvalidToken):
        await world.list_files.whole_tree(unknown, None, cursor=None, limit=1)


async def test_nothing_secret_is_kept_as_it_is(world: World, ann: Caller) -> None:
    signed = await log_in(world)
    tables = ("users", "devices", "refresh_tokens")
    kept = "\n".join(str(row) for table in tables for row in world.sql(f"SELECT * FROM {table}"))
    for secret in (PASSWORD, signed.refresh_token, signed.access_token):
        assert secret not in kept
