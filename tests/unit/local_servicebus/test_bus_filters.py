"""The SQL of subscription rules: what it says of a message, what it can't say, and what it refuses to read."""

import contextlib
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.local.servicebus.amqp.encode import encode
from tools.local.servicebus.amqp.message import read_message
from tools.local.servicebus.amqp.values import Described, ULong
from tools.local.servicebus.filters.evaluate import FilterError, Subject, evaluate, matches
from tools.local.servicebus.filters.lexer import FilterSyntaxError
from tools.local.servicebus.filters.parser import parse_filter
from tools.local.servicebus.rules import CorrelationFilter, SqlFilter, everything, subject_of

THREE = ["vip", "vip = FALSE", "missing"]
MESSAGE = Subject(
    system={"label": "order-17", "messageid": "m1", "to": "north"},
    user={
        "price": 12,
        "weight": 2.5,
        "color": "green",
        "vip": True,
        "empty": "",
        "nothing": None,
        "quote": "it's",
        "odd name": 1,
        "percent": "50%",
        "select": "x",
    },
)

TRUE = [
    "1=1",
    "price = 12",
    "PRICE = 12",
    "user.price = 12",
    "price > 10 AND color = 'green'",
    "price > 100 OR color = 'green'",
    "NOT price > 100",
    "not (price > 100 or color = 'red')",
    "price <> 5 AND price != 5",
    "price >= 12 AND price <= 12",
    "color < 'red'",
    "color IN ('red', 'green')",
    "price NOT IN (1, 2, 3)",
    "color LIKE 'gr%'",
    "color LIKE 'g____'",
    "color NOT LIKE 'red%'",
    r"percent LIKE '50\%' ESCAPE '\'",
    "sys.Label LIKE 'order-%'",
    "sys.To = 'north' AND sys.MessageId = 'm1'",
    "missing IS NULL AND nothing IS NULL",
    "price IS NOT NULL",
    "EXISTS(price) AND EXISTS(nothing) AND NOT EXISTS(missing)",
    "EXISTS(sys.label) AND NOT EXISTS(sys.replyto)",
    "vip",
    "vip = TRUE",
    "NOT vip = FALSE",
    "price + 3 = 15 AND price - 2 = 10 AND price * 2 = 24",
    "price / 5 = 2",
    "-price / 5 = -2",
    "price % 5 = 2",
    "price + 2 * 3 = 18",
    "(price + 2) * 3 = 42",
    "- price = -12 AND +price = 12",
    "weight = 2.5 AND weight * 2 = 5",
    "price = 12.0",
    "1e1 < price",
    "quote = 'it''s'",
    "[odd name] = 1",
    '"odd name" = 1',
    "[select] = 'x'",
    "color + 'er' = 'greener'",
    "price = 12 OR 1/0 = 1",
]
FALSE = [
    "1=0",
    "price = '12'",
    "vip = 1",
    "price > 12",
    "color = 'Green'",
    "color LIKE '%reen_'",
    "price IN (1, 2)",
    "price = 5 AND 1/0 = 1",
    "empty IS NULL",
]
UNKNOWN = [
    "missing = 1",
    "missing > 1",
    "NOT missing = 1",
    "missing LIKE 'a%'",
    "missing IN (1, 2)",
    "price IN (1, NULL)",
    "NOT price IN (1, NULL)",
    "missing + 1 = 2",
    "nothing = NULL",
    "missing = 1 OR price = 5",
    "missing = 1 AND price = 12",
    "sys.ReplyTo = 'x'",
]
FAILS = [
    "price / 0 = 1",
    "price % 0 = 1",
    "color * 2 = 4",
    "-color = 1",
    "price < 'a'",
    "vip > FALSE",
    "price LIKE '1%'",
    "price AND vip",
    "NOT price",
    "price",
    "color LIKE 'a!' ESCAPE '!'",
]
SYNTAX = [
    "",
    "price =",
    "= 5",
    "price = 5 5",
    "(price = 5",
    "price = 5)",
    "price IN ()",
    "price IN 5",
    "price IS 5",
    "price NOT 5",
    "EXISTS price",
    "EXISTS(5)",
    "color = 'open",
    "color LIKE 'a' ESCAPE 'ab'",
    "color = ?",
    "other.price = 5",
    "sys.Nonsense = 5",
    "AND",
    "price = 5 AND",
    "1=1 " * 300,
]


@pytest.mark.parametrize("text", TRUE)
def test_true_of_the_message(text: str) -> None:
    assert matches(parse_filter(text), MESSAGE) is True


@pytest.mark.parametrize("text", FALSE)
def test_false_of_the_message(text: str) -> None:
    assert evaluate(parse_filter(text), MESSAGE) is False


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_lets_nothing_through_and_neither_does_its_opposite(text: str) -> None:
    assert evaluate(parse_filter(text), MESSAGE) is None
    assert matches(parse_filter(text), MESSAGE) is False
    assert matches(parse_filter(f"NOT ({text})"), MESSAGE) is False


@pytest.mark.parametrize("text", FAILS)
def test_what_can_t_be_computed_is_an_error(text: str) -> None:
    with pytest.raises(FilterError):
        matches(parse_filter(text), MESSAGE)


@pytest.mark.parametrize("text", SYNTAX)
def test_what_isn_t_a_filter_is_refused(text: str) -> None:
    with pytest.raises(FilterSyntaxError):
        parse_filter(text)


@pytest.mark.parametrize(
    "nested", ["(" * 500 + "1=1" + ")" * 500, "NOT " * 250 + "1=1", "- " * 500 + "1 = 1"]
)
def test_nesting_is_bounded(nested: str) -> None:
    with pytest.raises(FilterSyntaxError, match="nested"):
        parse_filter(nested[:1024])


@pytest.mark.parametrize(("left", "right"), list(itertools.product(THREE, THREE)))
def test_logic_has_three_values(left: str, right: str) -> None:
    def value(text: str) -> bool | None:
        found = evaluate(parse_filter(text), Subject(user={"vip": True}))
        return found if isinstance(found, bool) else None

    known = {value(left), value(right)}
    both = False if False in known else None if None in known else True
    either = True if True in known else None if None in known else False
    assert value(f"({left}) AND ({right})") is both
    assert value(f"({left}) OR ({right})") is either


@given(st.text("ab%_", max_size=12), st.text("ab", max_size=12))
def test_like_is_like_a_pattern(pattern: str, value: str) -> None:
    expected = re.fullmatch(pattern.replace("%", ".*").replace("_", "."), value) is not None
    tree = parse_filter(f"value LIKE '{pattern}'")
    assert evaluate(tree, Subject(user={"value": value})) is expected


def test_like_doesn_t_take_for_ever() -> None:
    tree = parse_filter("value LIKE '" + "%a" * 60 + "%b'")
    assert evaluate(tree, Subject(user={"value": "a" * 20_000})) is False


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_a_syntax_error(text: str) -> None:
    try:
        tree = parse_filter(text)
    except FilterSyntaxError:
        return
    with contextlib.suppress(FilterError):
        matches(tree, MESSAGE)


def test_filters_see_the_message() -> None:
    def section(code: int, value: object) -> bytes:
        return encode(Described(ULong(code), value))

    raw = section(0x73, ["id", None, "to", "subject", None, 7, None, None, None, None, "session"])
    raw += section(0x74, {"Color": "red", "flag": True}) + section(0x75, b"")
    subject = subject_of(read_message(raw))
    assert SqlFilter.of(
        "sys.Subject = 'subject' AND sys.Label = 'subject' AND sys.SessionId = 'session' AND color = 'red'"
    ).takes(subject)
    assert SqlFilter.of("sys.CorrelationId = '7'").takes(subject)
    assert CorrelationFilter({"label": "subject", "to": "to"}, {"COLOR": "red", "flag": True}).takes(subject)
    assert not CorrelationFilter({"label": "Subject"}).takes(subject)
    assert not CorrelationFilter(user={"flag": 1}).takes(subject)
    assert not CorrelationFilter(user={"missing": "x"}).takes(subject)
    assert everything().filter.takes(subject)
