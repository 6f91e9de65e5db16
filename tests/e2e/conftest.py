"""One running system for the tests of a module that leave it as it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System(tmp_path_factory.mktemp("system"))
    with made.azurite(), made.host():
        yield made


@pytest.fixture
def stopped_system(tmp_path: Path) -> System:
    """A system whose parts the test starts and stops itself."""
    return System(tmp_path)
