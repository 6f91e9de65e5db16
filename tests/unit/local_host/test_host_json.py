"""host.json and local.settings.json: values, defaults, and every mistake at once."""

import json
import logging
from pathlib import Path

import pytest

from tools.local.host.appsettings import apply_local_settings
from tools.local.host.errors import HostError
from tools.local.host.hostjson import (
    HostSettings,
    ServiceBusSettings,
    parse_host_json,
    parse_timespan,
    read_host_json,
)
from tools.local.host.retry import RetryPolicy


def test_nothing_but_the_version_gives_microsofts_defaults() -> None:
    settings = parse_host_json({"version": "2.0"})
    assert settings == HostSettings()
    assert settings.http.route_prefix == "api"
    assert settings.http.max_concurrent is None
    assert settings.timeout == 1800
    assert (settings.blobs.tries, settings.blobs.max_parallel % 8) == (5, 0)


def test_values_are_read() -> None:
    settings = parse_host_json(
        {
            "version": "2.0",
            "functionTimeout": "00:03:50",
            "extensions": {
                "http": {"routePrefix": "/v1/", "maxConcurrentRequests": 3, "maxOutstandingRequests": -1},
                "blobs": {"maxDegreeOfParallelism": 3, "poisonBlobThreshold": 2},
                "queues": {"maxDequeueCount": 7},
                "serviceBus": {
                    "prefetchCount": 5,
                    "autoCompleteMessages": True,
                    "maxConcurrentCalls": 2,
                    "maxConcurrentSessions": 3,
                    "maxConcurrentCallsPerSession": 1,
                    "sessionIdleTimeout": "00:00:07",
                    "maxAutoLockRenewalDuration": "00:10:00",
                    "maxMessageBatchSize": 20,
                    "minMessageBatchSize": 4,
                    "maxBatchWaitTime": "00:00:09",
                    "transportType": "amqpTcp",
                },
            },
            "retry": {"strategy": "fixedDelay", "maxRetryCount": 2, "delayInterval": "00:00:03"},
            "logging": {"logLevel": {"default": "Warning"}},
        }
    )
    assert settings.timeout == 230
    assert settings.http.route_prefix == "v1"
    assert (settings.http.max_concurrent, settings.http.max_outstanding) == (3, None)
    assert (settings.blobs.max_parallel, settings.blobs.tries) == (3, 2)
    assert settings.service_bus == ServiceBusSettings(5, 2, 3, 7.0, 600.0, 20, 4, 9.0)
    assert settings.retry == RetryPolicy("fixedDelay", 2, 3.0, 3.0)
    assert settings.log_level == logging.WARNING


def test_no_time_limit() -> None:
    assert parse_host_json({"version": "2.0", "functionTimeout": "-1"}).timeout is None


def test_every_mistake_is_named_with_its_path() -> None:
    with pytest.raises(HostError) as refused:
        parse_host_json(
            {
                "version": "1.0",
                "functionTimeout": "five minutes",
                "extensions": {
                    "http": {"routePrefix": 3, "maxConcurrentRequests": 0, "maxOutstandingRequests": True},
                    "blobs": {"maxDegreeOfParallelism": 0, "poisonBlobThreshold": "5"},
                    "serviceBus": {
                        "prefetchCount": -1,
                        "autoCompleteMessages": False,
                        "maxConcurrentCalls": 0,
                        "maxConcurrentCallsPerSession": 2,
                        "maxAutoLockRenewalDuration": 300,
                        "maxMessageBatchSize": 2,
                        "minMessageBatchSize": 3,
                    },
                },
                "retry": {"strategy": "never"},
                "logging": {"logLevel": {"default": "Loud"}},
            }
        )
    lines = str(refused.value).splitlines()
    wanted = [
        "version",
        "extensions.http.routePrefix",
        "extensions.http.maxConcurrentRequests",
        "extensions.http.maxOutstandingRequests",
        "extensions.blobs.maxDegreeOfParallelism",
        "extensions.blobs.poisonBlobThreshold",
        "extensions.serviceBus.prefetchCount",
        "extensions.serviceBus.autoCompleteMessages",
        "extensions.serviceBus.maxConcurrentCalls ",
        "extensions.serviceBus.maxConcurrentCallsPerSession",
        "extensions.serviceBus.maxAutoLockRenewalDuration",
        "extensions.serviceBus.minMessageBatchSize",
        "functionTimeout",
        "retry",
        "logging.logLevel.default",
    ]
    assert [name for name in wanted if not any(name in line for line in lines)] == []
    assert len(lines) == len(wanted)


@pytest.mark.parametrize("document", [[], {"version": "2.0", "extensions": []}, "x"])
def test_the_wrong_shape_is_an_error_of_ours(document: object) -> None:
    with pytest.raises(HostError, match="must be an object"):
        parse_host_json(document)


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="missing"):
        read_host_json(tmp_path / "host.json")
    (tmp_path / "host.json").write_text("{")
    with pytest.raises(HostError, match="not JSON"):
        read_host_json(tmp_path / "host.json")


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:00:01", 1), ("1.02:03:04", 93784), ("00:00:00.5", 0.5), ("0:01:00", 60)]
)
def test_time_spans(text: str, seconds: float) -> None:
    assert parse_timespan(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "24:00:00", "00:60:00", "00:00:60", "-00:00:01", "00:00"])
def test_what_is_no_time_span(text: str) -> None:
    with pytest.raises(ValueError, match=r"time span|range"):
        parse_timespan(text)


def test_local_settings_fill_what_the_environment_leaves_open(tmp_path: Path) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": {"A": "file", "B": "file"}}))
    environment = {"A": "shell"}
    assert apply_local_settings(path, environment) == ("B",)
    assert environment == {"A": "shell", "B": "file"}


def test_no_local_settings_are_fine(tmp_path: Path) -> None:
    assert apply_local_settings(tmp_path / "none.json", {}) == ()


@pytest.mark.parametrize("text", ["{", "[]", '{"Values": {"A": 1}}', '{"IsEncrypted": true, "Values": {}}'])
def test_local_settings_that_can_not_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(text)
    environment: dict[str, str] = {}
    with pytest.raises(HostError):
        apply_local_settings(path, environment)
    assert environment == {}
