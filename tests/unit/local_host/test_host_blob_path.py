"""Paths of blob triggers, and the settings that they may name."""

import pytest

from tools.local.host.blob_path import parse_blob_path
from tools.local.host.errors import HostError
from tools.local.host.placeholders import connection_string, resolve


@pytest.mark.parametrize(
    ("path", "name", "values"),
    [
        ("staging/{name}", "a", {"name": "a"}),
        ("staging/{name}", "a/b c/ü", {"name": "a/b c/ü"}),
        ("staging/note-{n}.txt", "note-1.txt", {"n": "1"}),
        ("staging/note-{n}.txt", "note-.txt", None),
        ("staging/note-{n}.txt", "Note-1.txt", None),
        ("staging/note-{n}.txt", "note-1xtxt", None),
        ("staging/{a}.{b}", "x.y.z", {"a": "x.y", "b": "z"}),
        ("staging/{{x}}-{n}", "{x}-1", {"n": "1"}),
        ("staging/fixed", "fixed", {}),
        ("staging/fixed", "fixed2", None),
        ("staging", "anything/at all", {}),
        ("staging/{name}", "two\nlines", {"name": "two\nlines"}),
    ],
)
def test_matching(path: str, name: str, values: dict[str, str] | None) -> None:
    assert parse_blob_path(path).match(name) == values


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("c00/{n}", ""),
        ("c00/a/b-{n}", "a/b-"),
        ("c00/{{{n}", "{"),
        ("c00/x", "x"),
        ("c00", ""),
        ("c00/{a}b{c}", ""),
    ],
)
def test_what_a_listing_is_narrowed_to(path: str, prefix: str) -> None:
    assert parse_blob_path(path).prefix == prefix


@pytest.mark.parametrize(
    "path", ["", "/", "{c}/x", "Staging/x", "a/x", "a--b/x", "c00/{n}/{n}", "c00/{n", "c00/n}"]
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_blob_path(path)


def test_settings_in_a_text() -> None:
    assert resolve("%A%/x-%B%", {"A": "staging", "B": "1"}, "f") == "staging/x-1"
    with pytest.raises(HostError, match=r"f: the setting NO in '%NO%' is missing"):
        resolve("%NO%", {}, "f")


def test_connections() -> None:
    assert connection_string("STORE", {"STORE": "plain"}, "f") == "plain"
    assert connection_string("STORE", {"STORE": "plain", "AzureWebJobsSTORE": "first"}, "f") == "first"
    with pytest.raises(HostError, match="f: the connection setting STORE is missing"):
        connection_string("STORE", {"STORE": ""}, "f")
    with pytest.raises(HostError, match="needs a connection string"):
        connection_string("STORE", {"STORE__blobServiceUri": "https://x"}, "f")
