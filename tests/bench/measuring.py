"""What the benchmarks share: a row of the table, seconds of processor time, peaks of memory."""

import os
import random
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One measured thing beside its peer; `ratio` says how many times the peer's rate ours is."""

    name: str
    ours: str
    peer: str
    ratio: float | None = None
    limit: str = ""
    kept: bool = True
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Spent:
    """Wall seconds, and processor seconds of the process that was run and its children."""

    wall: float
    cpu: float
    peak_mib: float = 0.0


def timed(work: Callable[[], object]) -> Spent:
    """Run `work` in this process."""
    before, start = _own_cpu(), time.perf_counter()
    work()
    return Spent(time.perf_counter() - start, _own_cpu() - before)


def run(command: Sequence[str | Path], environment: dict[str, str]) -> Spent:
    """Run a program to its end; raises CalledProcessError when it fails."""
    start = time.perf_counter()
    child = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    peak = 0.0
    # What the kernel reports at the end counts this process's own memory from before the exec, so the peak is
    # asked for while the child runs.
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak = max(peak, peak_of(child.pid))
        time.sleep(0.02)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return Spent(wall, usage.ru_utime + usage.ru_stime, peak)


def cpu_of(pid: int) -> float:
    """Processor seconds that a running process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(pid: int) -> float:
    """The most memory that a running process has held, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0  # it has ended, and holds none


def write_random(path: Path, size: int, seed: int) -> Path:
    """A file of `size` bytes that don't compress, the same for the same seed."""
    chance = random.Random(seed)
    with path.open("wb") as stream:
        for start in range(0, size, MIB):
            stream.write(chance.randbytes(min(MIB, size - start)))
    return path


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
