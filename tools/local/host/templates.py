"""Route templates, `files/{id:guid}/versions/{number:int?}`: parsed once, matched against each path.

The grammar is ASP.NET Core's, as far as it makes sense for functions: a segment is a literal or one parameter; a
parameter may have constraints, a default (`{page=1}`), be optional (`{page?}`) or take the rest of the path
(`{*rest}`). Segments that mix text and parameters (`{name}.json`) are refused rather than half supported.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tools.local.host.constraints import Constraint, parse_constraint

_ENCODED = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_ENCODED_SLASH = re.compile(r"(%2f)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Segment:
    """A literal (lower case, in `text`) or a parameter named `text`."""

    text: str
    is_parameter: bool = False
    catch_all: bool = False
    optional: bool = False
    default: str | None = None
    constraints: tuple[Constraint, ...] = ()

    @property
    def may_be_absent(self) -> bool:
        return self.catch_all or self.optional or self.default is not None

    @property
    def precedence(self) -> int:
        """The digit that ASP.NET Core gives a segment in RoutePrecedence.ComputeInbound: the lower, the earlier."""
        if not self.is_parameter:
            return 1
        if self.catch_all:
            return 4 if self.constraints else 5
        return 2 if self.constraints else 3

    def accepts(self, value: str) -> bool:
        if not self.is_parameter:
            return value.lower() == self.text
        return all(constraint(value) for constraint in self.constraints)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed route, without a leading slash."""

    text: str
    segments: tuple[Segment, ...]

    @property
    def precedence(self) -> tuple[int, ...]:
        """Sorts templates from the most to the least specific."""
        return tuple(segment.precedence for segment in self.segments)

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the parameters that a decoded path (see `decode_path`) gives, None when it doesn't match.

        One slash at the end is ignored and an empty segment matches nothing, as in ASP.NET's TemplateMatcher.
        """
        rest = path.removeprefix("/")
        values: dict[str, str] = {}
        for segment in self.segments:
            if segment.catch_all:
                value = rest or segment.default
                rest = ""
            elif rest:
                value, _, rest = rest.partition("/")
                if not value:
                    return None
            else:
                value = segment.default
            if value is None:
                if not segment.may_be_absent:
                    return None
                continue
            if not segment.accepts(value):
                return None
            if segment.is_parameter:
                values[segment.text] = value
        return None if rest else values

    def overlaps(self, other: "Template") -> bool:
        """Whether some path may match both; constraints count only against literals, so it may say yes too often."""
        return _overlap(self.segments, other.segments)


def parse_template(text: str) -> Template:
    """Raises ValueError saying what this host can't read."""
    stripped = text.strip("/")
    segments = tuple(_segment(part, text) for part in _split(stripped)) if stripped else ()
    names = [segment.text.lower() for segment in segments if segment.is_parameter]
    if len(set(names)) != len(names):
        raise ValueError(f"route {text!r} has a parameter twice")
    for position, segment in enumerate(segments[:-1]):
        if segment.catch_all:
            raise ValueError(f"route {text!r}: {{*{segment.text}}} must be the last segment")
        if segment.may_be_absent and not all(later.may_be_absent for later in segments[position:]):
            raise ValueError(f"route {text!r}: what follows an optional parameter must be optional too")
    return Template(stripped, segments)


def decode_path(raw: str) -> str:
    """Return the path as Microsoft's web server (Kestrel) hands it to routing.

    Percent escapes are decoded once, but for `%2F`, which stays as it was written, so that it never separates
    segments (https://github.com/dotnet/aspnetcore/issues/30655); escapes that aren't UTF-8 stay too. Then `.` and
    `..` are resolved, however they were spelled. Raises ValueError for an escaped NUL, which Kestrel answers with 400.
    """
    decoded = _ENCODED.sub(lambda run: _decode_run(run[0]), raw)
    if "\0" in decoded:
        raise ValueError("the path contains an escaped NUL")
    if "/." not in decoded:
        return decoded
    kept: list[str] = []
    parts = decoded.split("/")[1:]
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    # "/a/." and "/a/.." name folders: they keep their slash.
    return "/" + "/".join(kept) + ("/" if parts[-1] in (".", "..") and kept else "")


def _decode_run(run: str) -> str:
    pieces = _ENCODED_SLASH.split(run)
    return "".join(piece if _ENCODED_SLASH.fullmatch(piece) else _decode_text(piece) for piece in pieces)


def _decode_text(piece: str) -> str:
    try:
        return unquote_to_bytes(piece).decode()
    except UnicodeDecodeError:
        return piece


def _split(text: str) -> list[str]:
    """Split at slashes outside of braces: a regular expression may hold one."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "/" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _segment(part: str, route: str) -> Segment:
    if not part:
        raise ValueError(f"route {route!r} has an empty segment")
    if "{" not in part and "}" not in part:
        return Segment(part.lower())
    if not (part.startswith("{") and part.endswith("}")):
        raise ValueError(
            f"route {route!r}: {part!r} mixes text and a parameter, which this host doesn't support"
        )
    # Doubled braces stand for single ones inside of regular expressions.
    body = part[1:-1].replace("{{", "{").replace("}}", "}")
    stars = len(body) - len(body.lstrip("*"))
    name, *constraints = _outside_parentheses(body[stars:], ":")
    optional, default = False, None
    last = constraints[-1] if constraints else name
    if last.endswith("?"):
        optional, last = True, last[:-1]
    elif "=" in last and not last.lower().startswith("regex("):
        last, _, default = last.partition("=")
    if constraints:
        constraints[-1] = last
    else:
        name = last
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"route {route!r}: {name!r} is no name for a parameter")
    try:
        tests = tuple(parse_constraint(constraint) for constraint in constraints)
    except (ValueError, re.error) as error:
        raise ValueError(f"route {route!r}: {error}") from None
    return Segment(name, True, stars > 0, optional, default, tests)


def _outside_parentheses(text: str, separator: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _overlap(left: Sequence[Segment], right: Sequence[Segment]) -> bool:
    if not left or not right:
        return all(segment.may_be_absent for segment in (*left, *right))
    first, second = left[0], right[0]
    if first.catch_all or second.catch_all:
        return True
    if first.is_parameter and second.is_parameter:
        return _overlap(left[1:], right[1:])
    literal, other = (second, first) if first.is_parameter else (first, second)
    return other.accepts(literal.text) and _overlap(left[1:], right[1:])
