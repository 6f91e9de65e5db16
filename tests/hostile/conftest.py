"""One running system for all attacks, which it must outlive."""

from collections.abc import Iterator

import httpx
import pytest

from tests.hostile.raw import QUOTA, Target
from tests.support.system import Api, System


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    system = System(tmp_path_factory.mktemp("hostile"), {"QUOTA_BYTES": str(QUOTA)})
    with system.azurite(), system.host() as host:
        yield Target(system, host)
        assert host.child.is_running(), "an attack ended the host"
        assert httpx.get(f"{system.url}/api/health/live").status_code == 200


@pytest.fixture(scope="session")
def ann(target: Target) -> Iterator[Api]:
    with Api.sign_up(target.url, "ann") as api:
        yield api


@pytest.fixture(scope="session")
def eve(target: Target) -> Iterator[Api]:
    with Api.sign_up(target.url, "eve") as api:
        yield api
