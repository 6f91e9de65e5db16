"""Two and three devices whose users work on while syncs run and are killed end equal, and nothing is lost."""

from pathlib import Path

import pytest

from tests.e2e.sync_folders import chance, sign_up
from tests.e2e.sync_lives import Life
from tests.support.system import System


@pytest.mark.parametrize("count", [2, 3])
def test_lives_end_equal_and_nothing_is_lost(system: System, tmp_path: Path, count: int) -> None:
    with Life(sign_up(tmp_path, system.url, f"lives-{count}", count), chance()) as life:
        try:
            for _ in range(2):
                life.go_on(25)
                life.come_to_rest()
        finally:
            print(*life.log, sep="\n")
