"""Users, their devices, and the refresh tokens of each device."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.accounts import Caller, Username
from shared.domain.ids import DeviceId, FamilyId, UserId


@dataclass(frozen=True, slots=True)
class User:
    id: UserId
    username: str
    password_hash: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Device:
    id: DeviceId
    user_id: UserId
    name: str
    platform: str


@dataclass(frozen=True, slots=True)
class SeenDevice:
    """A device with its first login, and its last login or renewal of its tokens."""

    device: Device
    created_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One generation of a family; a family is one login, and each refresh makes the next generation."""

    token_hash: str
    family: FamilyId
    generation: int
    user_id: UserId
    device_id: DeviceId
    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None


class Accounts(Protocol):
    def add_user(self, user: UserId, username: Username, password_hash: str, *, now: datetime) -> None:
        """Raises UsernameTaken when another user has the name's key."""
        ...

    def user_by_name(self, username: Username) -> User | None: ...

    def user(self, user: UserId) -> User | None: ...

    def set_password(self, user: UserId, password_hash: str, *, epoch: int) -> bool:
        """Set the hash where the user's epoch is still `epoch`; False when it is not."""
        ...

    def hold_epoch(self, user: UserId, epoch: int) -> bool:
        """Whether the user's epoch is `epoch`; if so, nobody changes it before this transaction ends."""
        ...

    def advance_epoch(self, user: UserId) -> int:
        """Make all access tokens of the user invalid; returns the new epoch."""
        ...

    def add_device(self, device: Device, *, now: datetime) -> None: ...

    def count_devices(self, user: UserId) -> int:
        """Devices of the user that are not revoked."""
        ...

    def see_device(self, device: DeviceId, user: UserId, *, now: datetime) -> bool:
        """Note that a device signed in; False when the user has no such device, or it is revoked."""
        ...

    def devices(self, user: UserId) -> Sequence[SeenDevice]:
        """The user's devices that are not revoked, seen last first."""
        ...

    def rename_device(self, device: DeviceId, user: UserId, name: str) -> bool:
        """Whether the user has such a device that is not revoked."""
        ...

    def revoke_device(self, device: DeviceId, user: UserId, *, now: datetime) -> bool:
        """End the device; a later login makes a new one. False when the user has no such device, or it is ended."""
        ...

    def is_current(self, caller: Caller) -> bool:
        """Whether user and device exist, the device is not revoked and the epoch is the user's."""
        ...

    def add_refresh_token(self, token: RefreshToken, *, now: datetime) -> None: ...

    def refresh_token(self, token_hash: str) -> RefreshToken | None: ...

    def use_refresh_token(self, token_hash: str, *, now: datetime) -> bool:
        """Mark it used; False when it was used or revoked before. Of two callers, one gets True."""
        ...

    def revoke_family(self, family: FamilyId, *, now: datetime) -> None: ...

    def revoke_tokens(self, user: UserId, device: DeviceId | None, *, now: datetime) -> None:
        """Revoke the refresh tokens of one device, or of all the user's devices."""
        ...
