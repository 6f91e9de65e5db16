"""`make bench`: what Strata costs, each figure beside a peer that was measured in the same run.

    python -m tests.bench [transfers] [small-files] [listing] [growth] [memory] [planner] [sync]
                          [notifications] [servicebus]

Rates depend on the machine; ratios carry further. Exit code 1 when a bound is broken.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import (
    growth,
    listing,
    memory,
    notifications,
    planner,
    servicebus,
    small_files,
    sync,
    transfers,
)
from tests.bench.measuring import Row
from tests.support.system import ROOT

SUITES = {
    "transfers": transfers.rows,
    "small-files": small_files.rows,
    "listing": listing.rows,
    "growth": growth.rows,
    "memory": memory.rows,
    "planner": planner.rows,
    "sync": sync.rows,
    "notifications": notifications.rows,
    "servicebus": servicebus.rows,
}
RESULTS = ROOT / ".local" / "bench" / "latest.json"


def main(wanted: list[str]) -> int:
    unknown = set(wanted) - SUITES.keys()
    if unknown:
        print(
            f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}", file=sys.stderr
        )
        return 2
    # Where a shell sets this, each run of the command would compile it anew, which no installed one does.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    done: list[Row] = []
    for name in wanted or SUITES:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        # A system of its own for each: Azurite slows down with the number of its blobs.
        with tempfile.TemporaryDirectory(prefix="strata-bench-") as folder:
            done += SUITES[name](Path(folder))
    table = Table("what", "Strata", "beside", "ratio", "bound")
    for row in done:
        bound = f"{row.limit} {'kept' if row.kept else 'BROKEN'}" if row.limit else ""
        table.add_row(row.name, row.ours, row.peer, f"{row.ratio:.2f}" if row.ratio else "", bound)
    Console(width=140).print(table)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps([vars(row) for row in done], indent=2))
    return 0 if all(row.kept for row in done) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
