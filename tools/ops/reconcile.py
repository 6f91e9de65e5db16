"""Compare database and store: `python -m tools.ops.reconcile [--accept-losses]`.

Blobs that the store has lost are marked, so that the next upload of the same bytes heals them. Nothing is deleted.
When more than half seems lost, nothing is marked either, unless --accept-losses says that it is the right store.
"""

import argparse
import sys
from functools import partial

from shared.container import Application
from tools.ops._application import run


async def reconcile(application: Application, *, accept_losses: bool) -> int:
    found = await application.reconcile_blobs(accept_losses=accept_losses)
    print(
        f"{found.known} blobs known, {found.missing} found missing now, {found.unknown} not referred to; "
        f"{found.unreadable_blocks} blocks of files can't be read"
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.ops.reconcile", description=__doc__)
    parser.add_argument(
        "--accept-losses", action="store_true", help="mark them even if most blobs are missing"
    )
    sys.exit(run(partial(reconcile, **vars(parser.parse_args()))))
