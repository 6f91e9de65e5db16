"""The block store on Azure Blob Storage, or on Azurite, by the SDK's async client.

With an account address the application signs in by its managed identity and hands out user delegation grants; with a
connection string (Azurite, or an account that has keys) it signs with the account key.
"""

import base64
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob import (
    BlobBlock,
    BlobSasPermissions,
    BlobType,
    CorsRule,
    UserDelegationKey,
    generate_blob_sas,
)
from azure.storage.blob.aio import BlobClient, BlobServiceClient, LinearRetry

from shared.domain.blocks import BLOCK_SIZE
from shared.domain.errors import Unavailable
from shared.domain.ids import BlobId
from shared.domain.packing import PACK_SIZE
from shared.ports.block_store import (
    Arrived,
    BlobChanged,
    BlobExists,
    BlobMissing,
    BlobUnreadable,
    Container,
    Disposition,
)
from shared.ports.system import Clock

_ASSEMBLE_PART = 8 * 1024 * 1024
_DELEGATION = timedelta(days=1)
_CLOCK_SKEW = timedelta(minutes=5)
# Answers with status 409 that are about bytes to be read, and not about a name that is taken.
_OUT_OF_REACH = frozenset({"BlobArchived", "BlobBeingRehydrated", "BlobUsesCustomerSpecifiedEncryption"})


class AzureBlockStore:
    """Implements the BlockStore port.

    Exactly one of `connection_string` and `account_url` is given. `client_id` names a user-assigned identity.
    Nothing is opened before the first call, which must come from the event loop that all others come from.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        connection_string: str | None = None,
        account_url: str | None = None,
        client_id: str | None = None,
    ) -> None:
        if (connection_string is None) == (account_url is None):
            raise ValueError("give a connection string or an account address")
        self._clock, self._connection_string, self._account_url = clock, connection_string, account_url
        self._client_id = client_id
        self._service: BlobServiceClient | None = None
        self._credential: DefaultAzureCredential | None = None
        self._delegation: tuple[UserDelegationKey, datetime] | None = None

    async def prepare(self, *, origins: Sequence[str] = ()) -> None:
        rule = CorsRule(
            list(origins),
            ["GET", "HEAD", "OPTIONS", "PUT"],
            allowed_headers=["*"],
            exposed_headers=["etag", "content-length", "content-range"],
            max_age_in_seconds=3600,
        )
        for container in Container:
            with translated():
                try:
                    await self._client().create_container(container.value)
                except ResourceExistsError:
                    continue
        if self._connection_string is None:
            # An identity that may write all blobs may still not write the account's settings: no data role holds
            # Microsoft.Storage/storageAccounts/blobServices/write. Whoever makes the account sets its rules.
            return
        with translated():
            await self._client().set_service_properties(cors=[rule] if origins else [])

    async def put(self, blob: BlobId, stored: bytes) -> str:
        with translated():
            # overwrite=False sends If-None-Match: *, so an existing blob is never touched.
            answer = await self._blob(Container.BLOCKS, blob).upload_blob(
                stored, length=len(stored), overwrite=False
            )
        return str(answer["etag"])

    async def get(self, blob: BlobId, *, offset: int, length: int) -> bytes:
        try:
            with translated():
                client = self._blob(Container.BLOCKS, blob)
                stream = await client.download_blob(offset, length, decompress=False)
                content = await stream.readall()
        except BlobUnreadable as error:
            raise Unavailable("the block store keeps this blob out of reach", retry_after=60) from error
        if len(content) != length:
            raise BlobMissing(f"{blob} has fewer than {offset + length} bytes")
        return bytes(content)

    async def assemble(self, blob: BlobId, parts: AsyncIterator[bytes]) -> None:
        client = self._blob(Container.ASSEMBLED, blob)
        staged: list[BlobBlock] = []

        async def stage(part: bytes) -> None:
            name = base64.b64encode(f"{len(staged):08}".encode()).decode()
            with translated():
                await client.stage_block(name, part, length=len(part))
            staged.append(BlobBlock(block_id=name))

        gathered = bytearray()
        async for part in parts:
            gathered += part
            if len(gathered) >= _ASSEMBLE_PART:
                await stage(bytes(gathered))
                gathered.clear()
        if gathered:
            await stage(bytes(gathered))
        with translated():
            # Until this list is committed, nobody can read any of it.
            await client.commit_block_list(staged, if_none_match="*")

    async def delete(self, container: Container, blob: BlobId) -> None:
        with translated():
            try:
                await self._blob(container, blob).delete_blob()
            except ResourceNotFoundError:
                return

    async def read_url(
        self,
        container: Container,
        blob: BlobId,
        *,
        expires_at: datetime,
        disposition: Disposition | None = None,
    ) -> str:
        more: dict[str, Any] = {}
        if disposition is not None:
            more["content_disposition"] = disposition.content_disposition
            more["content_type"] = disposition.content_type
        return await self._url(container, blob, BlobSasPermissions(read=True), expires_at, more)

    async def put_url(self, blob: BlobId, *, expires_at: datetime) -> str:
        # Create without write: the name can be filled, and what is there can't be replaced.
        return await self._url(Container.STAGING, blob, BlobSasPermissions(create=True), expires_at, {})

    async def arrived(self, blob: BlobId) -> Arrived:
        with translated():
            found = await self._blob(Container.STAGING, blob).get_blob_properties()
        return Arrived(int(found.size), str(found.etag), found.blob_type == BlobType.BLOCKBLOB)

    async def read_arrived(self, blob: BlobId, arrived: Arrived) -> bytes:
        with translated():
            # Whoever put it there may claim any Content-Encoding: 4 MiB of gzip would unpack to gigabytes.
            stream = await self._blob(Container.STAGING, blob).download_blob(
                0,
                arrived.size,
                etag=arrived.etag,
                match_condition=MatchConditions.IfNotModified,
                decompress=False,
            )
            return bytes(await stream.readall())

    async def _url(
        self,
        container: Container,
        blob: BlobId,
        permission: BlobSasPermissions,
        expires_at: datetime,
        more: Mapping[str, Any],
    ) -> str:
        # A blob client would do, at three times the cost: a large manifest needs thousands of these.
        service = self._client()
        signed_by: dict[str, Any]
        if self._connection_string is not None:
            signed_by = {"account_key": service.credential.account_key}
        else:
            signed_by = {"user_delegation_key": await self._delegation_key(expires_at)}
        if service.url.startswith("https:"):
            # An address that is a right must not travel in the open; only Azurite has nothing else.
            signed_by["protocol"] = "https"
        grant = generate_blob_sas(
            str(service.account_name),
            container.value,
            blob,
            permission=permission,
            expiry=expires_at,
            **signed_by,
            **more,
        )
        return f"{service.url.rstrip('/')}/{container.value}/{blob}?{grant}"

    async def exists(self, container: Container, blob: BlobId) -> bool:
        with translated():
            return await self._blob(container, blob).exists()

    async def names(self, container: Container) -> AsyncIterator[BlobId]:
        with translated():
            async for name in self._client().get_container_client(container.value).list_blob_names():
                yield BlobId(name)

    async def close(self) -> None:
        if self._service is not None:
            await self._service.close()
        if self._credential is not None:
            await self._credential.close()

    def _blob(self, container: Container, blob: BlobId) -> BlobClient:
        return self._client().get_blob_client(container.value, blob)

    def _client(self) -> BlobServiceClient:
        if self._service is None:
            options: dict[str, Any] = {
                # A pack, and a block anyway, is always one Put Blob and never a list of parts.
                "max_single_put_size": PACK_SIZE,
                "max_block_size": 2 * _ASSEMBLE_PART,
                "max_single_get_size": 2 * BLOCK_SIZE,
                # A request's caller is waiting: give up after a few seconds, and say so.
                "retry_policy": LinearRetry(backoff=1, retry_total=2, random_jitter_range=1),
                "transport": AioHttpTransport(
                    connection_timeout=3,
                    read_timeout=60,
                    # Otherwise every request looks for proxies and reads ~/.netrc again.
                    use_env_settings=False,
                ),
            }
            if self._connection_string is not None:
                self._service = BlobServiceClient.from_connection_string(self._connection_string, **options)
            else:
                self._credential = DefaultAzureCredential(managed_identity_client_id=self._client_id)
                self._service = BlobServiceClient(str(self._account_url), self._credential, **options)
        return self._service

    async def _delegation_key(self, needed_until: datetime) -> UserDelegationKey:
        """The key that signs grants in Azure; one lasts a day and serves all grants that end before it does."""
        now = self._clock.now()
        if self._delegation is None or self._delegation[1] < needed_until:
            expires = max(now + _DELEGATION, needed_until + _CLOCK_SKEW)
            with translated():
                key = await self._client().get_user_delegation_key(now - _CLOCK_SKEW, expires)
            self._delegation = (key, expires)
        return self._delegation[0]


@contextmanager
def translated() -> Iterator[None]:
    """Let the SDK's errors out as the port's; its texts, which may hold addresses, stay in the log's cause."""
    try:
        yield
    except ResourceExistsError as error:
        # The storage SDK adds the code to an error class that knows nothing of it.
        if getattr(error, "error_code", None) in _OUT_OF_REACH:
            raise BlobUnreadable("the block store keeps these bytes out of reach") from error
        raise BlobExists from error
    except ResourceNotFoundError as error:
        raise BlobMissing from error
    except ResourceModifiedError as error:
        raise BlobChanged from error
    except ClientAuthenticationError as error:
        raise Unavailable("the block store refuses this application's identity", retry_after=30) from error
    except HttpResponseError as error:
        if error.status_code == 416:
            raise BlobMissing from error
        raise Unavailable("the block store answers with an error") from error
    except AzureError as error:
        raise Unavailable("the block store can't be reached") from error
