"""Config.json: which queues, topics and subscriptions there are, as typed values.

The form is that of Microsoft's emulator, so that one file serves both. It differs in what is allowed: shorter locks
(Azure's least is five seconds, and tests don't wait that long) and longer lives (the emulator's most is an hour). What
is written there and not provided here (forwarding, actions of rules) is a mistake like a misspelt name: a broker that
ignored it would behave otherwise than the file says. All mistakes are reported at once, each with its place.

Source of names, defaults and limits: Microsoft's "Service Bus emulator" and "Service Bus quotas".
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.local.servicebus.filters.lexer import FilterSyntaxError
from tools.local.servicebus.filters.parser import SYSTEM_NAMES
from tools.local.servicebus.rules import CorrelationFilter, Rule, SqlFilter, everything

DEFAULT_CONFIG = Path(__file__).parent / "Config.json"
LONGEST_LOCK = 300.0
"""Seconds: Azure's limit."""

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9]([\w.\-/]{0,258}[A-Za-z0-9])?", re.ASCII)


class ConfigError(Exception):
    """The file can't be used; the message has a line for each mistake."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Of a queue or a subscription. Times in seconds; `time_to_live` None for ever."""

    lock_duration: float = 60.0
    max_delivery_count: int = 10
    requires_session: bool = False
    time_to_live: float | None = None
    dead_letter_expired: bool = False


@dataclass(frozen=True, slots=True)
class Intake:
    """How messages come in, to a queue or a topic. `duplicate_window` in seconds, None for no detection."""

    duplicate_window: float | None = None
    time_to_live: float | None = None


@dataclass(frozen=True, slots=True)
class QueueEntity:
    name: str
    intake: Intake
    settings: QueueSettings


@dataclass(frozen=True, slots=True)
class SubscriptionEntity:
    name: str
    settings: QueueSettings
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class TopicEntity:
    name: str
    intake: Intake
    subscriptions: tuple[SubscriptionEntity, ...]


@dataclass(frozen=True, slots=True)
class Entities:
    """All that a broker has."""

    queues: tuple[QueueEntity, ...]
    topics: tuple[TopicEntity, ...]


def read_config(path: Path) -> Entities:
    """Raises ConfigError with every mistake in the file, or when it can't be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    return parse_config(document, where=str(path))


def parse_config(document: object, *, where: str = "Config.json") -> Entities:
    """Raises ConfigError with every mistake in the document."""
    reader = _Reader()
    user = reader.top(document).part("UserConfig")
    user.allow("Namespaces", "Logging")
    queues: list[QueueEntity] = []
    topics: list[TopicEntity] = []
    for namespace in user.items("Namespaces"):
        namespace.allow("Name", "Queues", "Topics")
        queues += [_queue(each) for each in namespace.items("Queues")]
        topics += [_topic(each) for each in namespace.items("Topics")]
    reader.refuse_twins("entities", [*(each.name for each in queues), *(each.name for each in topics)])
    if reader.mistakes:
        raise ConfigError("\n".join(f"{where}: {each}" for each in reader.mistakes))
    return Entities(tuple(queues), tuple(topics))


def parse_duration(text: str) -> float:
    """The seconds of an ISO 8601 duration such as PT1M or P14D. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration like PT1M or P14D")
    days, hours, minutes, seconds = (float(each or 0) for each in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds


def _queue(part: "_Part") -> QueueEntity:
    part.allow("Name", "Properties")
    given = part.part("Properties")
    given.allow(*_QUEUE_SETTINGS, *_INTAKE)
    return QueueEntity(part.name(), _intake(given), _settings(given))


def _topic(part: "_Part") -> TopicEntity:
    part.allow("Name", "Properties", "Subscriptions")
    given = part.part("Properties")
    given.allow(*_INTAKE)
    subscriptions = tuple(_subscription(each) for each in part.items("Subscriptions"))
    part.reader.refuse_twins(f"{part.path}.Subscriptions", [each.name for each in subscriptions])
    return TopicEntity(part.name(), _intake(given), subscriptions)


def _subscription(part: "_Part") -> SubscriptionEntity:
    part.allow("Name", "Properties", "Rules")
    given = part.part("Properties")
    given.allow(*_QUEUE_SETTINGS, "DeadLetteringOnFilterEvaluationExceptions")
    if not given.flag("DeadLetteringOnFilterEvaluationExceptions", default=True):
        given.mistake("DeadLetteringOnFilterEvaluationExceptions", "can't be turned off here")
    rules = tuple(rule for each in part.items("Rules") for rule in _rule(each))
    part.reader.refuse_twins(f"{part.path}.Rules", [each.name for each in rules])
    return SubscriptionEntity(part.name(), _settings(given), rules or (everything(),))


_QUEUE_SETTINGS = (
    *("DeadLetteringOnMessageExpiration", "DefaultMessageTimeToLive", "LockDuration", "MaxDeliveryCount"),
    *("ForwardDeadLetteredMessagesTo", "ForwardTo", "RequiresSession"),
)
_INTAKE = (
    "DefaultMessageTimeToLive",
    "DuplicateDetectionHistoryTimeWindow",
    "RequiresDuplicateDetection",
)


def _settings(given: "_Part") -> QueueSettings:
    for name in ("ForwardTo", "ForwardDeadLetteredMessagesTo"):
        if given.text(name):
            given.mistake(name, "is not provided here")
    return QueueSettings(
        lock_duration=given.seconds("LockDuration", 60.0, most=LONGEST_LOCK) or 60.0,
        max_delivery_count=given.count("MaxDeliveryCount", 10, most=2000),
        requires_session=given.flag("RequiresSession", default=False),
        time_to_live=given.seconds("DefaultMessageTimeToLive", None),
        dead_letter_expired=given.flag("DeadLetteringOnMessageExpiration", default=False),
    )


def _intake(given: "_Part") -> Intake:
    window = given.seconds("DuplicateDetectionHistoryTimeWindow", 600.0)
    detects = given.flag("RequiresDuplicateDetection", default=False)
    return Intake(
        duplicate_window=window if detects else None,
        time_to_live=given.seconds("DefaultMessageTimeToLive", None),
    )


def _rule(part: "_Part") -> Iterator[Rule]:
    part.allow("Name", "Properties")
    name, given = part.name(), part.part("Properties")
    given.allow("FilterType", "SqlFilter", "CorrelationFilter", "Action")
    if given.has("Action"):
        given.mistake("Action", "is not provided here: rules filter, and change nothing")
    match given.text("FilterType").lower():
        case "sql":
            sql = given.part("SqlFilter")
            sql.allow("SqlExpression")
            try:
                yield Rule(name, SqlFilter.of(sql.text("SqlExpression")))
            except FilterSyntaxError as error:
                sql.mistake("SqlExpression", str(error))
        case "correlation":
            yield Rule(name, _correlation(given.part("CorrelationFilter")))
        case other:
            given.mistake("FilterType", f"must be Sql or Correlation, not {other!r}")


def _correlation(part: "_Part") -> CorrelationFilter:
    part.allow(*SYSTEM_NAMES.values(), "Properties")
    names = [each for each in SYSTEM_NAMES.values() if part.has(each)]
    chosen = CorrelationFilter({each.lower(): part.text(each) for each in names}, part.values("Properties"))
    if not chosen.system and not chosen.user:
        part.mistake("", "must name one property at least")
    return chosen


class _Reader:
    """Keeps a list of what was wrong."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def top(self, document: object) -> "_Part":
        return _Part(self, "", self.mapping(document, "the document"))

    def mapping(self, value: object, path: str) -> Mapping[str, object]:
        if isinstance(value, dict):
            return value
        self.mistakes.append(f"{path} must be an object")
        return {}

    def refuse_twins(self, path: str, names: list[str]) -> None:
        seen: set[str] = set()
        for name in names:
            if name.lower() in seen:
                self.mistakes.append(f"{path}: {name} is there twice (case doesn't count)")
            seen.add(name.lower())


@dataclass(frozen=True, slots=True)
class _Part:
    """An object of the document, with its path for people."""

    reader: _Reader
    path: str
    given: Mapping[str, object]

    def mistake(self, name: str, text: str) -> None:
        self.reader.mistakes.append(f"{self._at(name)} {text}".strip())

    def has(self, name: str) -> bool:
        return self.given.get(name) is not None

    def allow(self, *names: str) -> None:
        for name in self.given:
            if name not in names:
                self.mistake(name, "is not known")

    def part(self, name: str) -> "_Part":
        value = self.given.get(name)
        path = self._at(name)
        return _Part(self.reader, path, {} if value is None else self.reader.mapping(value, path))

    def items(self, name: str) -> list["_Part"]:
        value = self.given.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.mistake(name, "must be a list")
            return []
        paths = [f"{self._at(name)}[{number}]" for number in range(len(value))]
        return [
            _Part(self.reader, path, self.reader.mapping(each, path))
            for path, each in zip(paths, value, strict=True)
        ]

    def name(self) -> str:
        name = self.text("Name")
        if not _NAME.fullmatch(name):
            self.mistake("Name", f"must be letters, digits, dots, dashes and underscores, not {name!r}")
        return name

    def text(self, name: str) -> str:
        value = self.given.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.mistake(name, "must be text")
            return ""
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.given.get(name, default)
        if not isinstance(value, bool):
            self.mistake(name, "must be true or false")
            return default
        return value

    def count(self, name: str, default: int, *, most: int) -> int:
        value = self.given.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            self.mistake(name, f"must be a whole number from 1 to {most}")
            return default
        return value

    def seconds(self, name: str, default: float | None, *, most: float | None = None) -> float | None:
        if not self.text(name):
            return default
        try:
            seconds = parse_duration(self.text(name))
        except ValueError as error:
            self.mistake(name, f"is wrong: {error}")
            return default
        if seconds <= 0 or (most is not None and seconds > most):
            self.mistake(name, f"must be more than nothing{f' and at most {most:g} s' if most else ''}")
        return seconds

    def values(self, name: str) -> Mapping[str, object]:
        chosen = self.part(name).given
        for key, value in chosen.items():
            if not isinstance(value, str | int | float):
                self.mistake(f"{name}.{key}", "must be text, a number, true or false")
        return chosen

    def _at(self, name: str) -> str:
        return ".".join(each for each in (self.path, name) if each)
