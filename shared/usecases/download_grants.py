"""Addresses that work when they are opened: a short-lived, sealed right to download one version.

A browser that follows a link sends no token, so the link itself must carry the right: for one version, for a
short time, and only for as long as the one who made it may read the file.
"""

import struct
from dataclasses import dataclass
from datetime import timedelta

from shared.domain.accounts import Caller
from shared.domain.errors import InvalidToken, Malformed
from shared.domain.ids import DeviceId, UserId, VersionId
from shared.ports.credentials import Seals
from shared.ports.system import Clock

_PURPOSE = "grant"
# User, device and version as raw ids, the token epoch, and the end in seconds since 1970.
_LAYOUT = struct.Struct(">16s16s16sIQ")


@dataclass(frozen=True)
class DownloadGrants:
    seals: Seals
    clock: Clock
    lifetime: timedelta

    def issue(self, caller: Caller, version: VersionId) -> str:
        """A grant as URL-safe text."""
        ends = int((self.clock.now() + self.lifetime).timestamp())
        ids = (bytes.fromhex(text) for text in (caller.user_id, caller.device_id, version))
        return self.seals.seal(_PURPOSE, _LAYOUT.pack(*ids, caller.epoch, ends))

    def verify(self, grant: str) -> tuple[Caller, VersionId]:
        """Whose right it is, and to which version; raises InvalidToken for a forged or expired grant."""
        try:
            user, device, version, epoch, ends = _LAYOUT.unpack(self.seals.unseal(_PURPOSE, grant))
        except (Malformed, struct.error) as error:
            raise InvalidToken("this address is not valid; ask for a new one") from error
        if ends <= self.clock.now().timestamp():
            raise InvalidToken("this address has expired; ask for a new one")
        return Caller(UserId(user.hex()), DeviceId(device.hex()), epoch), VersionId(version.hex())
