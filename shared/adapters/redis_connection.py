"""Where Redis is and how to sign in there: an address with a password, or Azure Managed Redis by the identity.

Tokens end and connections don't, and a server that is shown no newer token cuts the connection. In a subscription no
token can be shown. So connections are replaced before their token ends, as those to the database are: a pool drops its
idle ones, and a subscriber asks `lifetime` for when to come anew.

Azure Managed Redis has to be made with the cluster policy NoCluster: with others a client must follow redirections.
"""

import asyncio
from collections.abc import Awaitable, Callable
from ssl import TLSVersion
from typing import Any

import jwt
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, RedisError

from shared.adapters.redis_entra import AccessToken, RedisTokenSource

FAILURES = (RedisError, OSError, TimeoutError)
"""What a call of a client raises when Redis is away, slow, or doesn't let us in."""

PATIENCE = 0.2
"""Seconds for one exchange with Redis, behind which somebody's answer waits."""

_TOKEN_PATIENCE = 10.0
# azure-identity hands out the same token until five minutes before its end: a later one brings a new one.
_BEFORE_THE_END = 180.0
_SHORTEST_LIFE = 1.0

TokenSource = Callable[[], Awaitable[AccessToken]]


class RedisAddress:
    """`url` is redis:// or rediss://; with `token`, the application signs in by what that returns.

    Opens nothing itself. All its clients belong to one event loop.
    """

    def __init__(
        self, url: str, token: TokenSource | None = None, close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._url = url
        self._signed_in = _SignedIn(token) if token is not None else None
        self._close = close

    def client(self, *, patience: float | None = PATIENCE) -> Redis:
        """A client with connections of its own; whoever asks for it closes it.

        `patience` is in seconds for each answer, None for one that waits as long as it takes. Nothing is repeated:
        what Redis does here, somebody else can do without.
        """
        options: dict[str, Any] = {
            "socket_timeout": patience,
            "socket_connect_timeout": PATIENCE,
            "retry": Retry(NoBackoff(), 0),
            # In RESP3 the server may speak unasked, so what arrives on an idle connection, its end too, goes unnoticed.
            "protocol": 2,
        }
        if self._url.startswith("rediss:"):
            options["ssl_min_version"] = TLSVersion.TLSv1_2
        if self._signed_in is None:
            return Redis.from_pool(ConnectionPool.from_url(self._url, **options))
        pool = _RenewedPool.from_url(self._url, credential_provider=self._signed_in, **options)
        pool.signed_in = self._signed_in
        return Redis.from_pool(pool)

    def lifetime(self) -> float | None:
        """Seconds after which a connection that is made now should be replaced; None for never."""
        return self._signed_in.lifetime() if self._signed_in is not None else None

    async def close(self) -> None:
        """Let go of the identity; the clients are closed by who asked for them."""
        if self._close is not None:
            await self._close()


def redis_address(
    url: str | None, host: str | None, client_id: str | None, *, token: TokenSource | None = None
) -> RedisAddress | None:
    """What the settings say: `url` as it is, else `host` (host:port) by the identity; None without both.

    `client_id` names a user-assigned identity; `token` takes the place of asking it.
    """
    if url is not None:
        return RedisAddress(url)
    if host is None:
        return None
    source = RedisTokenSource(client_id)
    return RedisAddress(f"rediss://{host}/0", token or source.token, source.close)


class _SignedIn(CredentialProvider):
    """User and password for each new connection: the identity's object id, and its current token."""

    def __init__(self, token: TokenSource) -> None:
        self._token = token
        self._asking: asyncio.Task[AccessToken] | None = None
        self._ends_at = 0.0

    async def get_credentials_async(self) -> tuple[str, str]:
        # Who waits for a connection may lose patience; the question goes on, so that the next one finds the answer.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        found = await asyncio.shield(self._asking)
        self._ends_at = asyncio.get_running_loop().time() + found.lasts
        return _object_id(found.token), found.token

    def lifetime(self) -> float:
        left = self._ends_at - asyncio.get_running_loop().time()
        return max(left - _BEFORE_THE_END, left / 2, _SHORTEST_LIFE)

    async def _ask(self) -> AccessToken:
        try:
            async with asyncio.timeout(_TOKEN_PATIENCE):
                return await self._token()
        except TimeoutError as error:
            raise AuthenticationError("no identity to sign in to Redis with: it doesn't answer") from error


class _RenewedPool(ConnectionPool):
    """A pool that drops its idle connections before their token ends."""

    signed_in: _SignedIn
    _renew_at: float | None = None

    async def get_connection(self, *args: Any, **kwargs: Any) -> AbstractConnection:
        now = asyncio.get_running_loop().time()
        if self._renew_at is not None and now >= self._renew_at:
            self._renew_at = None
            await self.disconnect(inuse_connections=False)
        connection: AbstractConnection = await super().get_connection(*args, **kwargs)  # type: ignore[no-untyped-call]
        if self._renew_at is None:
            self._renew_at = asyncio.get_running_loop().time() + self.signed_in.lifetime()
        return connection


def _object_id(token: str) -> str:
    """Who the token is for. Its signature is the server's to check: it is shown to nobody else."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return str(claims["oid"])
    except (jwt.InvalidTokenError, KeyError) as error:
        raise AuthenticationError("the identity's token names no object id") from error
