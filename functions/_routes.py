"""The routes that are served, kept beside the host's own table.

The host answers a known route with a wrong method as if the route weren't there. Clients deserve to hear which
methods there are, so each route is noted here too when it is declared, and the catch-all asks this table.
"""

import re
from collections.abc import Callable

import azure.functions as func

from functions._http import Handler, answers

# What templates here may ask of a parameter.
_LENGTH = re.compile(r"\{\w+:length\((\d+)\)\}")


class RouteTable:
    """Declares HTTP functions on blueprints, and knows what it declared."""

    def __init__(self) -> None:
        self._declared: list[tuple[tuple[str, ...], frozenset[str]]] = []

    def route(self, bp: func.Blueprint, template: str, *methods: str) -> Callable[[Handler], object]:
        """Declare a handler as the HTTP function for `template`, whose parameters are single segments."""
        self._declared.append((tuple(template.lower().split("/")), frozenset(methods)))

        def declare(handler: Handler) -> object:
            return bp.route(route=template, methods=list(methods))(answers(handler))

        return declare

    def methods_of(self, path: str) -> frozenset[str]:
        """All methods that some declared route takes at `path`; empty when none matches."""
        segments = tuple(path.lower().split("/"))
        found: set[str] = set()
        for template, methods in self._declared:
            if len(template) == len(segments) and all(map(_takes, template, segments)):
                found |= methods
        return frozenset(found)


def _takes(part: str, segment: str) -> bool:
    if not part.startswith("{"):
        return part == segment
    if part.startswith("{*"):
        # The catch-all takes every method everywhere, and is no address.
        return False
    length = _LENGTH.fullmatch(part)
    return len(segment) == int(length[1]) if length else segment != ""
