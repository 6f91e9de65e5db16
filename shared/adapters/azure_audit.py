"""The audit log in append blobs: one for each hour, and a further one when an hour has filled it.

Azure appends a block at the end of the blob or not at all, whoever else appends at the same time. A blob takes 50,000
of them, so the writer goes on in the next one. A policy on the container (time-based retention that allows protected
appends) makes what is written there unchangeable; without one, the log is as safe as the right to delete blobs.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobClient, BlobServiceClient, LinearRetry

from shared.adapters.azure_blob import translated
from shared.domain.errors import Unavailable
from shared.ports.block_store import BlobMissing

CONTAINER = "audit"

MOST_BYTES = 4 * 1024 * 1024
"""In one append; a message is far below."""

_FULL = "BlockCountExceedsLimit"
_BLOBS = 1000


class AzureAuditLog:
    """Implements the AuditLog port; opens no connection before it is used. Arguments as of AzureBlockStore."""

    def __init__(
        self,
        *,
        connection_string: str | None = None,
        account_url: str | None = None,
        client_id: str | None = None,
    ) -> None:
        self._connection_string, self._account_url = connection_string, account_url
        self._client_id = client_id
        self._service: BlobServiceClient | None = None
        self._credential: DefaultAzureCredential | None = None

    async def prepare(self) -> None:
        with translated():
            try:
                await self._client().create_container(CONTAINER)
            except ResourceExistsError:
                return

    async def append(self, lines: Sequence[bytes], *, at: datetime) -> None:
        content = b"".join(line + b"\n" for line in lines)
        if len(content) > MOST_BYTES:
            raise ValueError(f"{len(content)} bytes are too many for one append")
        for number in range(_BLOBS):
            blob = self._client().get_blob_client(CONTAINER, f"{at:%Y/%m/%d/%H}-{number:03}.jsonl")
            try:
                with translated():
                    if await self._appended(blob, content):
                        return
            except BlobMissing as error:
                raise Unavailable(
                    f"there is no container {CONTAINER}: run python -m tools.ops.migrate"
                ) from error
        raise ValueError("an hour can't have so many events")

    async def close(self) -> None:
        if self._service is not None:
            await self._service.close()
        if self._credential is not None:
            await self._credential.close()

    @staticmethod
    async def _appended(blob: BlobClient, content: bytes) -> bool:
        """False when the blob is full."""
        try:
            try:
                await blob.append_block(content, length=len(content))
            except HttpResponseError as error:
                if error.status_code != 404:
                    raise
                # Somebody else may begin the hour in the same moment.
                with suppress(ResourceExistsError, ResourceModifiedError):
                    await blob.create_append_blob(match_condition=MatchConditions.IfMissing)
                await blob.append_block(content, length=len(content))
        except HttpResponseError as error:
            # The storage SDK adds the code to an error class that knows nothing of it.
            if getattr(error, "error_code", None) == _FULL:
                return False
            raise
        return True

    def _client(self) -> BlobServiceClient:
        if self._service is None:
            options: dict[str, Any] = {
                "retry_policy": LinearRetry(backoff=1, retry_total=2, random_jitter_range=1),
                "transport": AioHttpTransport(connection_timeout=3, read_timeout=60, use_env_settings=False),
            }
            if self._connection_string is not None:
                self._service = BlobServiceClient.from_connection_string(self._connection_string, **options)
            else:
                self._credential = DefaultAzureCredential(managed_identity_client_id=self._client_id)
                self._service = BlobServiceClient(str(self._account_url), self._credential, **options)
        return self._service
