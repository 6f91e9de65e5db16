"""Where things are and which ports they use: the settings of the local stack, all of them optional.

STRATA_LOCAL_DIR    folder for data, logs and secrets    .local
STRATA_PORT         the system itself                    7071
AZURITE_BLOB_PORT   Azurite's three servers              10000
AZURITE_QUEUE_PORT                                       10001
AZURITE_TABLE_PORT                                       10002
REDIS_PORT          Redis, unless REDIS_URL names one    6379
SERVICEBUS_PORT     the Service Bus, unless              5672
                    SERVICEBUS_CONNECTION_STRING names one
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.local.azurite.install import PROJECT
from tools.local.processes import LOOPBACK, is_free
from tools.local.running import AzuritePorts
from tools.local.servicebus.address import DEFAULT_PORT, connection_string

DEFAULT_PORTS = {
    "STRATA_PORT": 7071,
    "AZURITE_BLOB_PORT": 10000,
    "AZURITE_QUEUE_PORT": 10001,
    "AZURITE_TABLE_PORT": 10002,
    "REDIS_PORT": 6379,
    "SERVICEBUS_PORT": DEFAULT_PORT,
}


class SettingsError(Exception):
    """A setting is wrong or a port is taken; the message names the setting to change."""


@dataclass(frozen=True, slots=True)
class StackSettings:
    """`ports` by the name of their setting; `redis_url` and `servicebus` are set when somebody else runs those."""

    folder: Path
    ports: Mapping[str, int]
    redis_url: str | None
    servicebus: str | None = field(default=None, repr=False)

    @property
    def azurite_ports(self) -> AzuritePorts:
        blob, queue, table = (self.ports[f"AZURITE_{name}_PORT"] for name in ("BLOB", "QUEUE", "TABLE"))
        return AzuritePorts(blob, queue, table)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['STRATA_PORT']}"

    @property
    def redis_address(self) -> str:
        return self.redis_url or f"redis://{LOOPBACK}:{self.ports['REDIS_PORT']}/0"

    @property
    def servicebus_address(self) -> str:
        """A connection string."""
        return self.servicebus or connection_string(self.ports["SERVICEBUS_PORT"])

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def data(self, name: str) -> Path:
        return self.folder / "data" / name


def read_settings(environment: Mapping[str, str] = os.environ) -> StackSettings:
    """Raises SettingsError for a port that isn't one, or that is given twice."""
    redis_url = environment.get("REDIS_URL") or None
    servicebus = environment.get("SERVICEBUS_CONNECTION_STRING") or None
    ports = {name: _port(name, environment.get(name) or str(usual)) for name, usual in DEFAULT_PORTS.items()}
    if redis_url:
        del ports["REDIS_PORT"]
    if servicebus:
        del ports["SERVICEBUS_PORT"]
    owners: dict[int, str] = {}
    for name, port in ports.items():
        other = owners.setdefault(port, name)
        if other != name:
            raise SettingsError(f"{other} and {name} are both {port}: change one of them")
    folder = Path(environment.get("STRATA_LOCAL_DIR") or PROJECT / ".local").resolve()
    return StackSettings(folder, ports, redis_url, servicebus)


def refuse_taken_ports(settings: StackSettings) -> None:
    """Raises SettingsError naming every setting whose port somebody listens on already."""
    taken = [
        f"port {port} is taken: set {name} to a free one"
        for name, port in settings.ports.items()
        if not is_free(port)
    ]
    if taken:
        raise SettingsError("\n".join(taken))


def application_environment(
    settings: StackSettings, secrets: Mapping[str, str], environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The environment of migrate, reconcile and the host: the stack's own values, unless the caller has set them."""
    storage = settings.azurite_ports.connection_string
    ours = {
        "METADATA_DB_URL": f"sqlite:///{settings.data('metadata.db')}",
        "BLOB_CONNECTION_STRING": storage,
        "AzureWebJobsStorage": storage,
        "PUBLIC_URL": settings.url,
        "REDIS_URL": settings.redis_address,
        "SERVICEBUS_CONNECTION_STRING": settings.servicebus_address,
        "FUNCTIONS_WORKER_RUNTIME": "python",
        **secrets,
    }
    return {**ours, **{name: value for name, value in environment.items() if value or name not in ours}}


def _port(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise SettingsError(f"{name} must be a port from 1 to 65535, not {text!r}")
    return int(text)
