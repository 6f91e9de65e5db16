"""Settings of the property tests, and what is made once for all tests.

No example has a deadline, since time on a busy machine says nothing; a failure prints what replays it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.databases import make_template
from tools.local.running import Azurite, running_azurite

settings.register_profile("strata", deadline=None, print_blob=True, database=None)
settings.load_profile("strata")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, to be copied."""
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """A real Azurite, on ports of its own, for as long as the tests run."""
    with running_azurite(tmp_path_factory.mktemp("azurite")) as azurite:
        yield azurite
