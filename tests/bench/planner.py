"""The planner of `strata sync`: 100,000 files on each side, planned in under 2 seconds and 300 MB.

Each case runs in a process of its own, so that its peak is its own. The peer is the time that only building the
three trees takes: what a client has to do before anything can be planned.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from msgspec.structs import replace

from client.sync.planning import plan
from client.sync.trees import (
    BaseEntry,
    Content,
    Fingerprint,
    Here,
    Kind,
    LocalEntry,
    LocalTree,
    RemoteEntry,
    RemoteTree,
)
from shared.domain.blocks import Sha256
from shared.domain.ids import NodeId, VersionId
from tests.bench.measuring import Row, peak_of
from tests.support.system import ROOT

FILES = 100_000
A_FOLDER = 100
"""Files in each folder: a tree of photographs or of source code is like that."""

LIMIT_SECONDS = 2.0
LIMIT_MIB = 300.0

CASES = {
    "nothing changed": "nothing",
    "1 % edited on each side": "edited",
    "all new here": "new_here",
    "all new on the server": "new_there",
    "a first sync of equal trees": "adopted",
    "the uppermost folder renamed here": "renamed",
    "one file in ten moved here, without inodes": "scattered",
}

Trees = tuple[dict[NodeId, BaseEntry], LocalTree, RemoteTree]


def rows(folder: Path) -> list[Row]:
    """One row for each case."""
    return [_row(name, case) for name, case in CASES.items()]


def _row(name: str, case: str) -> Row:
    command = [sys.executable, "-m", "tests.bench.planner", case]
    answer = json.loads(subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout)
    seconds, peak = answer["seconds"], answer["peak_mib"]
    return Row(
        f"planner, {FILES:,} files a side: {name}",
        f"{seconds:.2f} s, {peak:.0f} MiB, {answer['actions']:,} actions",
        f"{answer['building']:.2f} s to build the trees",
        answer["building"] / seconds,
        limit=f"{LIMIT_SECONDS:.0f} s, {LIMIT_MIB:.0f} MiB",
        kept=seconds < LIMIT_SECONDS and peak < LIMIT_MIB,
        figures=answer,
    )


def trees(case: str) -> Trees:
    """Three trees of FILES files, in folders of A_FOLDER below one uppermost folder."""
    base: dict[NodeId, BaseEntry] = {}
    local: dict[tuple[str, ...], LocalEntry] = {}
    remote: dict[NodeId, RemoteEntry] = {}
    root, top = NodeId("0" * 32), _id("top")
    top_name = "renamed" if case == "renamed" else "top"

    def add_folder(node: NodeId, parent: NodeId, name: str, path: tuple[str, ...], inode: int) -> None:
        mark = Fingerprint(0, 0, inode, 1)
        base[node] = BaseEntry(node, parent, name, Kind.FOLDER, fingerprint=mark)
        local[path] = LocalEntry(path, Kind.FOLDER, None, mark)
        remote[node] = RemoteEntry(node, parent, name, Kind.FOLDER)

    add_folder(top, root, "top", (top_name,), 1)
    for number in range(FILES // A_FOLDER):
        folder, name = _id(f"folder {number}"), f"folder {number:05}"
        add_folder(folder, top, name, (top_name, name), 10 + number)
        for index in range(A_FOLDER):
            serial = number * A_FOLDER + index
            node, file_name = _id(f"file {serial}"), f"IMG_{serial:07}.jpg"
            digest = hashlib.sha256(node.encode()).hexdigest()
            content = Content(Sha256(digest), 1_000_000 + serial)
            mark = Fingerprint(content.size, 1_700_000_000_000_000_000 + serial, 1_000_000 + serial, 1)
            version = VersionId(digest[:32])
            base[node] = BaseEntry(node, folder, file_name, Kind.FILE, content, version, mark)
            path = (top_name, name, file_name)
            if case == "scattered" and serial % 10 == 0:
                path = (
                    top_name,
                    f"folder {(number + 1 + index) % (FILES // A_FOLDER):05}",
                    f"moved {serial}",
                )
                mark = replace(mark, inode=serial, device=2)
            local[path] = LocalEntry(path, Kind.FILE, content, mark)
            remote[node] = RemoteEntry(
                node, folder, file_name, Kind.FILE, content, version, "2026-01-01T00:00:00Z"
            )
            if case == "edited" and serial % 100 == 0:
                local[path] = replace(local[path], content=Content(Sha256(digest[::-1]), 1))
            if case == "edited" and serial % 100 == 50:
                remote[node] = replace(remote[node], content=Content(Sha256(digest[::-1]), 1))
    if case in ("new_here", "new_there", "adopted"):
        base = {}
    if case == "new_here":
        remote = {}
    if case == "new_there":
        local = {}
    return base, LocalTree(local), RemoteTree(root, remote)


def _id(text: str) -> NodeId:
    return NodeId(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())


def main(case: str) -> None:
    # It is one thread that waits for nothing: its processor time says what it costs, whoever else is at work.
    start = time.process_time()
    base, local, remote = trees(case)
    built = time.process_time()
    made = plan(base, local, remote, device=Here("bench", "2026-01-01"))
    done = time.process_time()
    answer = {"building": built - start, "seconds": done - built, "actions": len(made.actions)}
    print(json.dumps(answer | {"peak_mib": peak_of(os.getpid())}))


if __name__ == "__main__":
    main(sys.argv[1])
