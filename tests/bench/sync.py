"""`strata sync` beside `rclone sync` to the same storage: wall and processor time, and the bytes on the wire.

Four sets of files, and the same changes one after the other: first upload, download on a second device (until its
disk has it), nothing changed, one byte changed in the middle of a file, a new name for the folder that has it all.
Of a set of five files, each gets a byte more at its start. In the end both devices' folders must be equal.

Both programs take each step by turns, one right behind the other, so that a machine that grows slower is so for both.
What can be done again is done three times (with another second device, in another file). All of that happens three
times, on fresh systems, and each row has the middle one of a program's runs. "CPU" is that of the program + that of its
servers: host and Azurite for Strata, Azurite for rclone.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

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

_REPEATED = 3
_TREE, _RENAMED = "tree", "renamed"

_IDLE, _MOVED, _IN_FRONT = "nothing changed", "a folder renamed", "a byte inserted in front"


@dataclass(frozen=True)
class _Set:
    """Files to be kept in step; `write` puts them into a folder that isn't there yet."""

    name: str
    write: Callable[[Path], None]


_Step = tuple[str, Callable[[Contender], Cost]]
"""The row that a step counts for, and what a program has to do. A row has an odd number of steps."""


def rows(folder: Path) -> Iterator[Row]:
    sets = (
        _Set(f"{SMALL_FILES:,} files of 16 KiB", _write_small),
        _Set("source tree, 2,400 files, 54 MB", write_source_tree),
        _Set("one file of 512 MiB", _write_large),
    )
    for number, each in enumerate(sets):
        yield from _compared(folder / str(number), each, _life())
    yield from _compared(folder / "inserted", _Set("16 MiB", _write_inserted), _insertions())


def _compared(folder: Path, files: _Set, steps: Sequence[_Step]) -> Iterator[Row]:
    """What both programs cost with the same files."""
    original = folder / "original"
    files.write(original)
    our_own, theirs = defaultdict[str, list[Cost]](list), defaultdict[str, list[Cost]](list)
    for _ in range(_LIVES):
        with ours(folder / "ours") as strata, peer(folder / "peer") as rclone:
            turns: list[tuple[Contender, dict[str, list[Cost]]]] = [(strata, our_own), (rclone, theirs)]
            for contender, _ in turns:
                shutil.copytree(original, contender.one / _TREE)
            for what, step in steps:
                for contender, costs in turns:
                    costs[what].append(step(contender))
                turns.reverse()
            for contender, _ in turns:
                _require_equal(contender)
        for program in ("ours", "peer"):
            shutil.rmtree(folder / program)
    shutil.rmtree(original)
    for what in dict.fromkeys(what for what, _ in steps):
        yield _row(f"{files.name}: {what}", what, _middle(our_own[what]), _middle(theirs[what]))


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


def _life() -> list[_Step]:
    return [
        ("first upload", lambda contender: contender.sync_one()),
        *[("download on a second device", _download)] * _REPEATED,
        *[(_IDLE, lambda contender: contender.sync_one())] * _REPEATED,
        *[("a byte changed in the middle", partial(_change, number)) for number in range(_REPEATED)],
        (_MOVED, _move),
    ]


def _insertions() -> list[_Step]:
    first: _Step = ("first upload", lambda contender: contender.sync_one())
    return [first, *[(_IN_FRONT, partial(_insert, number)) for number in range(INSERTED_FILES)]]


def _download(contender: Contender) -> Cost:
    contender.change_second()
    return contender.sync_two()


def _change(number: int, contender: Contender) -> Cost:
    """Another file each time, if there is one, and never back to what it was."""
    files = _files_of(contender)
    _change_middle(files[(len(files) // 2 + number) % len(files)], bit=1 << number)
    return contender.sync_one()


def _move(contender: Contender) -> Cost:
    (contender.one / _TREE).rename(contender.one / _RENAMED)
    return contender.sync_one()


def _insert(number: int, contender: Contender) -> Cost:
    """A byte more at the start of a file."""
    path = _files_of(contender)[number]
    path.write_bytes(b"+" + path.read_bytes())
    return contender.sync_one()


def _files_of(contender: Contender) -> list[Path]:
    return sorted(path for path in (contender.one / _TREE).rglob("*") if path.is_file())


def _middle(costs: list[Cost]) -> Cost:
    """The run with the median of the wall times, of an odd number; its program's end is the median of those."""
    middle = sorted(costs, key=lambda cost: cost.wall)[len(costs) // 2]
    ends = [cost.ended for cost in costs if cost.ended is not None]
    return replace(middle, ended=median(ends) if ends else None)


def _change_middle(path: Path, bit: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        [byte] = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ bit]))


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
