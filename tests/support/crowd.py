"""Many devices that wait at one host: put into its database directly, since each password hashed takes 20 ms."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp

from shared.adapters.sql.database import SqlMetadata
from shared.adapters.sql.engine import make_engine
from shared.adapters.system import RandomIds, SystemClock
from shared.adapters.tokens import JwtTokens
from shared.config import load
from shared.domain.accounts import Caller, parse_username
from shared.domain.ids import DeviceId, NamespaceId, UserId
from shared.ports.metadata import Transaction
from shared.ports.tables_accounts import Device


@dataclass(frozen=True)
class Crowd:
    """Access tokens of devices, by their user; each user has one namespace."""

    url: str
    tokens: Sequence[Sequence[str]]

    @asynccontextmanager
    async def session(self) -> AsyncIterator["Callers"]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(self.url, connector=connector) as session:
            yield Callers(session)


@dataclass(frozen=True)
class Callers:
    """Requests by token over one pool of connections."""

    session: aiohttp.ClientSession

    async def ask(self, token: str, method: str, path: str, **more: Any) -> Any:
        """The JSON answer; raises for any status but a good one."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.request(method, path, headers=headers, **more) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def cursor(self, token: str) -> str:
        """Where the journal stands now."""
        page = await self.ask(token, "GET", "/api/changes")
        return str(page["cursor"])

    async def change(self, token: str, name: str) -> None:
        """A commit that needs no bytes."""
        await self.ask(token, "POST", "/api/folders", json={"path": f"/{name}"})

    async def wait(self, token: str, cursor: str, seconds: int) -> bool:
        """Hold a notification; whether it told of a change."""
        params = {"cursor": cursor, "wait": str(seconds)}
        told = await self.ask(token, "GET", "/api/notifications", params=params)
        return bool(told["changed"])


def plant_crowd(environment: Mapping[str, str], *, users: int, devices: int, names: str = "crowd") -> Crowd:
    """`users`, each with so many `devices`, in the database of an application with these settings.

    `names` begins the users' names.
    """
    settings = load(environment)
    tokens = JwtTokens(signing_key=settings.signing_key, issuer=settings.public_url, secret=settings.secret)
    ids, now = RandomIds(), SystemClock().now()
    callers = []
    for _ in range(users):
        user = UserId(ids.new())
        callers.append([Caller(user, DeviceId(ids.new()), 1) for _ in range(devices)])

    def join(tx: Transaction) -> None:
        for number, mine in enumerate(callers):
            user = mine[0].user_id
            tx.accounts.add_user(user, parse_username(f"{names}-{number}"), "no hash", now=now)
            tx.namespaces.add_personal(NamespaceId(ids.new()), user, quota=settings.quota_bytes, now=now)
            for caller in mine:
                tx.accounts.add_device(Device(caller.device_id, user, "waiting", "test"), now=now)

    async def write() -> None:
        metadata = SqlMetadata(make_engine(settings.metadata_db_url, threads=1), threads=1)
        await metadata.write(join)
        await metadata.close()

    asyncio.run(write())
    until = now + timedelta(minutes=settings.access_token_minutes)
    signed = [[tokens.issue_access(caller, now=now, expires_at=until) for caller in mine] for mine in callers]
    return Crowd(settings.public_url, signed)
