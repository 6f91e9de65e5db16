"""Accounts: registering, logging in, and staying logged in.

A login makes a device and a family of refresh tokens. Each refresh uses one generation up and makes the next.
A generation that is used again soon is a lost answer, and gets the same successor; used again later it is a
stolen token, and the whole family ends.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.accounts import Caller, Username, check_password, parse_username
from shared.domain.errors import InvalidCredentials, InvalidToken, StrataError, Unacceptable
from shared.domain.ids import DeviceId, FamilyId, NamespaceId, UserId
from shared.ports.credentials import Passwords, Tokens
from shared.ports.metadata import Metadata, Transaction
from shared.ports.system import Clock, Ids
from shared.ports.tables_accounts import Device, RefreshToken, User

MAX_DEVICES = 200
"""Devices that a user may be logged in on at once: more than people have, fewer than a runaway script makes."""

REUSE_GRACE = timedelta(seconds=60)
"""How long a used refresh token still gets its successor: longer than a client's retries last."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    access: timedelta
    refresh: timedelta


@dataclass(frozen=True, slots=True)
class DeviceClaim:
    """What a client says of its device; `known` is the id that it got at an earlier login."""

    name: str
    platform: str
    known: DeviceId | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`expires_in` is in seconds."""

    user_id: UserId
    device_id: DeviceId
    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True)
class Register:
    metadata: Metadata
    passwords: Passwords
    clock: Clock
    ids: Ids
    quota: int

    async def __call__(self, username: str, password: str) -> UserId:
        """Make the account; raises Malformed, Unacceptable, UsernameTaken, Busy."""
        name = parse_username(username)
        check_password(password)
        encoded = await self.passwords.hash(password)
        user, namespace = UserId(self.ids.new()), NamespaceId(self.ids.new())
        now = self.clock.now()

        def work(tx: Transaction) -> None:
            tx.accounts.add_user(user, name, encoded, now=now)
            tx.namespaces.add_personal(namespace, user, quota=self.quota, now=now)

        await self.metadata.write(work)
        return user


@dataclass(frozen=True)
class SignIn:
    metadata: Metadata
    passwords: Passwords
    tokens: Tokens
    clock: Clock
    ids: Ids
    lifetimes: Lifetimes

    async def log_in(self, username: str, password: str, claim: DeviceClaim) -> SignedIn:
        """Raises InvalidCredentials: the same after the same work, whether there is such a user or not; Busy."""
        name = _parse_or_none(username)
        user = await self.metadata.read(lambda tx: tx.accounts.user_by_name(name)) if name else None
        if not await self.passwords.matches(password, user.password_hash if user else None) or user is None:
            raise InvalidCredentials("user name and password don't belong together")
        return await self._begin(user, claim)

    async def refresh(self, refresh_token: str) -> SignedIn:
        """New tokens for a device; raises InvalidToken."""
        now = self.clock.now()
        token_hash = self.tokens.refresh_hash(refresh_token)

        def work(tx: Transaction) -> SignedIn | None:
            # First, for it locks the token: what is read behind it can't be changed by another refresh.
            first_use = tx.accounts.use_refresh_token(token_hash, now=now)
            used = tx.accounts.refresh_token(token_hash)
            if used is None or used.revoked_at is not None or used.expires_at <= now:
                return None
            user = tx.accounts.user(used.user_id)
            if user is None or not tx.accounts.hold_epoch(user.id, user.epoch):
                return None
            if not tx.accounts.see_device(used.device_id, used.user_id, now=now):
                return None
            following = used.generation + 1
            if first_use:
                self._add_token(tx, user.id, used.device_id, used.family, following, now)
            elif used.used_at is None or now - used.used_at > REUSE_GRACE:
                tx.accounts.revoke_family(used.family, now=now)
                return None
            return self._signed_in(user, used.device_id, used.family, following, now)

        signed_in = await self.metadata.write(work)
        if signed_in is None:
            # Raised out here, since raising inside would take the family's end back.
            raise InvalidToken("the refresh token is not valid any more; please log in again")
        return signed_in

    async def log_out(self, caller: Caller) -> None:
        """End the caller's device: its tokens are worth nothing from now on."""
        now = self.clock.now()

        def work(tx: Transaction) -> None:
            if not tx.accounts.is_current(caller):
                raise InvalidToken("the token was revoked already")
            tx.accounts.revoke_tokens(caller.user_id, caller.device_id, now=now)
            tx.accounts.revoke_device(caller.device_id, caller.user_id, now=now)

        await self.metadata.write(work)

    async def change_password(self, caller: Caller, password: str, new_password: str) -> None:
        """Set a new password and end all tokens of the user; raises InvalidCredentials, Unacceptable, Busy."""

        def current(tx: Transaction) -> User:
            user = tx.accounts.user(caller.user_id)
            if user is None or not tx.accounts.is_current(caller):
                raise InvalidToken("the token was revoked; please log in again")
            return user

        user = await self.metadata.read(current)
        check_password(new_password)
        if not await self.passwords.matches(password, user.password_hash):
            raise InvalidCredentials("the present password is not right")
        encoded = await self.passwords.hash(new_password)
        now = self.clock.now()

        def work(tx: Transaction) -> None:
            if not tx.accounts.set_password(user.id, encoded, epoch=user.epoch):
                raise InvalidToken("the password was changed meanwhile; please log in again")
            tx.accounts.advance_epoch(user.id)
            tx.accounts.revoke_tokens(user.id, None, now=now)

        await self.metadata.write(work)

    async def _begin(self, user: User, claim: DeviceClaim) -> SignedIn:
        now = self.clock.now()
        fresh, family = DeviceId(self.ids.new()), FamilyId(self.ids.new())

        def work(tx: Transaction) -> SignedIn:
            # The password may have been changed while the old one was being checked.
            if not tx.accounts.hold_epoch(user.id, user.epoch):
                raise InvalidCredentials("user name and password don't belong together")
            device = claim.known
            if device is None or not tx.accounts.see_device(device, user.id, now=now):
                if tx.accounts.count_devices(user.id) >= MAX_DEVICES:
                    raise Unacceptable("you are logged in on too many devices; log out on one of them first")
                device = fresh
                tx.accounts.add_device(Device(device, user.id, claim.name, claim.platform), now=now)
            self._add_token(tx, user.id, device, family, 1, now)
            return self._signed_in(user, device, family, 1, now)

        return await self.metadata.write(work)

    def _add_token(
        self,
        tx: Transaction,
        user: UserId,
        device: DeviceId,
        family: FamilyId,
        generation: int,
        now: datetime,
    ) -> None:
        token_hash = self.tokens.refresh_hash(self.tokens.refresh_token(family, generation))
        expires_at = now + self.lifetimes.refresh
        tx.accounts.add_refresh_token(
            RefreshToken(token_hash, family, generation, user, device, expires_at), now=now
        )

    def _signed_in(
        self, user: User, device: DeviceId, family: FamilyId, generation: int, now: datetime
    ) -> SignedIn:
        caller = Caller(user.id, device, user.epoch)
        access = self.tokens.issue_access(caller, now=now, expires_at=now + self.lifetimes.access)
        refresh = self.tokens.refresh_token(family, generation)
        return SignedIn(user.id, device, access, refresh, int(self.lifetimes.access.total_seconds()))


def _parse_or_none(username: str) -> Username | None:
    try:
        return parse_username(username)
    except StrataError:
        # Nobody can have this name; the answer must not tell that from a wrong password.
        return None
