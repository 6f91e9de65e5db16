"""The seam between the host and what sets functions off.

The host knows triggers only by this protocol: it builds one per kind, starts them all, and on the way out stops
them all before it closes the app. HTTP is the first; a timer, a blob scanner or a Service Bus receiver joins by
being named in `server._factories`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tools.local.host.hostjson import HostSettings
from tools.local.host.invocation import Invoker
from tools.local.host.loading import LoadedFunction
from tools.local.host.retry import RetryPolicy


class Trigger(Protocol):
    """Obligations of whatever calls functions."""

    async def start(self) -> None:
        """Begin to call functions. Raises HostError when it can't, and then nothing is left open."""

    async def stop(self) -> None:
        """Take on nothing new, wait for what was begun at most `Parts.grace` seconds, let go of everything.

        May be called when `start` failed or never ran; never raises for work that was cut off.
        """


@dataclass(frozen=True, slots=True)
class Parts:
    """What the host gives to a trigger. `functions` are those of its kind; `grace` is in seconds."""

    functions: tuple[LoadedFunction, ...]
    settings: HostSettings
    invoker: Invoker
    state: Path
    address: str
    port: int
    grace: float

    def retry_of(self, function: LoadedFunction) -> RetryPolicy | None:
        """The policy to invoke the function with: its own, else host.json's. Not for HTTP, which never retries."""
        return function.retry or self.settings.retry


TriggerFactory = Callable[[Parts], Trigger]
