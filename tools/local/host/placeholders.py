"""`%SETTING%` in a binding, and connections that are named by a setting.

A schedule or a path may name a setting instead of holding a value, so that one build runs with different ones. A
name that nothing resolves is a mistake of configuration; it is reported at start, with the function's name, since a
trigger that silently listens to nothing is found only when somebody misses its work.
"""

import re
from collections.abc import Mapping

from tools.local.host.errors import HostError

_NAME = re.compile(r"%([^%]+)%")
_IDENTITY = ("__serviceUri", "__blobServiceUri", "__accountName")
DEFAULT_CONNECTION = "AzureWebJobsStorage"
"""The setting that a trigger without a connection uses, and where the host keeps what it has to remember."""


def resolve(text: str, environment: Mapping[str, str], function: str) -> str:
    """Return the text with each `%NAME%` replaced by that setting; raises HostError for one that isn't set."""

    def setting(match: re.Match[str]) -> str:
        value = environment.get(match[1])
        if value is None:
            raise HostError(f"{function}: the setting {match[1]} in {text!r} is missing")
        return value

    return _NAME.sub(setting, text)


def connection_string(name: str, environment: Mapping[str, str], function: str) -> str:
    """Return the connection string that the setting holds; raises HostError when there is none.

    `AzureWebJobs<name>` is looked for first, as in Microsoft's host. Connections without a secret
    (`<name>__blobServiceUri`) need an identity, and one machine has none.
    """
    for candidate in (f"AzureWebJobs{name}", name):
        if environment.get(candidate):
            return environment[candidate]
    if any(environment.get(name + ending) for ending in _IDENTITY):
        raise HostError(
            f"{function}: connection {name} uses an identity; this host needs a connection string"
        )
    raise HostError(f"{function}: the connection setting {name} is missing")
