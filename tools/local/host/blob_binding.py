"""The argument of a blob function: its content, or a client of the SDK that is already pointed at the blob.

Which of the two is decided by the parameter's annotation, as in Microsoft's worker: a type of
`azurefunctions.extensions.bindings.blob` (an "SDK type") gets only a description of the blob and fetches what it
needs, so that a large blob never has to be in memory; everything else gets `func.InputStream` with the whole content.
Both are built by the packages' own decoders, from what Microsoft's host would have sent.
"""

import asyncio
import inspect
import json
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import azure.functions as func
from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from azure.functions.blob import BlobConverter
from azure.functions.meta import Datum
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import ContainerClient

from tools.local.host.errors import HostError
from tools.local.host.loading import LoadedFunction

_EXTENSION = "azurefunctions.extensions.base"


class BlobGone(Exception):
    """The blob was deleted or changed since it was listed: there is nothing to run for."""


class BlobUnbound(Exception):
    """The SDK type could not be made; for the blob that counts as a failure of its function."""


@dataclass(frozen=True, slots=True)
class ModelBinding:
    """`ModelBindingData` of Microsoft's protocol between host and worker, with the fields that decoders read."""

    content: bytes
    version: str = "1.0"
    source: str = "AzureStorageBlobs"
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class BlobArgument:
    """Makes arguments for one function. `sdk_type` is its annotation, None when it takes an InputStream."""

    parameter: str
    connection: str
    sdk_type: type | None

    async def make(
        self, container: ContainerClient, name: str, values: Mapping[str, str], etag: str | None
    ) -> dict[str, object]:
        """Return the arguments; raises BlobGone when the blob isn't there, or not with this ETag, if one is given.

        Raises BlobUnbound when there is a blob, but no client for it could be made.
        """
        client = container.get_blob_client(name)
        try:
            properties = await client.get_blob_properties()
            current = str(properties.etag).strip('"')
            if etag is not None and current != etag:
                raise BlobGone(f"{container.container_name}/{name} has changed")
            if self.sdk_type is not None:
                return {self.parameter: await self._client(container.container_name, name)}
            download = await client.download_blob(
                etag=properties.etag, match_condition=MatchConditions.IfNotModified
            )
            content = await download.readall()
        except (ResourceNotFoundError, ResourceModifiedError) as error:
            raise BlobGone(f"{container.container_name}/{name} is gone or has changed") from error
        metadata = _trigger_metadata(f"{container.container_name}/{name}", client.url, properties, values)
        return {self.parameter: BlobConverter.decode(Datum(content, "bytes"), trigger_metadata=metadata)}

    async def _client(self, container: str, name: str) -> object:
        described = {"Connection": self.connection, "ContainerName": container, "BlobName": name}
        datum = Datum(ModelBinding(json.dumps(described).encode()), "model_binding_data")
        converter = sys.modules[_EXTENSION].get_binding_registry().get("blobTrigger")
        # In a thread: the SDK's clients are blocking ones, and a StorageStreamDownloader begins with a request.
        try:
            return await asyncio.to_thread(converter.decode, datum, trigger_metadata={}, pytype=self.sdk_type)
        except ValueError as error:
            raise BlobUnbound(str(error)) from error


def blob_argument(function: LoadedFunction, connection: str) -> BlobArgument:
    """Read the annotation of the trigger's parameter; raises HostError for one that no worker could satisfy."""
    parameter = function.trigger.name
    annotation = _annotation(function.call, parameter)
    if annotation is None or (
        isinstance(annotation, type) and issubclass(annotation, (func.InputStream, bytes, str))
    ):
        return BlobArgument(parameter, connection, None)
    extension = sys.modules.get(_EXTENSION)
    if extension is not None and isinstance(annotation, type):
        registry = extension.get_binding_registry()
        converter = registry.get("blobTrigger")
        if (
            converter is not None
            and registry.check_supported_type(annotation)
            and converter.check_input_type_annotation(annotation)
        ):
            return BlobArgument(parameter, connection, annotation)
    raise HostError(f"{function.name}: a blob trigger can't give {parameter!r} the type {annotation!r}")


def _annotation(call: Callable[..., object], parameter: str) -> object:
    """The annotation as an object, whether it was written as text or not; None when there is none."""
    if inspect.signature(call).parameters[parameter].annotation is inspect.Parameter.empty:
        return None
    return typing.get_type_hints(call).get(parameter)


def _trigger_metadata(
    path: str, url: str, properties: BlobProperties, values: Mapping[str, str]
) -> dict[str, Datum]:
    """What the host tells besides the content, the parameters of the path among it."""
    described = {
        "ContentLength": properties.size,
        "ContentType": properties.content_settings.content_type,
        "ETag": properties.etag,
        "LastModified": properties.last_modified.isoformat(),
    }
    return {
        **{name: Datum(value, "string") for name, value in values.items()},
        "BlobTrigger": Datum(path, "string"),
        "Uri": Datum(url, "string"),
        "Properties": Datum(json.dumps(described), "json"),
        "Metadata": Datum(json.dumps(dict(properties.metadata or {})), "json"),
    }
