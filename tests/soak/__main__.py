"""`make soak`: lives of devices on real parts, and stories of model devices, with new seeds until the time is up.

    python -m tests.soak [--minutes N] [--seed N]

`--seed` plays one life, whose seed a failure has told. Exit code 1 when something was lost, broke or did not end.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.e2e.sync_folders import sign_up
from tests.e2e.sync_lives import Life
from tests.property.sync_story import play, random_story
from tests.support.system import System

_SPELLS, _STEPS = 3, 40
_WATCHED = 6.0
"""Seconds of each spell that the folders are watched."""

_STORIES = 50


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Play until the time is up.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int)
    asked = parser.parse_args(given)
    first = asked.seed if asked.seed is not None else random.randrange(2**32)
    until = time.monotonic() + asked.minutes * 60
    lives = stories = 0
    with tempfile.TemporaryDirectory(prefix="strata-soak-") as folder:
        system = System(Path(folder) / "system")
        with system.azurite():
            while lives == 0 or (asked.seed is None and time.monotonic() < until):
                if not _live(system, Path(folder) / f"life-{lives}", first + lives):
                    return 1
                lives += 1
                for seed in range(first + stories, first + stories + _STORIES):
                    if not _told(seed, [], partial(play, random_story(seed, 80), 2 + seed % 2)):
                        return 1
                stories += _STORIES
                print(f"{lives} lives and {stories} stories, seeds from {first}", flush=True)
    return 0


def _live(system: System, place: Path, seed: int) -> bool:
    """Play one life; whether it ended well."""
    chance = random.Random(seed)
    with ExitStack() as running:
        host = running.enter_context(system.host())

        def outage() -> None:
            nonlocal host
            host.kill()
            time.sleep(chance.uniform(0, 2))
            running.close()
            host = running.enter_context(system.host())

        devices = sign_up(place, system.url, f"life-{seed}", chance.choice((2, 3)))
        with Life(devices, chance) as life:

            def live() -> None:
                for _ in range(_SPELLS):
                    life.go_on(_STEPS, outage=outage)
                    life.watch(_WATCHED)
                    life.come_to_rest()

            return _told(seed, life.log, live)


def _told(seed: int, log: list[str], act: Callable[[], object]) -> bool:
    """Act something out; when it ends badly, tell the seed, what was done, and where it ended."""
    try:
        act()
    except Exception:
        print(*log, traceback.format_exc(), f"seed {seed}", sep="\n", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
