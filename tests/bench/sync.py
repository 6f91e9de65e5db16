"""`strata sync` beside `rclone sync` to the same storage: wall and processor time, and the bytes on the wire.

Four sets of files, and the same changes one after the other: first upload, download on a second device (until its
disk has it), nothing changed (the middle one of five runs), one byte changed in the middle of a file, a new name for
the folder that all of it is in. Of a set of five files, each gets a byte more at its start, and the middle one of
these runs is told. In the end the second device's folder must equal the first's. All of that happens three times, by
turns and on a fresh system each time, and each row has the middle one for either program. "CPU" is that of the program
+ that of its servers: host and Azurite for Strata, Azurite for rclone.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import Contender, Cost, ours, peer
from tests.bench.measuring import MIB, Row, write_random
from tests.bench.source_tree import write_source_tree

SMALL_FILES, SMALL_SIZE = 2_000, 16 * 1024
LARGE_SIZE = 512 * MIB
INSERTED_FILES, INSERTED_SIZE = 5, 16 * MIB

IDLE_SECONDS, IDLE_BYTES = 0.5, 10_000
"""What a run may cost that finds nothing changed."""

_LIVES = 3
"""How often all of it is done. From one start of Azurite to the next, a run is up to a third slower or faster."""

_REPEATED = 5
_TREE, _RENAMED = "tree", "renamed"

_IDLE, _MOVED, _IN_FRONT = "nothing changed", "a folder renamed", "a byte inserted in front"


@dataclass(frozen=True)
class _Set:
    """Files to be kept in step; `write` puts them into a folder that isn't there yet."""

    name: str
    write: Callable[[Path], None]


_Program = tuple[Callable[[Path], AbstractContextManager[Contender]], list[Mapping[str, Cost]]]
"""How to start a program, and what its lives have cost."""


def rows(folder: Path) -> Iterator[Row]:
    sets = (
        _Set(f"{SMALL_FILES:,} files of 16 KiB", _write_small),
        _Set("source tree, 2,400 files, 54 MB", write_source_tree),
        _Set("one file of 512 MiB", _write_large),
    )
    for number, each in enumerate(sets):
        yield from _compared(folder / str(number), each, _life)
    yield from _compared(folder / "inserted", _Set("16 MiB", _write_inserted), _insertions)


def _compared(folder: Path, files: _Set, life: Callable[[Contender], dict[str, Cost]]) -> Iterator[Row]:
    """What both programs cost with the same files."""
    original = folder / "original"
    files.write(original)
    theirs: list[Mapping[str, Cost]] = []
    our_own: list[Mapping[str, Cost]] = []
    programs: tuple[_Program, ...] = ((peer, theirs), (ours, our_own))
    for number in range(_LIVES):
        for program, lives in programs[:: -1 if number % 2 else 1]:
            place = folder / f"{program.__name__}-{number}"
            with program(place) as contender:
                shutil.copytree(original, contender.one / _TREE)
                lives.append(life(contender))
            shutil.rmtree(place)
    shutil.rmtree(original)
    for what in our_own[0]:
        cost, beside = (_middle([each[what] for each in lives]) for lives in (our_own, theirs))
        yield _row(f"{files.name}: {what}", what, cost, beside)


def _row(name: str, what: str, cost: Cost, beside: Cost) -> Row:
    ratio = beside.wall / cost.wall
    bounds = [("at least 1.0 times", ratio >= 1.0)]
    if cost.ended is not None and beside.ended is not None:
        # Waiting for the disk is fair to both, but must not hide which program is gone first.
        to_its_end = beside.ended / cost.ended
        bounds.append((f"to the program's end ({to_its_end:.2f}), too", to_its_end >= 1.0))
    if what == _IDLE:
        bounds.append(
            (f"{IDLE_SECONDS} s, {IDLE_BYTES:,} B", cost.wall < IDLE_SECONDS and cost.wire < IDLE_BYTES)
        )
    if what == _MOVED:
        bounds.append(("no content", cost.content == 0))
    return Row(
        name,
        str(cost),
        f"rclone: {beside}",
        ratio,
        "; ".join(bound for bound, _ in bounds),
        all(kept for _, kept in bounds),
        figures={
            **{key: value for key, value in vars(cost).items() if value is not None},
            **{f"peer_{key}": value for key, value in vars(beside).items() if value is not None},
        },
    )


def _life(contender: Contender) -> dict[str, Cost]:
    """The changes, and what each costs."""
    costs = {
        "first upload": contender.sync_one(),
        "download on a second device": contender.sync_two(),
        _IDLE: _middle([contender.sync_one() for _ in range(_REPEATED)]),
    }
    tree = contender.one / _TREE
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    _change_middle(files[len(files) // 2])
    costs["a byte changed in the middle"] = contender.sync_one()
    tree.rename(tree.with_name(_RENAMED))
    costs[_MOVED] = contender.sync_one()
    _require_equal(contender)
    return costs


def _insertions(contender: Contender) -> dict[str, Cost]:
    """A byte more at the start of each file, one after the other."""
    contender.sync_one()
    spent: list[Cost] = []
    for path in sorted((contender.one / _TREE).iterdir()):
        path.write_bytes(b"+" + path.read_bytes())
        spent.append(contender.sync_one())
    _require_equal(contender)
    return {_IN_FRONT: _middle(spent)}


def _middle(costs: list[Cost]) -> Cost:
    """The run with the median of the wall times, of an odd number."""
    return sorted(costs, key=lambda cost: cost.wall)[len(costs) // 2]


def _change_middle(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        [byte] = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))


def _require_equal(contender: Contender) -> None:
    """Raise ValueError unless the second device comes to hold, byte for byte, what the first one does."""
    contender.sync_two()
    here, there = (
        {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
        for root in (contender.one, contender.two)
    )
    if here.keys() != there.keys():
        raise ValueError(f"the second device has other files: {sorted(here.keys() ^ there.keys())[:5]}")
    for name, path in here.items():
        if path.read_bytes() != there[name].read_bytes():
            raise ValueError(f"{name} is another file on the second device")


def _write_small(root: Path) -> None:
    for number in range(SMALL_FILES):
        target = root / f"{number % 20:02}" / f"{number:04}.bin"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_random(target, SMALL_SIZE, seed=number)


def _write_large(root: Path) -> None:
    root.mkdir(parents=True)
    write_random(root / "large.bin", LARGE_SIZE, seed=1)


def _write_inserted(root: Path) -> None:
    root.mkdir(parents=True)
    for number in range(INSERTED_FILES):
        write_random(root / f"{number}.bin", INSERTED_SIZE, seed=number)
