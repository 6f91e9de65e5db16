"""The rules of a subscription: it takes a message when one of its rules does.

A rule is a correlation filter (these properties, exactly these values), a SQL filter, or one that is always true or
never. However many rules match, the subscription gets one copy; only actions would make more, and there are none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tools.local.servicebus.amqp.message import Message
from tools.local.servicebus.filters.evaluate import Subject, matches
from tools.local.servicebus.filters.parser import Node, parse_filter

DEFAULT_RULE = "$Default"


@dataclass(frozen=True, slots=True)
class CorrelationFilter:
    """`system` by the names of SYSTEM_NAMES in lower case, `user` by the names of application properties."""

    system: Mapping[str, str] = field(default_factory=dict)
    user: Mapping[str, object] = field(default_factory=dict)

    def takes(self, subject: Subject) -> bool:
        return all(subject.system.get(name) == value for name, value in self.system.items()) and all(
            _equal(subject.user.get(name.lower()), value) for name, value in self.user.items()
        )


@dataclass(frozen=True, slots=True)
class SqlFilter:
    """`tree` is what the text was parsed to."""

    text: str
    tree: Node

    @classmethod
    def of(cls, text: str) -> "SqlFilter":
        """Raises FilterSyntaxError."""
        return cls(text, parse_filter(text))

    def takes(self, subject: Subject) -> bool:
        """Raises FilterError when it can't be computed."""
        return matches(self.tree, subject)


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    filter: CorrelationFilter | SqlFilter


def everything() -> Rule:
    """The rule that a subscription without rules of its own has."""
    return Rule(DEFAULT_RULE, SqlFilter.of("1=1"))


def subject_of(message: Message) -> Subject:
    """What filters see of a message."""
    system: dict[str, object] = {}
    for name, sources in _SOURCES.items():
        value = message.text(sources)
        if value is not None:
            system[name] = value
    partition = message.annotations.get("x-opt-partition-key")
    if isinstance(partition, str):
        system["partitionkey"] = str(partition)
    return Subject(system, {str(key).lower(): value for key, value in message.application.items()})


def _equal(found: object, wanted: object) -> bool:
    # true is not 1 here, though Python thinks so.
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


_SOURCES = {
    "contenttype": "content_type",
    "correlationid": "correlation_id",
    "label": "subject",
    "subject": "subject",
    "messageid": "message_id",
    "replyto": "reply_to",
    "replytosessionid": "reply_to_group_id",
    "sessionid": "group_id",
    "to": "to",
}
