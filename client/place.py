"""Which server is spoken to, and where the login for it is kept."""

from pathlib import Path

from client.credentials import Credentials, CredentialsFile
from client.errors import NotLoggedIn, Refused

DEFAULT_URL = "http://127.0.0.1:7071"


class Place:
    """`url` is the server that was named, None when none was; `home` the folder with the credentials."""

    __slots__ = ("home", "url")

    def __init__(self, url: str | None, home: Path) -> None:
        self.url, self.home = url, home

    @property
    def credentials_file(self) -> CredentialsFile:
        return CredentialsFile(self.home)

    def login(self) -> Credentials:
        """The login for the server; raises NotLoggedIn when nobody is, or at another server."""
        credentials = self.credentials_file.read()
        if credentials is None:
            raise NotLoggedIn("nobody is logged in here: use `strata login`")
        url = self.server(credentials)
        if url != credentials.url:
            raise NotLoggedIn(f"the login here is for {credentials.url}: use `strata login` for {url}")
        return credentials

    def server(self, credentials: Credentials | None) -> str:
        """The named server, else the one of the login, else the default; raises Refused for no http(s) URL."""
        if credentials is not None and self.url in (None, credentials.url):
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
