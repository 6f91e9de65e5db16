"""Tokens for Azure Managed Redis, by the application's managed identity."""

import time
from dataclasses import dataclass, field

from azure.core.exceptions import AzureError
from azure.identity.aio import DefaultAzureCredential
from redis.exceptions import AuthenticationError

_SCOPE = "https://redis.azure.com/.default"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token, and the seconds that it lasts from now."""

    token: str = field(repr=False)
    lasts: float


class RedisTokenSource:
    """Asks the identity, which is looked up at the first call, without holding up the event loop.

    `client_id` names a user-assigned identity, None the one that the application has.
    """

    def __init__(self, client_id: str | None) -> None:
        self._client_id = client_id
        self._credential: DefaultAzureCredential | None = None

    async def token(self) -> AccessToken:
        """A current token; the credential keeps it until shortly before it ends. Raises AuthenticationError."""
        if self._credential is None:
            self._credential = DefaultAzureCredential(managed_identity_client_id=self._client_id)
        try:
            found = await self._credential.get_token(_SCOPE)
        except AzureError as error:
            raise AuthenticationError("no identity to sign in to Redis with") from error
        return AccessToken(found.token, found.expires_on - time.time())

    async def close(self) -> None:
        if self._credential is not None:
            await self._credential.close()
