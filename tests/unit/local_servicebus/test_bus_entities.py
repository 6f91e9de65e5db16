"""Config.json: the form of Microsoft's emulator, read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.local.servicebus.entities import (
    DEFAULT_CONFIG,
    ConfigError,
    Intake,
    QueueSettings,
    parse_config,
    parse_duration,
    read_config,
)
from tools.local.servicebus.rules import CorrelationFilter, SqlFilter


def config(*, queues: Any = (), topics: Any = ()) -> dict[str, Any]:
    namespace = {"Name": "sbemulatorns", "Queues": list(queues), "Topics": list(topics)}
    return {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "File"}}}


def test_the_project_s_entities_are_those_that_it_needs() -> None:
    entities = read_config(DEFAULT_CONFIG)
    events, backlog, rejected = entities.topics
    assert (events.name, [each.name for each in events.subscriptions]) == ("file-events", ["notify", "audit"])
    assert events.intake == Intake(duplicate_window=600, time_to_live=14 * 86_400)
    assert (rejected.name, [each.name for each in rejected.subscriptions]) == (
        "rejected-messages",
        ["operators"],
    )
    assert (backlog.name, [each.name for each in backlog.subscriptions]) == ("device-backlog", ["devices"])
    assert backlog.subscriptions[0].settings == QueueSettings(
        lock_duration=60,
        max_delivery_count=10,
        requires_session=True,
        time_to_live=14 * 86_400,
        dead_letter_expired=False,
    )


def test_all_settings_are_read() -> None:
    properties = {
        "DeadLetteringOnMessageExpiration": True,
        "DefaultMessageTimeToLive": "PT1H",
        "DuplicateDetectionHistoryTimeWindow": "PT20S",
        "ForwardDeadLetteredMessagesTo": "",
        "ForwardTo": "",
        "LockDuration": "PT0.5S",
        "MaxDeliveryCount": 3,
        "RequiresDuplicateDetection": True,
        "RequiresSession": True,
    }
    rules = [
        {
            "Name": "sql",
            "Properties": {"FilterType": "Sql", "SqlFilter": {"SqlExpression": "a = 1"}},
        },
        {
            "Name": "same",
            "Properties": {
                "FilterType": "Correlation",
                "CorrelationFilter": {"ContentType": "text", "Label": "l", "Properties": {"p": 1}},
            },
        },
    ]
    topics = [
        {"Name": "t", "Properties": {}, "Subscriptions": [{"Name": "s", "Rules": rules}, {"Name": "r"}]}
    ]
    entities = parse_config(config(queues=[{"Name": "q", "Properties": properties}], topics=topics))
    [queue] = entities.queues
    assert queue.settings == QueueSettings(0.5, 3, True, 3600.0, True)
    assert queue.intake == Intake(duplicate_window=20.0, time_to_live=3600.0)
    first, second = entities.topics[0].subscriptions
    assert isinstance(first.rules[0].filter, SqlFilter)
    assert first.rules[1].filter == CorrelationFilter({"contenttype": "text", "label": "l"}, {"p": 1})
    assert [each.name for each in second.rules] == ["$Default"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT1M", 60), ("P14D", 1_209_600), ("PT1H2M3.5S", 3723.5), ("P1DT1S", 86_401), ("PT0.25S", 0.25)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "1M", "PT1", "P1M", "PT-1S", "PT1S ", "00:01:00"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def sql(text: str) -> dict[str, Any]:
    return {"Name": "r", "Properties": {"FilterType": "Sql", "SqlFilter": {"SqlExpression": text}}}


def subscription(**members: Any) -> list[dict[str, Any]]:
    return [{"Name": "t", "Subscriptions": [{"Name": "s", **members}]}]


MISTAKES = {
    "UserConfig.Namespaces": {"UserConfig": {"Namespaces": {}}},
    "the document": [],
    "Queues[0].Name": config(queues=[{"Name": "no blanks"}]),
    "Queues[0].Propertys": config(queues=[{"Name": "q", "Propertys": {}}]),
    "Queues[0].Properties.LockDuration": config(
        queues=[{"Name": "q", "Properties": {"LockDuration": "PT6M"}}]
    ),
    "Queues[0].Properties.MaxDeliveryCount": config(
        queues=[{"Name": "q", "Properties": {"MaxDeliveryCount": True}}]
    ),
    "Queues[0].Properties.RequiresSession": config(
        queues=[{"Name": "q", "Properties": {"RequiresSession": "yes"}}]
    ),
    "Queues[0].Properties.ForwardTo": config(queues=[{"Name": "q", "Properties": {"ForwardTo": "other"}}]),
    "Topics[0].Properties.LockDuration": config(
        topics=[{"Name": "t", "Properties": {"LockDuration": "PT1M"}}]
    ),
    "SqlFilter.SqlExpression": config(topics=subscription(Rules=[sql("a = ")])),
    "Rules: r": config(topics=subscription(Rules=[sql("1=1"), sql("1=0")])),
    "Properties.Action": config(
        topics=subscription(
            Rules=[
                {
                    "Name": "r",
                    "Properties": {**sql("1=1")["Properties"], "Action": {"SqlExpression": "SET a = 1"}},
                }
            ]
        )
    ),
    "Properties.FilterType": config(topics=subscription(Rules=[{"Name": "r", "Properties": {}}])),
    "CorrelationFilter": config(
        topics=subscription(Rules=[{"Name": "r", "Properties": {"FilterType": "Correlation"}}])
    ),
    "entities: Q": config(queues=[{"Name": "q"}], topics=[{"Name": "Q"}]),
}


@pytest.mark.parametrize("place", MISTAKES)
def test_each_mistake_is_named_by_its_place(place: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(MISTAKES[place])
    assert place in str(refused.value)


def test_all_mistakes_are_reported_at_once() -> None:
    wrong = {"MaxDeliveryCount": 0, "LockDuration": "soon", "Colour": "red"}
    with pytest.raises(ConfigError) as refused:
        parse_config(config(queues=[{"Name": "q", "Properties": wrong}, {"Name": ""}]))
    assert len(str(refused.value).splitlines()) == 4


def test_a_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.json"):
        read_config(tmp_path / "missing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match=r"broken\.json is not JSON"):
        read_config(tmp_path / "broken.json")
    (tmp_path / "marked.json").write_text("\ufeff" + json.dumps(config()), encoding="utf-8")
    assert read_config(tmp_path / "marked.json").queues == ()
