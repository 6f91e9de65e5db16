"""Users, devices and refresh tokens in SQL."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from shared.adapters.sql.schema import devices, refresh_tokens, users
from shared.domain.accounts import Caller, Username
from shared.domain.errors import UsernameTaken
from shared.domain.ids import DeviceId, FamilyId, UserId
from shared.ports.tables_accounts import Device, RefreshToken, SeenDevice, User

_USER = select(users.c.user_id, users.c.username, users.c.password_hash, users.c.token_epoch)

# Asked for every request, so it is built once.
_IS_CURRENT = (
    select(devices.c.device_id)
    .join(users, users.c.user_id == devices.c.user_id)
    .where(
        devices.c.device_id == bindparam("b_device"),
        devices.c.revoked_at.is_(None),
        users.c.user_id == bindparam("b_user"),
        users.c.token_epoch == bindparam("b_epoch"),
    )
)


class SqlAccounts:
    """Implements the Accounts port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_user(self, user: UserId, username: Username, password_hash: str, *, now: datetime) -> None:
        row = insert(users).values(
            user_id=user,
            username=username.text,
            username_key=username.key,
            password_hash=password_hash,
            token_epoch=1,
            created_at=now,
        )
        try:
            self._connection.execute(row)
        except IntegrityError as error:
            raise UsernameTaken("this username is taken; please choose another") from error

    def user_by_name(self, username: Username) -> User | None:
        row = self._connection.execute(_USER.where(users.c.username_key == username.key)).first()
        return User(*row) if row else None

    def user(self, user: UserId) -> User | None:
        row = self._connection.execute(_USER.where(users.c.user_id == user)).first()
        return User(*row) if row else None

    def set_password(self, user: UserId, password_hash: str, *, epoch: int) -> bool:
        change = update(users).where(users.c.user_id == user, users.c.token_epoch == epoch)
        return self._connection.execute(change.values(password_hash=password_hash)).rowcount == 1

    def hold_epoch(self, user: UserId, epoch: int) -> bool:
        # Writing the row, even to what it holds, is the one lock that both databases know.
        hold = update(users).where(users.c.user_id == user, users.c.token_epoch == epoch)
        return self._connection.execute(hold.values(token_epoch=users.c.token_epoch)).rowcount == 1

    def advance_epoch(self, user: UserId) -> int:
        change = update(users).where(users.c.user_id == user).values(token_epoch=users.c.token_epoch + 1)
        self._connection.execute(change)
        epoch: int = self._connection.execute(
            select(users.c.token_epoch).where(users.c.user_id == user)
        ).scalar_one()
        return epoch

    def add_device(self, device: Device, *, now: datetime) -> None:
        self._connection.execute(
            insert(devices).values(
                device_id=device.id,
                user_id=device.user_id,
                name=device.name,
                platform=device.platform,
                created_at=now,
                last_seen_at=now,
            )
        )

    def count_devices(self, user: UserId) -> int:
        count = select(func.count()).select_from(devices)
        return self._connection.execute(
            count.where(devices.c.user_id == user, devices.c.revoked_at.is_(None))
        ).scalar_one()

    def see_device(self, device: DeviceId, user: UserId, *, now: datetime) -> bool:
        return self._change_device(device, user, last_seen_at=now)

    def devices(self, user: UserId) -> Sequence[SeenDevice]:
        theirs = (
            select(devices)
            .where(devices.c.user_id == user, devices.c.revoked_at.is_(None))
            .order_by(devices.c.last_seen_at.desc(), devices.c.device_id)
        )
        return [
            SeenDevice(
                Device(row.device_id, row.user_id, row.name, row.platform), row.created_at, row.last_seen_at
            )
            for row in self._connection.execute(theirs)
        ]

    def rename_device(self, device: DeviceId, user: UserId, name: str) -> bool:
        return self._change_device(device, user, name=name)

    def revoke_device(self, device: DeviceId, user: UserId, *, now: datetime) -> bool:
        return self._change_device(device, user, revoked_at=now)

    def _change_device(self, device: DeviceId, user: UserId, **values: object) -> bool:
        change = update(devices).where(
            devices.c.device_id == device, devices.c.user_id == user, devices.c.revoked_at.is_(None)
        )
        return self._connection.execute(change.values(**values)).rowcount == 1

    def is_current(self, caller: Caller) -> bool:
        wanted = {"b_device": caller.device_id, "b_user": caller.user_id, "b_epoch": caller.epoch}
        return self._connection.execute(_IS_CURRENT, wanted).first() is not None

    def add_refresh_token(self, token: RefreshToken, *, now: datetime) -> None:
        self._connection.execute(
            insert(refresh_tokens).values(
                token_hash=token.token_hash,
                family_id=token.family,
                generation=token.generation,
                user_id=token.user_id,
                device_id=token.device_id,
                created_at=now,
                expires_at=token.expires_at,
            )
        )

    def refresh_token(self, token_hash: str) -> RefreshToken | None:
        columns = refresh_tokens.c
        row = self._connection.execute(
            select(
                columns.token_hash,
                columns.family_id,
                columns.generation,
                columns.user_id,
                columns.device_id,
                columns.expires_at,
                columns.used_at,
                columns.revoked_at,
            ).where(columns.token_hash == token_hash)
        ).first()
        return RefreshToken(*row) if row else None

    def use_refresh_token(self, token_hash: str, *, now: datetime) -> bool:
        columns = refresh_tokens.c
        change = update(refresh_tokens).where(
            columns.token_hash == token_hash, columns.used_at.is_(None), columns.revoked_at.is_(None)
        )
        return self._connection.execute(change.values(used_at=now)).rowcount == 1

    def revoke_family(self, family: FamilyId, *, now: datetime) -> None:
        columns = refresh_tokens.c
        change = update(refresh_tokens).where(columns.family_id == family, columns.revoked_at.is_(None))
        self._connection.execute(change.values(revoked_at=now))

    def revoke_tokens(self, user: UserId, device: DeviceId | None, *, now: datetime) -> None:
        columns = refresh_tokens.c
        whose = and_(columns.user_id == user, columns.revoked_at.is_(None))
        if device is not None:
            whose = and_(whose, columns.device_id == device)
        self._connection.execute(update(refresh_tokens).where(whose).values(revoked_at=now))
