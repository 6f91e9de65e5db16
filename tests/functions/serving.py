"""The HTTP layer without processes: the functions as the host would find them, called with its requests.

The application is the one that `shared.container.build` wires, over SQLite, a block store in memory, and time that
stands still; so what is missing here is only what the host adds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import azure.functions as func
import msgspec
from sqlalchemy import Engine, text

from functions import (
    http_auth,
    http_blocks,
    http_devices,
    http_files,
    http_folders,
    http_health,
    http_history,
    http_notifications,
    http_transfers,
    http_unmatched,
)
from functions._routes import RouteTable
from shared.adapters.memory.block_store import MemoryBlockStore
from shared.container import Application
from tests.support.doubles import FixedClock, PlainPasswords
from tests.support.world import PASSWORD, private_key

PUBLIC_URL = "http://127.0.0.1:7071"
MAX_UPLOAD, INLINE, QUOTA = 200_000, 50_000, 1_000_000

SETTINGS = {
    "PUBLIC_URL": PUBLIC_URL,
    "BLOB_CONNECTION_STRING": "UseDevelopmentStorage=true",
    "STRATA_SECRET": "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyAuLi4",
    "TOKEN_SIGNING_KEY": private_key(),
    "MAX_UPLOAD_BYTES": str(MAX_UPLOAD),
    "INLINE_LIMIT_BYTES": str(INLINE),
    "QUOTA_BYTES": str(QUOTA),
}


@dataclass(frozen=True)
class Invocation:
    """The one part of the host's context that the application reads."""

    invocation_id: str = "0f0e0d0c-0b0a-0908-0706-050403020100"


class Passwords(PlainPasswords):
    async def close(self) -> None:
        return None


@dataclass
class Site:
    """The functions by name, and what stands behind them."""

    app: Application
    engine: Engine
    clock: FixedClock
    memory: MemoryBlockStore
    functions: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        site, served = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS), RouteTable()
        modules = (
            http_auth,
            http_devices,
            http_files,
            http_folders,
            http_history,
            http_notifications,
            http_blocks,
            http_transfers,
            http_health,
        )
        for module in modules:
            site.register_functions(module.routes(self.app, served))
        site.register_functions(http_unmatched.routes(served))
        self.functions = {each.get_function_name(): each.get_user_function() for each in site.get_functions()}

    async def call(
        self,
        function: str,
        body: bytes | object = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        **route: str,
    ) -> func.HttpResponse:
        """Call a function; a body that isn't bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        request = func.HttpRequest(
            method,
            f"{PUBLIC_URL}/",
            headers=headers or {},
            params=params or {},
            route_params=route,
            body=raw,
        )
        response: func.HttpResponse = await self.functions[function](request, Invocation())
        return response

    async def sign_up(self, username: str) -> "User":
        credentials = {"username": username, "password": PASSWORD}
        assert (await self.call("register", credentials)).status_code == 201
        return User(self, json(await self.call("login", credentials)))

    def rows(self, *tables: str) -> dict[str, int]:
        """How many rows each table has: what an error must leave as it was."""
        with self.engine.connect() as connection:
            return {
                each: connection.execute(text(f"SELECT COUNT(*) FROM {each}")).scalar_one()
                for each in tables or ("users", "devices", "nodes", "versions", "blocks", "leases", "blobs")
            }


@dataclass
class User:
    """Somebody who is signed in."""

    site: Site
    tokens: dict[str, Any]

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens['access_token']}"}

    async def call(self, function: str, body: bytes | object = b"", **more: Any) -> func.HttpResponse:
        headers = {**self.bearer, **(more.pop("headers", None) or {})}
        return await self.site.call(function, body, headers=headers, **more)

    async def upload(self, path: str, content: bytes, **headers: str) -> dict[str, Any]:
        done = await self.call("upload_file", content, params={"path": path}, headers=headers)
        assert done.status_code == 201, done.get_body()
        return json(done)

    async def download(self, file_id: str, *, method: str = "GET", **headers: str) -> func.HttpResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("download_file", method=method, file_id=file_id, headers=named)


def json(response: func.HttpResponse) -> Any:
    return msgspec.json.decode(response.get_body())


def refusal(response: func.HttpResponse) -> tuple[int, str]:
    """Status and code of a problem document, whose form is checked."""
    document = json(response)
    assert response.mimetype == "application/problem+json"
    assert document["status"] == response.status_code
    assert document["type"] == f"urn:strata:problem:{document['code']}"
    assert document["error"] == document["title"]
    assert document["request_id"] == response.headers["x-request-id"] == Invocation().invocation_id
    assert document["detail"]
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, document["code"]
