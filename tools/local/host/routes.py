"""Which function takes a request: the route table.

Three facts about Microsoft's host decide how it works, and each surprises:

1. Templates are tried **in the order of function names**, not by how specific they are
   (azure-functions-host `FunctionMetadataManager.LoadFunctionMetadata` sorts by name without regard to case, and
   `WebJobsRouteBuilder` adds routes in that order; issues #3153, #6062, #9876 are open). A catch-all named `fallback`
   swallows every route of a function named later in the alphabet.
2. The method is a constraint of the route: a template that doesn't take the method is passed over, and the next
   one that matches gets the request. When none is left, the answer is a bare 404, never a 405 (#10098, #11625),
   and GET doesn't imply HEAD.
3. A disabled function keeps its route and answers 404.

This table tries the most specific template first, as one would expect from ASP.NET Core, and **refuses an app for which
the order of names would give another result**. So an app that starts here is routed alike in Azure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from tools.local.host.errors import HostError
from tools.local.host.loading import LoadedFunction
from tools.local.host.templates import Template, decode_path, parse_template


@dataclass(frozen=True, slots=True)
class Route:
    """A function and where it answers; `methods` None means all of them."""

    function: LoadedFunction
    template: Template
    methods: frozenset[str] | None

    @property
    def order(self) -> tuple[tuple[int, ...], str]:
        return self.template.precedence, _sorted_by(self.function.name)

    def shares_methods_with(self, other: "Route") -> bool:
        return self.methods is None or other.methods is None or bool(self.methods & other.methods)


class RouteTable:
    """All routes of an app, in the order in which they are tried."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(sorted(routes, key=lambda route: route.order))

    def find(self, method: str, raw_path: str) -> tuple[Route, Mapping[str, str]] | None:
        """Return the route for a request and its parameters, None when nothing takes it.

        `raw_path` is as it was sent, percent escapes and all. Raises ValueError for a path that no server takes.
        """
        path = decode_path(raw_path)
        for route in self.routes:
            if route.methods is not None and method not in route.methods:
                continue
            values = route.template.match(path)
            if values is not None:
                return route, values
        return None


def build_routes(functions: Iterable[LoadedFunction], prefix: str) -> RouteTable:
    """Return the table for all HTTP functions; raises HostError with every route that can't be served as meant."""
    routes, mistakes = [], []
    for function in functions:
        if function.http is None:
            continue
        try:
            template = parse_template(f"{prefix}/{function.http.route}" if prefix else function.http.route)
        except ValueError as error:
            mistakes.append(f"{function.name}: {error}")
        else:
            routes.append(Route(function, template, function.http.methods))
    mistakes += _conflicts(routes)
    if mistakes:
        raise HostError("\n".join(mistakes))
    return RouteTable(routes)


def _conflicts(routes: list[Route]) -> Iterable[str]:
    for one, two in combinations(sorted(routes, key=lambda route: route.order), 2):
        if not one.shares_methods_with(two):
            continue
        if one.template.text.lower() == two.template.text.lower():
            yield f"{one.function.name} and {two.function.name} both take /{one.template.text}"
        elif (
            one.template.precedence < two.template.precedence
            and _sorted_by(two.function.name) < _sorted_by(one.function.name)
            and one.template.overlaps(two.template)
        ):
            yield (
                f"{two.function.name} (/{two.template.text}) hides {one.function.name} (/{one.template.text})"
                " in Azure, where routes are tried in the order of function names: "
                f"rename one so that {one.function.name} sorts first, or constrain the parameter"
            )


def _sorted_by(name: str) -> str:
    # .NET's OrdinalIgnoreCase compares upper case, so that `_` comes after letters.
    return name.upper()
