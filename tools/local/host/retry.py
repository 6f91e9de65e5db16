"""When a failed invocation runs again: the policies of Azure Functions.

A policy is the host's, not the function's: the function only raises, and sees in its context how often it has
been tried. Microsoft applies policies to timers, Event Hubs, Cosmos DB and Kafka; an HTTP function is
never retried, because the caller gets the error and decides, and blob and Service Bus triggers count deliveries
in their own queues instead. Source: Microsoft's "Azure Functions error handling and retries".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

UNBOUNDED = -1
"""A maximum retry count of -1 means: until it works."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_retries` counts tries after the first; delays are in seconds.

    With `fixedDelay` minimum and maximum are the same.
    """

    strategy: Literal["fixedDelay", "exponentialBackoff"]
    max_retries: int
    minimum_delay: float
    maximum_delay: float

    def delay_before(self, retry: int) -> float | None:
        """Return the seconds to wait before the given retry (the first is 1), None when there are none left."""
        if self.max_retries != UNBOUNDED and retry > self.max_retries:
            return None
        # 2**63 seconds are enough: a larger exponent only makes a float overflow.
        doubled = self.minimum_delay * 2.0 ** min(retry - 1, 63)
        return min(doubled, self.maximum_delay)


def parse_retry_policy(setting: Mapping[str, object], seconds: Callable[[str], float]) -> RetryPolicy:
    """Read a policy as host.json or the retry decorator spells it; raises ValueError saying what is wrong.

    `seconds` turns a time span into a number. Counts may be strings, since the decorator wants them so.
    """
    strategy = _strategy(setting.get("strategy"))
    count = _count(setting.get("maxRetryCount"))
    if strategy == "fixedDelay":
        delay = _span(setting, "delayInterval", seconds)
        return RetryPolicy("fixedDelay", count, delay, delay)
    minimum = _span(setting, "minimumInterval", seconds)
    maximum = _span(setting, "maximumInterval", seconds)
    if minimum > maximum:
        raise ValueError("minimumInterval must not be longer than maximumInterval")
    return RetryPolicy("exponentialBackoff", count, minimum, maximum)


def _strategy(value: object) -> Literal["fixedDelay", "exponentialBackoff"]:
    # The decorator's documentation writes fixed_delay, host.json's fixedDelay; the real host takes both.
    folded = str(value).replace("_", "").lower()
    if folded == "fixeddelay":
        return "fixedDelay"
    if folded == "exponentialbackoff":
        return "exponentialBackoff"
    raise ValueError(f"strategy {value!r} is none of fixedDelay, exponentialBackoff")


def _count(value: object) -> int:
    try:
        count = int(str(value))
    except ValueError:
        raise ValueError(f"maxRetryCount {value!r} is not a number") from None
    if count < UNBOUNDED:
        raise ValueError("maxRetryCount must be -1 (no end) or more")
    return count


def _span(setting: Mapping[str, object], key: str, seconds: Callable[[str], float]) -> float:
    value = setting.get(key)
    if value is None:
        raise ValueError(f"{key} is missing")
    return seconds(str(value))
