"""A large file up and down, beside the raw storage SDK with eight threads into the same Azurite."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from azure.storage.blob import BlobServiceClient, ContainerClient

from tests.bench.measuring import MIB, Row, Spent, cpu_of, run, timed, write_random
from tests.support.system import Strata, System

SIZE = 512 * MIB
_THREADS = 8
_BLOCK = 4 * MIB


def rows(folder: Path) -> Iterator[Row]:
    system = System(folder)
    with system.azurite() as azurite, system.host() as host:
        strata = Strata(folder / "home", system.url)
        strata.sign_up("bench")
        original = write_random(folder / "large.bin", SIZE, seed=1)
        # Other content: what is there already would not travel.
        other = write_random(folder / "other.bin", SIZE, seed=2)
        store = BlobServiceClient.from_connection_string(azurite.connection_string)
        with store, store.create_container("raw") as raw:
            # The peer goes first: each meets the same, nearly empty Azurite.
            peer_up = timed(lambda: _raw_up(raw, original))
            peer_down = timed(lambda: _raw_down(raw, folder / "raw-back.bin"))
        commands: list[tuple[str, list[str | Path], Spent]] = [
            ("up", ["up", original, "/large.bin"], peer_up),
            ("down", ["down", "/large.bin", folder / "back.bin"], peer_down),
            ("up --direct", ["up", "--direct", other, "/other.bin"], peer_up),
        ]
        for name, command, peer in commands:
            before = cpu_of(host.child.pid)
            spent = run([strata.program(), *command, "--quiet"], strata.environment)
            server = cpu_of(host.child.pid) - before
            yield Row(
                f"512 MiB {name}",
                f"{SIZE / MIB / spent.wall:.0f} MiB/s, CPU {spent.cpu:.1f} + host {server:.1f} s",
                f"SDK, {_THREADS} threads: {SIZE / MIB / peer.wall:.0f} MiB/s, CPU {peer.cpu:.1f} s",
                peer.wall / spent.wall,
                figures={"wall": spent.wall, "cpu": spent.cpu, "host_cpu": server, "peer_wall": peer.wall},
            )
        if (folder / "back.bin").read_bytes() != original.read_bytes():
            raise ValueError("what came back is not what went up")


def _raw_up(container: ContainerClient, path: Path) -> None:
    def put(position: int) -> None:
        with path.open("rb") as stream:
            stream.seek(position)
            container.upload_blob(f"{position:012}", stream.read(_BLOCK))

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(put, range(0, SIZE, _BLOCK)))


def _raw_down(container: ContainerClient, path: Path) -> None:
    path.touch()

    def get(position: int) -> None:
        content = container.download_blob(f"{position:012}").readall()
        with path.open("r+b") as stream:
            stream.seek(position)
            stream.write(content)

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(get, range(0, SIZE, _BLOCK)))
