"""Which server is spoken to, and where the login for it is kept."""

from pathlib import Path

from client.credentials import Credentials, CredentialsFile
from client.errors import Refused

DEFAULT_URL = "http://127.0.0.1:7071"


class Place:
    """`url` is the server that was named, None when none was; `home` the folder with the credentials."""

    __slots__ = ("home", "url")

    def __init__(self, url: str | None, home: Path) -> None:
        self.url, self.home = url, home

    @property
    def credentials_file(self) -> CredentialsFile:
        return CredentialsFile(self.home)

    def server(self, credentials: Credentials | None) -> str:
        """The named server, else the one of the login, else the default; raises Refused for no http(s) URL."""
        if self.url is None and credentials is not None:
            return credentials.url
        return _checked(self.url or DEFAULT_URL)


def _checked(url: str) -> str:
    from urllib.parse import urlsplit  # most runs go where the login is

    try:
        parsed = urlsplit(url)
        port = parsed.port
    except ValueError as error:
        raise Refused(f"the server's address can't be used: {error}", code="bad_url") from None
    plain = not (parsed.username or parsed.password or parsed.query or parsed.fragment)
    if parsed.scheme not in ("http", "https") or not parsed.hostname or port == 0 or not plain:
        raise Refused("the server's address must look like https://files.example.org", code="bad_url")
    return url.rstrip("/")
