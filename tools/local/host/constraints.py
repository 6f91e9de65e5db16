"""Route constraints, `{id:int}`: what a path segment must look like for a template to match.

They sort requests, they don't validate input: a segment that fails a constraint makes the template not match, and
the answer is a 404. Names and meanings are ASP.NET Core's ("Route constraints" in Routing in ASP.NET Core).
"""

import re
from collections.abc import Callable

Constraint = Callable[[str], bool]

_GUID = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}|\([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\)",
    re.IGNORECASE | re.ASCII,
)
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*", re.ASCII | re.IGNORECASE)
_LETTERS = re.compile(r"[a-z]*", re.ASCII | re.IGNORECASE)


def parse_constraint(text: str) -> Constraint:
    """Return the test that `text` (`int`, `length(1,8)`, `regex(^a+$)`) stands for; raises ValueError if unknown."""
    name, opened, rest = text.partition("(")
    argument = rest.removesuffix(")") if opened else None
    if opened and not rest.endswith(")"):
        raise ValueError(f"constraint {text!r} has no closing parenthesis")
    if argument is None:
        plain = _PLAIN.get(name.lower())
        if plain is None:
            raise ValueError(f"constraint {text!r} is not known to this host")
        return plain
    if name.lower() == "regex":
        # As in ASP.NET: case doesn't matter, and an unanchored expression may match anywhere.
        return _matches(re.compile(argument, re.IGNORECASE))
    bounded = _BOUNDED.get(name.lower())
    if bounded is None:
        raise ValueError(f"constraint {text!r} is not known to this host")
    try:
        return bounded(*(int(part) for part in argument.split(",")))
    except (TypeError, ValueError):
        raise ValueError(f"constraint {text!r} has the wrong arguments") from None


def _matches(expression: re.Pattern[str]) -> Constraint:
    return lambda value: expression.search(value) is not None


def _integer(bits: int) -> Constraint:
    return lambda value: (
        _INTEGER.fullmatch(value) is not None and -(2 ** (bits - 1)) <= int(value) < 2 ** (bits - 1)
    )


def _between(lowest: int, highest: int) -> Constraint:
    return lambda value: _INTEGER.fullmatch(value) is not None and lowest <= int(value) <= highest


def _length(least: int, most: int | None = None) -> Constraint:
    longest = least if most is None else most
    return lambda value: least <= len(value) <= longest


_PLAIN: dict[str, Constraint] = {
    "int": _integer(32),
    "long": _integer(64),
    "bool": lambda value: value.strip().lower() in ("true", "false"),
    "guid": lambda value: _GUID.fullmatch(value) is not None,
    "alpha": lambda value: _LETTERS.fullmatch(value) is not None,
    "decimal": lambda value: _NUMBER.fullmatch(value) is not None,
    "double": lambda value: _NUMBER.fullmatch(value) is not None,
    "float": lambda value: _NUMBER.fullmatch(value) is not None,
    "required": lambda value: value != "",
}
_BOUNDED: dict[str, Callable[..., Constraint]] = {
    "length": _length,
    "minlength": lambda least: lambda value: len(value) >= least,
    "maxlength": lambda most: lambda value: len(value) <= most,
    "min": lambda lowest: _between(lowest, 2**63 - 1),
    "max": lambda highest: _between(-(2**63), highest),
    "range": _between,
}
