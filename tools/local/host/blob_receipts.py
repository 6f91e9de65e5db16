"""Receipts: which version of which blob a function is done with, kept beside the blobs.

A container can only be listed; it doesn't say what is new. So the host writes an empty blob for each version (ETag)
that it is done with, and a restart doesn't run everything again. Place and name are Microsoft's ("Blob receipts" in
its page on the trigger, and `BlobReceiptManager`):

    azure-webjobs-hosts/blobreceipts/<host id>/<function>/<etag>/<container>/<blob>

There, a receipt is complete once the version stands in a queue, and the queue counts the tries. Here is no queue:
a receipt is complete when the function is done with the version, and until then counts the tries that failed, so
that a blob which ends its host every time isn't tried for ever. Receipts are a memory, not a lock: after a crash a
version may run twice, as in Azure.
"""

import contextlib
import hashlib
from dataclasses import dataclass
from datetime import datetime

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

HOSTS_CONTAINER = "azure-webjobs-hosts"
_LONGEST_NAME = 1024
# Characters; the limit of the storage service for names of blobs.


@dataclass(frozen=True, slots=True)
class BlobVersion:
    """One content of one blob; `etag` is without quotes, `kind` is BlockBlob, PageBlob or AppendBlob."""

    container: str
    name: str
    etag: str
    kind: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """`tries` is how often the function has failed on it."""

    completed: bool
    tries: int


def function_id(name: str) -> str:
    """What Microsoft's host calls a function in receipts and poison messages."""
    return f"Host.Functions.{name}"


class Receipts:
    """The receipts of one host in one storage account."""

    def __init__(self, service: BlobServiceClient, host_id: str) -> None:
        self._container: ContainerClient = service.get_container_client(HOSTS_CONTAINER)
        self._folder = f"blobreceipts/{host_id}"

    async def read(self, function: str, version: BlobVersion) -> Receipt | None:
        """Return the receipt, None when there is none. Raises AzureError when storage can't be asked."""
        try:
            blob = self._container.get_blob_client(self._name(function, version))
            metadata = (await blob.get_blob_properties()).metadata or {}
        except ResourceNotFoundError:
            return None
        # Names of metadata come back in the case that the server likes.
        folded = {key.lower(): value for key, value in metadata.items()}
        tries = folded.get("tries", "")
        return Receipt(folded.get("completed") == "true", int(tries) if tries.isdecimal() else 0)

    async def write(self, function: str, version: BlobVersion, receipt: Receipt) -> None:
        """Write or replace the receipt, making the container first if need be. Raises AzureError."""
        metadata = {"Completed": "true" if receipt.completed else "false", "Tries": str(receipt.tries)}
        name = self._name(function, version)
        try:
            await self._container.upload_blob(name, b"", overwrite=True, metadata=metadata)
        except ResourceNotFoundError:
            # Somebody else may just have made it.
            with contextlib.suppress(ResourceExistsError):
                await self._container.create_container()
            await self._container.upload_blob(name, b"", overwrite=True, metadata=metadata)

    def _name(self, function: str, version: BlobVersion) -> str:
        name = f"{self._folder}/{function_id(function)}/{version.etag}/{version.container}/{version.name}"
        if len(name) <= _LONGEST_NAME:
            return name
        digest = hashlib.sha256(version.name.encode()).hexdigest()
        return f"{self._folder}/{function_id(function)}/{version.etag}/{version.container}/sha256-{digest}"
