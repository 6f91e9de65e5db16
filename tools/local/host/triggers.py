"""The seam between the host and what sets functions off.

The host knows triggers only by this protocol: it builds one per kind, starts them all, and on the way out stops
them all before it closes the app. HTTP, timers, blobs and Service Bus are there; another kind joins by being named in
`server._factories`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from tools.local.host.errors import HostError
from tools.local.host.hostjson import HostSettings
from tools.local.host.invocation import Invoker
from tools.local.host.loading import RETURNED, LoadedFunction
from tools.local.host.retry import RetryPolicy


class Trigger(Protocol):
    """Obligations of whatever calls functions."""

    async def start(self) -> None:
        """Begin to call functions. Raises HostError when it can't, and then nothing is left open."""

    async def stop(self) -> None:
        """Take on nothing new, wait for what was begun at most `Parts.grace` seconds, let go of everything.

        May be called when `start` failed or never ran; never raises for work that was cut off.
        """


@runtime_checkable
class RunsOnDemand(Protocol):
    """A trigger whose functions can be run out of turn, as `POST /admin/functions/{name}` asks for."""

    async def run_now(self, function: LoadedFunction, text: str) -> None:
        """Run it once with what the text stands for. Failures are logged, not raised."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the host gives to a trigger. `functions` are those of its kind; `grace` is in seconds.

    `environment` holds the app's settings; `host_id` tells apps apart that share a storage account.
    """

    functions: tuple[LoadedFunction, ...]
    settings: HostSettings
    invoker: Invoker
    state: Path
    address: str
    port: int
    grace: float
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    host_id: str = "local"

    def retry_of(self, function: LoadedFunction) -> RetryPolicy | None:
        """The policy to invoke the function with: its own, else host.json's. Not for HTTP, which never retries."""
        return function.retry or self.settings.retry


TriggerFactory = Callable[[Parts], Trigger]


def refuse_other_bindings(function: LoadedFunction) -> None:
    """Raise HostError for a function that wants more than its trigger, its outputs and its context."""
    for binding in function.bindings:
        if binding is not function.trigger and binding not in function.outputs:
            raise HostError(
                f"{function.name}: this host can't supply the binding {binding.name!r} of type {binding.kind}"
            )
    outputs = {each.name for each in function.outputs} - {RETURNED}
    parameters = set(inspect.signature(function.call).parameters)
    if parameters - {"context"} != {function.trigger.name, *outputs}:
        wanted = ", ".join(repr(each) for each in (function.trigger.name, *sorted(outputs)))
        raise HostError(
            f"{function.name}: the parameters must be {wanted} and, if wanted, 'context'; "
            f"got {', '.join(sorted(parameters)) or 'none'}"
        )
