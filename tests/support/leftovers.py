"""What the Service Bus SDK leaves lying about: the sockets of connections that broke.

It leaves them to the garbage collector, which complains of each. A module that imports both names has that happen
behind its own tests, and not in whichever test the collector comes to run in.
"""

import gc
from collections.abc import Iterator

import pytest

may_leave_sockets = pytest.mark.filterwarnings(
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def leftovers() -> Iterator[None]:
    yield
    gc.collect()
