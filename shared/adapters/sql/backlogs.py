"""Notes of hints that wait for devices, in SQL: a time in the device's row."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, or_, select, update

from shared.adapters.sql.paging import slices
from shared.adapters.sql.schema import devices, members
from shared.domain.ids import DeviceId, NamespaceId

_HINTED_AT = select(devices.c.hinted_at).where(devices.c.device_id == bindparam("b_device"))
_WITHOUT_HINT = (
    select(devices.c.device_id)
    .join(members, members.c.user_id == devices.c.user_id)
    .where(
        members.c.ns_id == bindparam("b_ns"),
        devices.c.device_id != bindparam("b_but"),
        devices.c.revoked_at.is_(None),
        devices.c.last_seen_at >= bindparam("b_seen"),
        or_(devices.c.hinted_at.is_(None), devices.c.hinted_at < bindparam("b_hinted")),
    )
    .order_by(devices.c.device_id)
)


class SqlBacklogs:
    """Implements the Backlogs port within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def without_hint(
        self, namespace: NamespaceId, *, but: DeviceId, seen_since: datetime, hinted_before: datetime
    ) -> Sequence[DeviceId]:
        wanted = {"b_ns": namespace, "b_but": but, "b_seen": seen_since, "b_hinted": hinted_before}
        return list(self._connection.execute(_WITHOUT_HINT, wanted).scalars())

    def note(self, some: Collection[DeviceId], *, now: datetime) -> None:
        for these in slices(sorted(some)):
            self._connection.execute(
                update(devices).where(devices.c.device_id.in_(these)).values(hinted_at=now)
            )

    def is_noted(self, device: DeviceId) -> bool:
        return self._connection.execute(_HINTED_AT, {"b_device": device}).scalar_one_or_none() is not None

    def clear(self, device: DeviceId) -> None:
        self._connection.execute(
            update(devices)
            .where(devices.c.device_id == device, devices.c.hinted_at.is_not(None))
            .values(hinted_at=None)
        )
