"""Route templates: what matches what, and which parameters come out."""

import pytest

from tools.local.host.constraints import parse_constraint
from tools.local.host.templates import decode_path, parse_template

MATCHES = [
    ("", "/", {}),
    ("a", "/a", {}),
    ("a", "/A/", {}),
    ("Api/Files", "/aPI/fILES", {}),
    ("a/{id}", "/a/Mixed", {"id": "Mixed"}),
    ("a/{id?}", "/a", {}),
    ("a/{id?}", "/a/", {}),
    ("a/{id?}", "/a/1", {"id": "1"}),
    ("a/{x?}/{y?}", "/a/1", {"x": "1"}),
    ("a/{page=1}", "/a", {"page": "1"}),
    ("a/{page:int=1}", "/a/7", {"page": "7"}),
    ("a/{*rest}", "/a", {}),
    ("a/{*rest}", "/a/", {}),
    ("a/{*rest}", "/a/b//c/", {"rest": "b//c/"}),
    ("{*rest}", "/", {}),
    ("{**rest}", "/x/y", {"rest": "x/y"}),
    ("a/{n:int}/b", "/a/12/b", {"n": "12"}),
    ("a/{n:int?}", "/a", {}),
    ("a/{n:int:min(3)}", "/a/3", {"n": "3"}),
    ("{h:regex(^[0-9a-f]{{4}}$)}", "/BEEF", {"h": "BEEF"}),
    ("{p:regex(^a/b$)?}", "/", {}),
    ("a/{name}", "/a/%2F", {"name": "%2F"}),
    ("ünïcode/{x}", "/ÜNÏCODE/ß", {"x": "ß"}),
]
MISSES = [
    ("", "/a"),
    ("a", "/"),
    ("a", "/a//"),
    ("a", "/ab"),
    ("a/{id}", "/a"),
    ("a/{id}", "/a//"),
    ("a/{id}", "/a/b/c"),
    ("a/{id}/b", "/a//b"),
    ("a/{n:int}", "/a/1x"),
    ("a/{n:int}", "/a/2147483648"),
    ("a/{n:int:min(3)}", "/a/2"),
    ("a/{x?}/{y?}", "/a/1/2/3"),
    ("{h:regex(^[0-9a-f]{{4}}$)}", "/bee"),
]
REFUSED = [
    "a//b",
    "{a}.{b}",
    "v{n}",
    "{*rest}/a",
    "{a}/{A}",
    "{x?}/a",
    "{n:nope}",
    "{n:length(a)}",
    "{n:min(1}",
    "{}",
    "{r:regex([)}",
]


@pytest.mark.parametrize(("template", "path", "values"), MATCHES)
def test_matches(template: str, path: str, values: dict[str, str]) -> None:
    assert parse_template(template).match(path) == values


@pytest.mark.parametrize(("template", "path"), MISSES)
def test_does_not_match(template: str, path: str) -> None:
    assert parse_template(template).match(path) is None


@pytest.mark.parametrize("template", REFUSED)
def test_refuses_what_it_can_not_read(template: str) -> None:
    with pytest.raises(ValueError, match=r"^route|parenthesis"):
        parse_template(template)


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("/a%20b", "/a b"),
        ("/%C3%A4", "/ä"),
        ("/a%2Fb%2fc", "/a%2Fb%2fc"),
        ("/%252F", "/%2F"),
        ("/%25", "/%"),
        ("/%zz%4", "/%zz%4"),
        ("/%ff%41", "/%ff%41"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e%2E/b", "/b"),
        ("/../../x", "/x"),
        ("/a/..", "/"),
        ("/a/b/.", "/a/b/"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a+b", "/a+b"),
    ],
)
def test_paths_are_decoded_once_and_slashes_stay_encoded(raw: str, decoded: str) -> None:
    assert decode_path(raw) == decoded


def test_an_escaped_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        decode_path("/a%00")


@pytest.mark.parametrize(
    ("constraint", "accepted", "rejected"),
    [
        ("int", ["0", "-5", "+7", "2147483647"], ["", "1.0", "x", "2147483648", "٣"]),
        ("long", ["9223372036854775807"], ["9223372036854775808"]),
        ("bool", ["true", "FALSE"], ["1", "yes"]),
        (
            "guid",
            ["0f8fad5bd9cb469fa16570867728950e", "{0f8fad5b-d9cb-469f-a165-70867728950e}"],
            ["0f8fad5b-d9cb-469f-a165", "{0f8fad5b-d9cb-469f-a165-70867728950e"],
        ),
        ("alpha", ["abC"], ["a1", "ä"]),
        ("double", ["1", "1.5e3", "-.5"], ["e", ".", "1,5"]),
        ("length(2)", ["ab"], ["a", "abc"]),
        ("length(1,2)", ["a", "ab"], ["", "abc"]),
        ("minlength(2)", ["ab", "abc"], ["a"]),
        ("maxlength(2)", ["ab"], ["abc"]),
        ("min(3)", ["3", "4"], ["2", "x"]),
        ("max(3)", ["3", "-4"], ["4"]),
        ("range(1,3)", ["1", "3"], ["0", "4"]),
        ("regex(b+)", ["abc", "B"], ["ac"]),
        ("required", ["x"], [""]),
    ],
)
def test_constraints(constraint: str, accepted: list[str], rejected: list[str]) -> None:
    test = parse_constraint(constraint)
    assert [value for value in accepted if not test(value)] == []
    assert [value for value in rejected if test(value)] == []


@pytest.mark.parametrize(
    ("left", "right", "overlap"),
    [
        ("a/{id}", "a/b", True),
        ("a/{id:int}", "a/b", False),
        ("a/{id:int}", "a/5", True),
        ("a/{id}", "a/{name}/x", False),
        ("a/{id?}", "a", True),
        ("{*rest}", "a/b/c", True),
        ("a/{*rest}", "b", False),
        ("", "{*rest}", True),
    ],
)
def test_overlap_is_symmetric(left: str, right: str, overlap: bool) -> None:
    one, two = parse_template(left), parse_template(right)
    assert one.overlaps(two) is overlap
    assert two.overlaps(one) is overlap
