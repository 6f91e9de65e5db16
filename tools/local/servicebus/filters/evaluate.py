"""A tree and a message to true, false or unknown (None).

What doesn't exist is unknown, and unknown spreads as in SQL: `price > 5` is neither true nor false of a message
without a price, and NOT makes it neither. Only `true` lets a message through. What can't be computed at all
(text divided by a number, division by zero) is a FilterError, and Service Bus dead-letters the message for it.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.local.servicebus.filters.parser import (
    And,
    Arithmetic,
    Comparison,
    Constant,
    Exists,
    In,
    IsNull,
    Like,
    Negative,
    Node,
    Not,
    Or,
    Property,
)


class FilterError(Exception):
    """The filter can't be computed for this message."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a filter sees of a message. Names are in lower case; what a message doesn't have is left out."""

    system: Mapping[str, object] = field(default_factory=dict)
    user: Mapping[str, object] = field(default_factory=dict)


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def matches(node: Node, subject: Subject) -> bool:
    """Whether the filter is true of the message. Raises FilterError."""
    return _truth(evaluate(node, subject)) is True


def evaluate(node: Node, subject: Subject) -> object:
    """The value of a tree; None is unknown. Raises FilterError."""
    match node:
        case Constant():
            return node.value
        case Property():
            return (subject.system if node.system else subject.user).get(node.name)
        case Negative():
            value = evaluate(node.operand, subject)
            return None if value is None else -_number(value)
        case Arithmetic():
            return _computed(node.sign, evaluate(node.left, subject), evaluate(node.right, subject))
        case Comparison():
            return _compared(node.sign, evaluate(node.left, subject), evaluate(node.right, subject))
        case Not():
            truth = _truth(evaluate(node.operand, subject))
            return None if truth is None else not truth
        case And() | Or():
            return _joined(node, subject)
        case IsNull():
            return evaluate(node.operand, subject) is None
        case Exists():
            return node.property.name in (subject.system if node.property.system else subject.user)
        case In():
            return _in(node, subject)
        case Like():
            return _like(node, subject)


def _truth(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise FilterError(f"{value!r} is neither true nor false")


def _joined(node: And | Or, subject: Subject) -> bool | None:
    # What decides alone: false for AND, true for OR. Then the other side isn't asked, and can't fail.
    decisive = isinstance(node, Or)
    left = _truth(evaluate(node.left, subject))
    if left is decisive:
        return decisive
    right = _truth(evaluate(node.right, subject))
    if right is decisive:
        return decisive
    return None if left is None or right is None else not decisive


def _in(node: In, subject: Subject) -> bool | None:
    value = evaluate(node.operand, subject)
    answers = [_compared("=", value, evaluate(each, subject)) for each in node.options]
    if True in answers:
        return True
    return None if None in answers else False


def _like(node: Like, subject: Subject) -> bool | None:
    value, pattern = evaluate(node.operand, subject), evaluate(node.pattern, subject)
    if value is None or pattern is None:
        return None
    if not isinstance(value, str) or not isinstance(pattern, str):
        raise FilterError("LIKE compares text with text")
    return _is_like(value, _wildcards(pattern, node.escape))


_ANY_TEXT, _ANY_CHARACTER = object(), object()


def _wildcards(pattern: str, escape: str | None) -> list[object]:
    """`%` is any text and `_` any one character, unless escaped."""
    parts: list[object] = []
    characters = iter(pattern)
    for each in characters:
        if each == escape:
            following = next(characters, None)
            if following is None:
                raise FilterError("the pattern ends with its escape character")
            parts.append(following)
        else:
            parts.append({"%": _ANY_TEXT, "_": _ANY_CHARACTER}.get(each, each))
    return parts


def _is_like(value: str, parts: list[object]) -> bool:
    """In at most len(value) * len(parts) steps: of the `%` before, only the last is ever tried anew."""
    at = part = 0
    again: tuple[int, int] | None = None
    while at < len(value):
        if part < len(parts) and parts[part] is _ANY_TEXT:
            again, part = (at, part + 1), part + 1
        elif part < len(parts) and (parts[part] is _ANY_CHARACTER or parts[part] == value[at]):
            at, part = at + 1, part + 1
        elif again is not None:
            again = (again[0] + 1, again[1])
            at, part = again
        else:
            return False
    return all(each is _ANY_TEXT for each in parts[part:])


def _computed(sign: str, left: object, right: object) -> object:
    if left is None or right is None:
        return None
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    first, second = _number(left), _number(right)
    try:
        if sign == "/" and isinstance(first, int) and isinstance(second, int):
            # Whole numbers divide as in C#: towards zero.
            quotient = abs(first) // abs(second)
            return quotient if (first < 0) == (second < 0) else -quotient
        return _ARITHMETIC[sign](first, second)
    except (ZeroDivisionError, OverflowError) as error:
        raise FilterError(f"{first} {sign} {second}: {error}") from None


def _compared(sign: str, left: object, right: object) -> bool | None:
    if left is None or right is None:
        return None
    alike = (_is_number(left) and _is_number(right)) or _kind(left) is _kind(right)
    if sign == "=":
        return alike and left == right
    if sign in ("<>", "!="):
        return not (alike and left == right)
    if not alike or isinstance(left, bool):
        raise FilterError(f"{left!r} {sign} {right!r}: these have no order")
    try:
        return _ORDER[sign](left, right)
    except TypeError:
        raise FilterError(f"{left!r} {sign} {right!r}: these have no order") from None


def _kind(value: object) -> type:
    """The type that comparisons go by; those of the wire are finer."""
    return next((each for each in (bool, str, bytes) if isinstance(value, each)), type(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FilterError(f"{value!r} is not a number")
    return value
