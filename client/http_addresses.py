"""URLs, and the way to the servers that they name: straight, or through the proxy of the environment.

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` (in either case) are read as other programs read them; on
Windows and macOS the system's settings stand in for what is not set. A proxy is spoken to in the clear: it gets the
whole URL of what is in the clear, and of everything else the name of the server, to which a tunnel is made.
"""

import os
import sys
from typing import NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}
_IN_A_TARGET = "/%:@!$&'()*+,;=~?[]"
"""What stands in a path or a query as it is; everything else is written as %XX."""


class Unsendable(Exception):
    """No request can be made of this. The message names no URL: it may be signed."""


class Server(NamedTuple):
    """Who is spoken to: `scheme` is http or https, `host` a name or a number in ASCII, without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """`host`, or `host:port` where the port isn't the scheme's own, as in a URL."""
        return self._bracketed if self.port == _PORTS[self.scheme] else self.address

    @property
    def address(self) -> str:
        """`host:port`, as a tunnel is asked for."""
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}"


class Url(NamedTuple):
    """A URL in parts: `target` is its path and query, as a request line has them."""

    server: Server
    target: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises Unsendable for anything but http(s)://host[:port][/path][?query]."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise Unsendable("it is no URL") from None
        if parts.scheme not in _PORTS:
            raise Unsendable("it doesn't begin with http:// or https://")
        if not host or parts.username is not None:
            raise Unsendable("it must name a server, and nobody's login")
        try:
            host = host if host.isascii() else host.encode("idna").decode("ascii")
        except UnicodeError:
            raise Unsendable("its server has an impossible name") from None
        if any(letter <= " " or letter == "\x7f" for letter in host):
            raise Unsendable("its server has an impossible name")
        target = parts.path or "/"
        if parts.query:
            target += "?" + parts.query
        return cls(Server(parts.scheme, host, port or _PORTS[parts.scheme]), quote(target, safe=_IN_A_TARGET))


class Way(NamedTuple):
    """How a server is reached: `dialled` is connected to, the server itself or a `proxy`; `login` is for the proxy."""

    server: Server
    dialled: Server
    proxy: bool = False
    login: str | None = None


def way_to(server: Server) -> Way:
    """The way that the environment says; raises Unsendable for a proxy that can't be used."""
    # Most environments name no proxy, and then what reads them needn't be loaded.
    if sys.platform not in ("darwin", "win32") and not any(
        name.lower().endswith("_proxy") for name in os.environ
    ):
        return Way(server, server)
    import urllib.request

    proxies = urllib.request.getproxies()
    given = proxies.get(server.scheme) or proxies.get("all")
    if not given or urllib.request.proxy_bypass(f"{server.host}:{server.port}"):
        return Way(server, server)
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Unsendable("the environment's proxy has no usable address") from None
    if parts.scheme != "http" or not host:
        raise Unsendable(
            "the environment names a proxy that isn't one for http://, which are the only ones used"
        )
    login = None
    if parts.username is not None:
        from base64 import b64encode

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = "Basic " + b64encode(pair.encode()).decode("ascii")
    return Way(server, Server("http", host, port or _PORTS["http"]), proxy=True, login=login)
