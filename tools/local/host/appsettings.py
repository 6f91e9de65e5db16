"""local.settings.json: settings that live in Azure's portal when the app runs there.

Core Tools put each of its `Values` into the environment of the worker, where a variable that is set already wins.
The same rule holds here, so that one file serves both hosts. It is never committed: it may hold secrets.
"""

import json
import os
from collections.abc import MutableMapping
from pathlib import Path

from tools.local.host.errors import HostError


def apply_local_settings(path: Path, environment: MutableMapping[str, str] = os.environ) -> tuple[str, ...]:
    """Copy `Values` of the file into the environment; return the names that were set by it.

    A missing file is fine and sets nothing. Raises HostError when it can't be read, or when it is encrypted
    (`func settings encrypt` ties it to one machine's key ring).
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise HostError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise HostError(f"{path} must hold an object")
    if document.get("IsEncrypted"):
        raise HostError(f"{path} is encrypted: run `func settings decrypt` first")
    values = document.get("Values", {})
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise HostError(f"{path}: Values must be an object of strings")
    fresh = {name: value for name, value in values.items() if name not in environment}
    environment.update(fresh)
    return tuple(fresh)
