"""Who this installation is: the file STRATA_HOME/credentials.json.

It holds a refresh token, which is as good as a password until it is used: the file is readable by its owner
only, and replaced whole, so that a crash leaves the old one or the new one. The tokens belong to one server;
they are never sent to another.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from client.errors import LocalProblem

if TYPE_CHECKING:
    from client.wire import LoggedIn

EARLY = timedelta(seconds=30)
"""An access token counts as expired so long before it does, or a tenth of its life if that is shorter: a
request that is under way when it expires would be refused."""


class Credentials(NamedTuple):
    """`expires_at` is when the access token should be replaced, `url` the server that it is for."""

    url: str
    username: str
    user_id: str
    device_id: str
    access_token: str
    refresh_token: str
    expires_at: datetime

    @classmethod
    def of(cls, login: "LoggedIn", *, url: str, username: str, user_id: str, asked_at: datetime) -> Self:
        """From the answer to a login or a refresh that was sent at `asked_at` (UTC)."""
        life = timedelta(seconds=login.expires_in)
        return cls(
            url=url,
            username=username,
            user_id=login.user_id or user_id,
            device_id=login.device_id,
            access_token=login.access_token,
            refresh_token=login.refresh_token,
            expires_at=asked_at + life - min(EARLY, life / 10),
        )

    def expired(self) -> bool:
        return datetime.now(UTC) >= self.expires_at


class CredentialsFile:
    """The file in the folder `home`. `lock_path` is what whoever replaces a token has to hold meanwhile."""

    def __init__(self, home: Path) -> None:
        self._path = home / "credentials.json"
        self.lock_path = home / "credentials.lock"

    def read(self) -> Credentials | None:
        """What is stored, None when nobody is logged in; raises LocalProblem for a file that can't be read."""
        try:
            return _credentials(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LocalProblem(f"{self._path} can't be read: {error.strerror}", fatal=True) from None
        except ValueError:
            raise LocalProblem(
                f"{self._path} is damaged: `strata login` writes a new one",
                code="credentials_damaged",
                fatal=True,
            ) from None

    def write(self, credentials: Credentials) -> None:
        """Replace what is stored; it is on the disk when this returns. Raises LocalProblem."""
        import tempfile  # seldom needed, and loading it takes a while

        temporary: str | None = None
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # mkstemp creates for the owner only, so that there is no moment in which others can read.
            descriptor, temporary = tempfile.mkstemp(prefix=".credentials-", dir=self._path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(_document(credentials), indent=2).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
            temporary = None
        except OSError as error:
            raise LocalProblem(f"{self._path} can't be written: {error.strerror}", fatal=True) from None
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)

    def remove(self) -> bool:
        """Forget who this installation is; False when nobody was logged in."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LocalProblem(f"{self._path} can't be removed: {error.strerror}", fatal=True) from None
        return True


def _document(credentials: Credentials) -> dict[str, str]:
    return {**credentials._asdict(), "expires_at": credentials.expires_at.isoformat()}


def _credentials(document: Any) -> Credentials:
    """The reverse; raises ValueError for anything else."""
    texts = [document.get(name) for name in Credentials._fields] if isinstance(document, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("not what was written here")
    expires_at = datetime.fromisoformat(document["expires_at"])
    if expires_at.tzinfo is None:
        raise ValueError("a time without its zone")
    return Credentials(**{name: document[name] for name in Credentials._fields[:-1]}, expires_at=expires_at)
