"""Tokens to a tree, by recursive descent; one function per level of precedence.

or > and > not > comparison, IN, LIKE, IS NULL > + - > * / % > sign > value
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tools.local.servicebus.filters.lexer import FilterSyntaxError, Kind, Token, tokens

DEEPEST = 32
"""Levels of parentheses, NOT and signs: a thousand brackets must not be a thousand calls."""

SYSTEM_NAMES = {
    each.lower(): each
    for each in (
        *("ContentType", "CorrelationId", "Label", "Subject", "MessageId", "ReplyTo"),
        *("ReplyToSessionId", "SessionId", "To", "PartitionKey"),
    )
}
"""What may follow `sys.`: the properties of a message that exist when it is published."""

_COMPARISONS = ("=", "<>", "!=", "<", ">", "<=", ">=")


@dataclass(frozen=True, slots=True)
class Constant:
    """None is NULL."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Property:
    """`system`: of the message itself, else of its application properties."""

    name: str
    system: bool


@dataclass(frozen=True, slots=True)
class Negative:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    sign: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Comparison:
    sign: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class And:
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Or:
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Exists:
    property: Property


@dataclass(frozen=True, slots=True)
class In:
    operand: "Node"
    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Like:
    """`escape` is one character, or None."""

    operand: "Node"
    pattern: "Node"
    escape: str | None


Node = Constant | Property | Negative | Arithmetic | Comparison | Not | And | Or | IsNull | Exists | In | Like
T = TypeVar("T")


def parse_filter(expression: str) -> Node:
    """The tree of an expression. Raises FilterSyntaxError."""
    parser = _Parser(list(tokens(expression)))
    node = parser.either()
    parser.expect_end()
    return node


class _Parser:
    def __init__(self, given: list[Token]) -> None:
        self._tokens, self._position, self._depth = given, 0, 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def expect_end(self) -> None:
        if self._next.kind is not Kind.END:
            raise self._unexpected("the end")

    def either(self) -> Node:
        node = self._both()
        while self._word("or"):
            node = Or(node, self._both())
        return node

    def _both(self) -> Node:
        node = self._negated()
        while self._word("and"):
            node = And(node, self._negated())
        return node

    def _negated(self) -> Node:
        if self._word("not"):
            return Not(self._deeper(self._negated))
        return self._predicate()

    def _predicate(self) -> Node:
        left = self._sum()
        if self._next.is_sign(*_COMPARISONS):
            return Comparison(self._take().text, left, self._sum())
        if self._word("is"):
            negated = self._word("not")
            self._expect_word("null")
            return self._maybe_not(IsNull(left), negated=negated)
        negated = self._word("not")
        if self._word("in"):
            return self._maybe_not(In(left, self._options()), negated=negated)
        if self._word("like"):
            pattern = self._sum()
            escape = self._escape() if self._word("escape") else None
            return self._maybe_not(Like(left, pattern, escape), negated=negated)
        if negated:
            raise self._unexpected("IN or LIKE")
        return left

    def _options(self) -> tuple[Node, ...]:
        self._expect_sign("(")
        options = [self._sum()]
        while self._sign(","):
            options.append(self._sum())
        self._expect_sign(")")
        return tuple(options)

    def _escape(self) -> str:
        token = self._take()
        if token.kind is not Kind.TEXT or len(token.text) != 1:
            raise FilterSyntaxError("ESCAPE takes one character in quotes")
        return token.text

    def _sum(self) -> Node:
        node = self._product()
        while self._next.is_sign("+", "-"):
            node = Arithmetic(self._take().text, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._signed()
        while self._next.is_sign("*", "/", "%"):
            node = Arithmetic(self._take().text, node, self._signed())
        return node

    def _signed(self) -> Node:
        if self._sign("-"):
            return Negative(self._deeper(self._signed))
        if self._sign("+"):
            return self._deeper(self._signed)
        return self._value()

    def _value(self) -> Node:
        token = self._take()
        match token.kind:
            case Kind.NUMBER:
                return Constant(int(token.text) if token.text.isdecimal() else float(token.text))
            case Kind.TEXT:
                return Constant(token.text)
            case Kind.NAME:
                return self._property(token)
        if token.is_sign("("):
            node = self._deeper(self.either)
            self._expect_sign(")")
            return node
        if token.is_word("exists"):
            self._expect_sign("(")
            node = Exists(self._property(self._take()))
            self._expect_sign(")")
            return node
        constants = {"true": True, "false": False, "null": None}
        if token.kind is Kind.WORD and token.text in constants:
            return Constant(constants[token.text])
        self._position -= 1
        raise self._unexpected("a value")

    def _property(self, token: Token) -> Property:
        if token.kind is not Kind.NAME:
            self._position -= 1
            raise self._unexpected("the name of a property")
        if not self._sign("."):
            return Property(token.text.lower(), system=False)
        name = self._take()
        scope = token.text.lower()
        if name.kind not in (Kind.NAME, Kind.WORD) or scope not in ("sys", "user"):
            raise FilterSyntaxError(f"{token.text}.{name.text}: only sys.NAME and user.NAME have a dot")
        if scope == "sys" and name.text.lower() not in SYSTEM_NAMES:
            raise FilterSyntaxError(f"sys.{name.text} is not known here: {', '.join(SYSTEM_NAMES.values())}")
        return Property(name.text.lower(), system=scope == "sys")

    # --- tokens

    def _take(self) -> Token:
        token = self._next
        if token.kind is not Kind.END:
            self._position += 1
        return token

    def _word(self, word: str) -> bool:
        found = self._next.is_word(word)
        self._position += found
        return found

    def _sign(self, sign: str) -> bool:
        found = self._next.is_sign(sign)
        self._position += found
        return found

    def _expect_word(self, word: str) -> None:
        if not self._word(word):
            raise self._unexpected(word.upper())

    def _expect_sign(self, sign: str) -> None:
        if not self._sign(sign):
            raise self._unexpected(repr(sign))

    def _unexpected(self, wanted: str) -> FilterSyntaxError:
        token = self._next
        return FilterSyntaxError(f"{wanted} expected at character {token.position + 1}, not {token.text!r}")

    def _deeper(self, read: Callable[[], T]) -> T:
        self._depth += 1
        if self._depth > DEEPEST:
            raise FilterSyntaxError(f"nested more than {DEEPEST} deep")
        node = read()
        self._depth -= 1
        return node

    @staticmethod
    def _maybe_not(node: Node, *, negated: bool) -> Node:
        return Not(node) if negated else node
