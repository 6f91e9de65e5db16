"""Paths of blob triggers, `container/prefix-{name}.txt`: parsed once, matched against each blob's name.

A parameter takes any text, slashes included, so that `samples/{name}` stands for a whole container with its
"folders". `{{` and `}}` are braces in a name. Without a blob part every blob of the container matches. Source:
"Blob name patterns" in Microsoft's "Azure Blob storage trigger for Azure Functions".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CONTAINER = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]|\$root|\$web", re.ASCII)
_TOKEN = re.compile(r"\{\{|\}\}|\{(\w+)\}|[{}]|[^{}]+")


@dataclass(frozen=True, slots=True)
class BlobPattern:
    """`prefix` is the text before the first parameter: what a listing can be narrowed to."""

    container: str
    prefix: str
    expression: re.Pattern[str]

    def match(self, name: str) -> Mapping[str, str] | None:
        """Return the parameters that a blob's name gives, None when it doesn't match."""
        found = self.expression.fullmatch(name)
        return None if found is None else found.groupdict()


def parse_blob_path(path: str) -> BlobPattern:
    """Raises ValueError saying what is wrong with the path."""
    container, _, blob = path.strip("/").partition("/")
    if _CONTAINER.fullmatch(container) is None:
        raise ValueError(f"path {path!r}: {container!r} is no name of a container")
    if not blob:
        return BlobPattern(container, "", re.compile(".+", re.DOTALL))
    prefix: str | None = None
    written, expression = "", ""
    names: set[str] = set()
    for token in _TOKEN.finditer(blob):
        text, name = token[0], token[1]
        if name:
            if name in names:
                raise ValueError(f"path {path!r} has the parameter {name} twice")
            names.add(name)
            prefix = written if prefix is None else prefix
            expression += f"(?P<{name}>.+)"
            continue
        if text in "{}":
            raise ValueError(f"path {path!r} has a brace that stands alone: braces in names are doubled")
        literal = text[0] if text in ("{{", "}}") else text
        written += literal
        expression += re.escape(literal)
    return BlobPattern(container, written if prefix is None else prefix, re.compile(expression, re.DOTALL))
