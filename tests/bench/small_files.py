"""Two thousand files of 16 KiB up and down, beside rclone into an Azurite: wall time, and the blobs that they cost."""

from collections.abc import Iterator
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from tests.bench.measuring import Row, cpu_of, run, write_random
from tests.bench.rclone import Rclone
from tests.support.system import Strata, System

FILES = 2_000
SIZE = 16 * 1024
AT_LEAST = 5.0
"""Times rclone's rate: one request and one blob a file must not be what small files cost."""

MOST_BLOBS = 16


def rows(folder: Path) -> Iterator[Row]:
    tree = folder / "tree"
    for number in range(FILES):
        target = tree / f"{number % 20:02}" / f"{number:04}.bin"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_random(target, SIZE, seed=number)
    # Azurite slows down with the number of its blobs, so each has one of its own.
    with System(folder / "peer").azurite() as azurite:
        rclone = Rclone.to(azurite.connection_string)
        peer = rclone.sync(tree, "az:rclone/tree")
        peer_down = rclone.sync("az:rclone/tree", folder / "peer-back")
    system = System(folder / "ours")
    with system.azurite() as azurite, system.host() as host:
        strata = Strata(folder / "home", system.url)
        strata.sign_up("bench")
        # A server has seen uploads before: what it prepares at the first is not what is measured.
        run([strata.program(), "up", __file__, "/warm", "--quiet"], strata.environment)
        before = cpu_of(host.child.pid)
        spent = run([strata.program(), "up", tree, "/tree", "--quiet"], strata.environment)
        server = cpu_of(host.child.pid) - before
        spent_down = run([strata.program(), "down", "/tree", folder / "back", "--quiet"], strata.environment)
        with BlobServiceClient.from_connection_string(azurite.connection_string) as store:
            blobs = sum(1 for _ in store.get_container_client("blocks").list_blobs())
    ratio = peer.wall / spent.wall
    yield Row(
        f"{FILES:,} files of 16 KiB up",
        f"{spent.wall:.2f} s, CPU {spent.cpu:.1f} + host {server:.1f} s",
        f"rclone: {peer.wall:.2f} s, CPU {peer.cpu:.1f} s",
        ratio,
        f"at least {AT_LEAST:.0f} times",
        ratio >= AT_LEAST,
        figures={"wall": spent.wall, "cpu": spent.cpu, "host_cpu": server, "peer_wall": peer.wall},
    )
    yield Row(
        "the same files down",
        f"{spent_down.wall:.2f} s, CPU {spent_down.cpu:.1f} s",
        f"rclone: {peer_down.wall:.2f} s, CPU {peer_down.cpu:.1f} s",
        peer_down.wall / spent_down.wall,
        figures={"wall": spent_down.wall, "cpu": spent_down.cpu, "peer_wall": peer_down.wall},
    )
    yield Row(
        "blobs that they cost",
        f"{blobs}",
        f"rclone: {FILES:,}",
        None,
        f"at most {MOST_BLOBS}",
        blobs <= MOST_BLOBS,
        figures={"blobs": blobs},
    )
