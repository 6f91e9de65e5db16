"""What a client of Redis owes whoever uses it: TLS that is checked, and a sign-in that outlives its tokens."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import jwt
import pytest
from azure.core.credentials import AccessToken as AzureAccessToken
from azure.core.exceptions import ClientAuthenticationError
from redis.asyncio import Redis as RedisClient

from shared.adapters import redis_entra
from shared.adapters.redis_connection import FAILURES, RedisAddress, redis_address
from shared.adapters.redis_entra import AccessToken
from shared.adapters.redis_wakeups import RedisWakeups
from shared.adapters.system import RandomIds
from shared.domain.ids import NamespaceId
from tests.support.tls import ending_tls, make_certificate
from tests.support.unhurried import give_redis_time
from tools.local.running import Redis, running_redis

IDENTITY = "8a2ab3a6-2a06-4a7a-9f4c-identity"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    give_redis_time(monkeypatch)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def admin(redis: Redis) -> AsyncIterator[RedisClient]:
    client = RedisAddress(redis.url).client()
    yield client
    await client.acl_deluser(IDENTITY)
    await client.aclose()


class Identity:
    """Tokens for one user of a real server, which takes only the last one, as Azure's takes none that has ended."""

    def __init__(self, admin: RedisClient, lasts: float) -> None:
        self._admin, self._lasts = admin, lasts
        self.given = 0
        self.slow = asyncio.Event()
        self.slow.set()

    async def token(self) -> AccessToken:
        await self.slow.wait()
        self.given += 1
        made = jwt.encode({"oid": IDENTITY, "number": self.given}, "a key that nobody here checks a token by")
        await self._admin.execute_command(
            "ACL", "SETUSER", IDENTITY, "on", "resetpass", f">{made}", "~*", "&*", "+@all"
        )
        return AccessToken(made, self._lasts)


# --- TLS


async def test_tls_is_spoken_and_the_certificate_checked(redis: Redis, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    async with ending_tls(redis.port, certificate, key) as port:
        trusting = RedisAddress(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}").client()
        assert await trusting.ping()
        await trusting.aclose()
        stranger = RedisAddress(f"rediss://127.0.0.1:{port}/0").client()
        with pytest.raises(FAILURES, match="certificate"):
            await stranger.ping()
        await stranger.aclose()
        other_name = RedisAddress(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}").client()
        with pytest.raises(FAILURES, match="certificate"):
            await other_name.ping()
        await other_name.aclose()


async def test_a_host_is_spoken_to_by_tls_and_by_the_identity(
    redis: Redis, admin: RedisClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    identity = Identity(admin, lasts=3600)
    async with ending_tls(redis.port, certificate, key) as port:
        address = redis_address(None, f"127.0.0.1:{port}", None, token=identity.token)
        assert address is not None
        client = address.client(patience=2)
        assert await client.acl_whoami() == IDENTITY
        await client.aclose()
        await address.close()


async def test_without_settings_there_is_no_redis_and_a_url_is_taken_as_it_is(redis: Redis) -> None:
    assert redis_address(None, None, None) is None
    address = redis_address(redis.url, None, None)
    assert address is not None
    assert address.lifetime() is None
    client = address.client()
    assert await client.ping()
    await client.aclose()


# --- the identity


async def test_connections_are_made_anew_with_a_new_token_before_the_old_one_ends(
    redis: Redis, admin: RedisClient
) -> None:
    identity = Identity(admin, lasts=2)
    address = RedisAddress(redis.url, identity.token)
    client = address.client()
    first = await client.client_id()
    assert await client.client_id() == first, "while the token lasts, the connection does"
    lifetime = address.lifetime()
    assert lifetime is not None
    assert 0 < lifetime <= 1
    await asyncio.sleep(lifetime)
    assert await client.client_id() != first
    assert identity.given == 2
    await client.aclose()


async def test_a_connection_that_the_server_cut_is_made_anew(redis: Redis, admin: RedisClient) -> None:
    identity = Identity(admin, lasts=3600)
    client = RedisAddress(redis.url, identity.token).client()
    first = await client.client_id()
    await admin.client_kill_filter(_id=str(first))
    assert await client.client_id() != first
    await client.aclose()


async def test_an_identity_that_takes_longer_than_anybody_waits_is_heard_by_the_next(
    redis: Redis, admin: RedisClient
) -> None:
    identity = Identity(admin, lasts=3600)
    identity.slow.clear()
    client = RedisAddress(redis.url, identity.token).client()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.ping()
    identity.slow.set()
    await client.ping()
    assert identity.given == 1, "the question that nobody waited for was answered"
    await client.aclose()


async def test_nothing_secret_in_logs_a_token_that_is_none_is_not_shown(redis: Redis) -> None:
    async def token() -> AccessToken:
        return AccessToken("secret-but-no-token", 3600)

    client = RedisAddress(redis.url, token).client()
    with pytest.raises(FAILURES) as refused:
        await client.ping()
    assert "object id" in str(refused.value)
    assert "secret-but-no-token" not in repr(refused.value) + repr(await token())
    await client.aclose()


async def test_no_lost_wakeup_while_the_subscription_is_renewed(redis: Redis, admin: RedisClient) -> None:
    identity = Identity(admin, lasts=2)
    address = RedisAddress(redis.url, identity.token)
    there, here = RedisWakeups(address), RedisWakeups(RedisAddress(redis.url))
    namespace = NamespaceId(RandomIds().new())
    async with there.listen([namespace]) as bell:
        assert bell.sure
        [before] = await admin.client_list(_type="pubsub")
        assert before["user"] == IDENTITY
        while (await admin.client_list(_type="pubsub") or [before])[0]["id"] == before["id"]:
            await bell.heard(0.05)
        while not bell.sure:
            assert await bell.heard(5), "whoever waits is told, and looks"
        while await bell.heard(0.05):
            pass
        await here.ring([namespace])
        assert await bell.heard(5)
        assert identity.given >= 2
    await here.close()
    await there.close()


# --- asking Azure


class Credential:
    """Stands where azure-identity's credential does, which can only be asked within Azure."""

    def __init__(self, *, managed_identity_client_id: str | None) -> None:
        self.client_id = managed_identity_client_id
        self.is_closed = False

    async def get_token(self, *scopes: str) -> object:
        if self.client_id == "nobody":
            raise ClientAuthenticationError("no identity: secret details")
        text = ":".join(("token", str(self.client_id), *scopes))
        return AzureAccessToken(text, int(time.time()) + 3600)

    async def close(self) -> None:
        self.is_closed = True


async def test_the_identity_that_the_settings_name_is_asked_for_redis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_entra, "DefaultAzureCredential", Credential)
    for client_id in ("an-identity", None):
        source = redis_entra.RedisTokenSource(client_id)
        found = await source.token()
        assert found.token == f"token:{client_id}:https://redis.azure.com/.default"
        assert 3590 < found.lasts <= 3600
        await source.close()
    nobody = redis_entra.RedisTokenSource("nobody")
    with pytest.raises(FAILURES, match="no identity to sign in to Redis with"):
        await nobody.token()
    await nobody.close()
    await redis_entra.RedisTokenSource("never asked").close()
