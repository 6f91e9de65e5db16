"""The application, with events of staged blocks that get lost or come twice.

What becomes of an event depends on the first digit of the blob's name, so a test can tell which ones were hit.
"""

import os
from dataclasses import replace
from typing import Any

import azure.functions as func

from functions import blob_staged, http_auth, http_blocks, http_files, http_transfers, timer_upkeep
from functions._routes import RouteTable
from shared.config import load
from shared.container import build
from shared.domain.ids import BlobId

application = build(load(os.environ))


async def admit_unreliably(name: BlobId) -> Any:
    fate = int(name[0], 16) % 3
    outcome = None if fate == 0 else await application.admit_staged_block(name)
    return await application.admit_staged_block(name) if fate == 1 else outcome


app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
_served = RouteTable()
for module in (http_auth, http_blocks, http_files, http_transfers):
    app.register_functions(module.routes(application, _served))
unreliable: Any = replace(application, admit_staged_block=admit_unreliably)
app.register_functions(blob_staged.routes(unreliable))
app.register_functions(timer_upkeep.routes(application))


async def close() -> None:
    await application.close()
