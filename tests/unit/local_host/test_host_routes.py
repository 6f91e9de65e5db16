"""The route table: precedence, methods, and the apps that it refuses because Azure would route them otherwise."""

from collections.abc import Callable

import pytest

from tools.local.host.errors import HostError
from tools.local.host.loading import LoadedApp
from tools.local.host.routes import RouteTable, build_routes


@pytest.fixture
def table(load: Callable[..., LoadedApp]) -> Callable[..., RouteTable]:
    """Routes given as (function name, template, methods)."""

    def build(*routes: tuple[str, str, list[str] | None], prefix: str = "") -> RouteTable:
        source = "".join(
            f"@app.route(route={route!r}, methods={methods!r})\ndef {name}(req): ...\n"
            for name, route, methods in routes
        )
        return build_routes(load(source).functions, prefix)

    return build


def found(table: RouteTable, method: str, path: str) -> str | None:
    match = table.find(method, path)
    return match[0].function.name if match else None


def test_the_most_specific_template_wins_whatever_the_order_of_declaration(
    table: Callable[..., RouteTable],
) -> None:
    routes = table(
        ("e_all", "{*rest}", None),
        ("d_any", "files/{name}", None),
        ("c_number", "files/{id:int}", None),
        ("b_literal", "files/new", None),
        ("a_root", "/", None),
        ("d_below", "files/{id}/versions", None),
    )
    assert found(routes, "GET", "/files/new") == "b_literal"
    assert found(routes, "GET", "/files/12") == "c_number"
    assert found(routes, "GET", "/FILES/else") == "d_any"
    assert found(routes, "GET", "/files/12/versions") == "d_below"
    assert found(routes, "GET", "/files/12/other") == "e_all"


def test_an_empty_route_is_the_name_of_the_function_and_a_slash_is_the_root(
    table: Callable[..., RouteTable],
) -> None:
    # Microsoft's host takes "" for "not given".
    routes = table(("named", "", None), ("root", "/", None), ("z", "{*rest}", None))
    assert found(routes, "GET", "/named") == "named"
    assert found(routes, "GET", "/") == "root"


def test_a_method_that_nobody_takes_goes_to_the_next_template_that_matches(
    table: Callable[..., RouteTable],
) -> None:
    routes = table(
        ("one_get", "files/{id}", ["GET"]),
        ("one_put", "files/{id}", ["PUT"]),
        ("zz_fallback", "{*rest}", None),
    )
    assert found(routes, "GET", "/files/1") == "one_get"
    assert found(routes, "PUT", "/files/1") == "one_put"
    assert found(routes, "DELETE", "/files/1") == "zz_fallback"


def test_get_does_not_imply_head_and_without_a_fallback_there_is_nothing(
    table: Callable[..., RouteTable],
) -> None:
    routes = table(("one", "files", ["GET"]))
    assert found(routes, "HEAD", "/files") is None
    assert found(routes, "POST", "/files") is None


def test_the_prefix_stands_before_every_route(table: Callable[..., RouteTable]) -> None:
    routes = table(("one", "files", None), prefix="api/v1")
    assert found(routes, "GET", "/API/v1/files") == "one"
    assert found(routes, "GET", "/files") is None


@pytest.mark.parametrize(
    "routes",
    [
        [("fallback", "{*rest}", None), ("files", "files", ["GET"])],
        [("files_get", "files/{id}", ["GET"]), ("files_search", "files/search", ["GET"])],
        [("A", "{x}", None), ("b", "lower", None)],
    ],
)
def test_an_app_that_azure_would_route_otherwise_is_refused(
    table: Callable[..., RouteTable], routes: list[tuple[str, str, list[str] | None]]
) -> None:
    with pytest.raises(HostError, match=f"{routes[0][0]} .* hides {routes[1][0]} "):
        table(*routes)


@pytest.mark.parametrize(
    "routes",
    [
        [("files_get", "files/{id}", ["GET"]), ("files_search", "files/search", ["POST"])],
        [("files_get", "files/{id:guid}", ["GET"]), ("files_search", "files/search", ["GET"])],
        [("a", "files/{id}", None), ("b", "other/search", None)],
    ],
)
def test_routes_that_never_meet_may_have_any_names(
    table: Callable[..., RouteTable], routes: list[tuple[str, str, list[str] | None]]
) -> None:
    assert len(table(*routes).routes) == 2


def test_the_same_template_twice_is_refused_unless_the_methods_differ(
    table: Callable[..., RouteTable],
) -> None:
    with pytest.raises(HostError, match="one and two both take /files"):
        table(("one", "files", ["GET", "PUT"]), ("two", "Files/", ["PUT"]))


def test_all_mistakes_are_reported_at_once(table: Callable[..., RouteTable]) -> None:
    with pytest.raises(HostError) as refused:
        table(("one", "a{b}", None), ("two", "{n:nope}", None))
    assert "one: " in str(refused.value)
    assert "two: " in str(refused.value)
