"""Blocks that clients put straight into storage. Only the store's events start this; nobody can call it."""

import azure.functions as func
from azurefunctions.extensions.bindings import blob

from shared.container import Application
from shared.domain.ids import BlobId
from shared.ports.block_store import Container


def routes(app: Application) -> func.Blueprint:
    bp = func.Blueprint()
    settings = app.settings

    # The client binding, because the plain one would load whatever was uploaded into memory. Only its name is used:
    # the bytes come through the application's own door.
    @bp.blob_trigger(
        arg_name="staged",
        path=f"{Container.STAGING}/{{name}}",
        connection=settings.blob_trigger_connection,
        source=func.BlobSource(settings.blob_trigger_source),
    )
    async def index_staged_block(staged: blob.BlobClient) -> None:
        await app.admit_staged_block(BlobId(staged.blob_name))

    return bp
