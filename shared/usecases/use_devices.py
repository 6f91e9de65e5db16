"""The devices of a user: which there are, what they are called, and ending one that was lost."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.accounts import Caller
from shared.domain.errors import InvalidToken, NotFound
from shared.domain.ids import DeviceId
from shared.ports.metadata import Metadata, Transaction
from shared.ports.presence import Presence
from shared.ports.system import Clock
from shared.ports.tables_accounts import SeenDevice
from shared.usecases.collect_backlog import CollectBacklog


@dataclass(frozen=True)
class UseDevices:
    """Without `collect_backlog` there is no bus, and no backlog."""

    metadata: Metadata
    clock: Clock
    presence: Presence
    collect_backlog: CollectBacklog | None = None

    async def list(self, caller: Caller) -> Sequence[SeenDevice]:
        """The caller's devices that are not ended, seen last first; raises InvalidToken."""

        def work(tx: Transaction) -> Sequence[SeenDevice]:
            _check(tx, caller)
            return tx.accounts.devices(caller.user_id)

        return await self.metadata.read(work)

    async def rename(self, caller: Caller, device: DeviceId, name: str) -> None:
        """Raises NotFound for a device that is not the caller's, or ended."""

        def work(tx: Transaction) -> None:
            _check(tx, caller)
            if not tx.accounts.rename_device(device, caller.user_id, name):
                raise NotFound("there is no such device")

        await self.metadata.write(work)

    async def revoke(self, caller: Caller, device: DeviceId) -> None:
        """End a device: its tokens are worth nothing from now on, and nothing is kept for it.

        Raises NotFound as `rename`.
        What it has on its disk stays there: nobody can reach into a device that is gone.
        """
        now = self.clock.now()

        def work(tx: Transaction) -> None:
            _check(tx, caller)
            if not tx.accounts.revoke_device(device, caller.user_id, now=now):
                raise NotFound("there is no such device")
            tx.accounts.revoke_tokens(caller.user_id, device, now=now)

        await self.metadata.write(work)
        await self.presence.forget(device)
        if self.collect_backlog is not None:
            # Should that fail, what is left there can be read by nobody, and ends by its time.
            await self.collect_backlog(device)


def _check(tx: Transaction, caller: Caller) -> None:
    if not tx.accounts.is_current(caller):
        raise InvalidToken("the token was revoked; please log in again")
