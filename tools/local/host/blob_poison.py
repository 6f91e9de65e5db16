"""Poison: what is said about a blob that its function failed on too often.

Five failures (`poisonBlobThreshold`) are taken to mean that the sixth try fails too; the blob is left alone from then
on, and a message about it goes to the storage queue `webjobs-blobtrigger-poison` of the blob's account, where a
person or another function finds it. The form is Microsoft's ("Poison blobs" in its page on the trigger,
`BlobTriggerMessage`): a JSON object, in Base64 as the queues extension wants it.
"""

import json

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

from tools.local.host.blob_receipts import BlobVersion, function_id

POISON_QUEUE = "webjobs-blobtrigger-poison"


def poison_message(function: str, version: BlobVersion) -> str:
    """Return the text of the message."""
    return json.dumps(
        {
            "Type": "BlobTrigger",
            "FunctionId": function_id(function),
            "BlobType": version.kind,
            "ContainerName": version.container,
            "BlobName": version.name,
            "ETag": version.etag,
        }
    )


async def send_poison(connection: str, function: str, version: BlobVersion) -> None:
    """Put the message into the queue, making the queue first if need be. Raises AzureError."""
    queue = QueueClient.from_connection_string(
        connection, POISON_QUEUE, message_encode_policy=TextBase64EncodePolicy(), retry_total=0
    )
    async with queue:
        text = poison_message(function, version)
        try:
            await queue.send_message(text)
        except ResourceNotFoundError:
            await queue.create_queue()
            await queue.send_message(text)
