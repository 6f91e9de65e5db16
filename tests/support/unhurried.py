"""A Redis that is given time: on a machine that runs three tests at once, 0.2 seconds are soon over."""

from types import ModuleType

import pytest

from shared.adapters import redis_cache, redis_connection, redis_presence, redis_wakeups

SECONDS = 5.0
_MODULES: tuple[ModuleType, ...] = (redis_cache, redis_connection, redis_presence, redis_wakeups)


def give_redis_time(patch: pytest.MonkeyPatch) -> None:
    """For tests that are about what Redis answers, not about how long anybody waits for it."""
    for module in _MODULES:
        patch.setattr(module, "PATIENCE", SECONDS)
    patch.setitem(redis_connection.RedisAddress.client.__kwdefaults__, "patience", SECONDS)
