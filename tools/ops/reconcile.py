"""Compare database and store: `python -m tools.ops.reconcile`.

Blobs that the store has lost are marked, so that the next upload of the same bytes heals them. Nothing is deleted.
"""

import sys

from shared.container import Application
from tools.ops._application import run


async def reconcile(application: Application) -> int:
    found = await application.reconcile_blobs()
    print(
        f"{found.known} blobs known, {found.missing} found missing now, {found.unknown} not referred to; "
        f"{found.unreadable_blocks} blocks of files can't be read"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(reconcile))
