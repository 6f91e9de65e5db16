"""Function keys: who may call a function whose authorization level asks for one.

Keys are made once and kept in a file of the state directory that only its owner may read, since a key that
changed with each start would break every script that holds one. The rules are Microsoft's ("Function access keys"):

    level      what opens it
    anonymous  nothing needed
    function   the function's own key, the host key, the master key
    admin      the master key

The key comes in the header `x-functions-key` or in the query as `code`. It is compared in constant time.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tools.local.host.errors import HostError
from tools.local.host.loading import LoadedFunction

HEADER = "x-functions-key"
PARAMETER = "code"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys in force; `repr` shows none of them."""

    master: str = field(repr=False)
    host: str = field(repr=False)
    functions: dict[str, str] = field(repr=False)

    def admit(self, function: LoadedFunction, presented: str | None) -> bool:
        """Whether the presented key (None for no key) may call the HTTP function."""
        level = function.http.level if function.http else "admin"
        if level == "anonymous":
            return True
        if presented is None:
            return False
        keys = [self.master]
        if level == "function":
            keys += [self.host, self.functions[function.name]]
        # The sum compares all of them: stopping at the first match would tell which key it was.
        return sum(hmac.compare_digest(key.encode(), presented.encode()) for key in keys) > 0


def load_keys(path: Path, functions: Iterable[str]) -> Keys:
    """Read the keys, make those that are missing, and write the file (mode 0600) if anything is new.

    Raises HostError when the file can't be understood: it isn't overwritten, since it may be in use.
    """
    stored: dict[str, object] = {}
    if path.exists():
        try:
            stored = dict(json.loads(path.read_text()))
        except (TypeError, ValueError) as error:
            raise HostError(f"{path} holds no keys ({error}): delete it to have new ones made") from None
    known = stored.get("functions", {})
    known = known if isinstance(known, dict) else {}
    keys = Keys(
        master=str(stored.get("master") or _fresh()),
        host=str(stored.get("host") or _fresh()),
        functions={**known, **{name: str(known.get(name) or _fresh()) for name in functions}},
    )
    document = {"master": keys.master, "host": keys.host, "functions": keys.functions}
    if document != stored:
        write_private(path, json.dumps(document, indent=2))
    return keys


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    beside.replace(path)


def _fresh() -> str:
    return secrets.token_urlsafe(40)
