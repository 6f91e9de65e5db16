"""Text to tokens. Words of the language and names of properties are told apart here; case matters to neither."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

LONGEST = 1024
"""Characters of an expression at most: Azure's limit."""


class FilterSyntaxError(Exception):
    """The text is no filter; the message says where."""


class Kind(Enum):
    WORD = auto()
    NAME = auto()
    NUMBER = auto()
    TEXT = auto()
    SIGN = auto()
    END = auto()


WORDS = frozenset({"and", "or", "not", "in", "like", "escape", "is", "null", "exists", "true", "false"})

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | '(?P<text>(?:[^']|'')*)'
      | \[(?P<bracketed>(?:[^\]]|\]\])+)\]
      | "(?P<quoted>(?:[^"]|"")+)"
      | (?P<name>[A-Za-z_@\#][\w@\#$-]*)
      | (?P<sign><>|!=|>=|<=|[=<>()+\-*/%,.])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is what the token means: quotes taken off, words in lower case."""

    kind: Kind
    text: str
    position: int

    def is_word(self, word: str) -> bool:
        return self.kind is Kind.WORD and self.text == word

    def is_sign(self, *signs: str) -> bool:
        return self.kind is Kind.SIGN and self.text in signs


def tokens(expression: str) -> Iterator[Token]:
    """The tokens of an expression, with END as the last. Raises FilterSyntaxError."""
    if len(expression) > LONGEST:
        raise FilterSyntaxError(f"a filter has {LONGEST} characters at most, not {len(expression)}")
    position, length = 0, len(expression.rstrip())
    while position < length:
        match = _TOKEN.match(expression, position)
        if match is None:
            raise FilterSyntaxError(f"character {position + 1} begins nothing that is known")
        yield _token(match)
        position = match.end()
    yield Token(Kind.END, "the end", length)


def _token(match: re.Match[str]) -> Token:
    group = str(match.lastgroup)
    text, position = match[group], match.start(group)
    match group:
        case "number":
            return Token(Kind.NUMBER, text, position)
        case "text":
            return Token(Kind.TEXT, text.replace("''", "'"), position)
        case "bracketed":
            return Token(Kind.NAME, text.replace("]]", "]"), position)
        case "quoted":
            return Token(Kind.NAME, text.replace('""', '"'), position)
        case "sign":
            return Token(Kind.SIGN, text, position)
    lower = text.lower()
    return Token(Kind.WORD, lower, position) if lower in WORDS else Token(Kind.NAME, text, position)
