"""Function keys: who gets in, and how the file is kept."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.local.host.errors import HostError
from tools.local.host.keys import load_keys
from tools.local.host.loading import LoadedApp

APP = """
@app.route(route="open")
def open_one(req): ...
@app.route(route="keyed", auth_level=func.AuthLevel.FUNCTION)
def keyed(req): ...
@app.route(route="master", auth_level=func.AuthLevel.ADMIN)
def master(req): ...
"""


def test_which_key_opens_what(load: Callable[..., LoadedApp], tmp_path: Path) -> None:
    functions = {each.name: each for each in load(APP).functions}
    keys = load_keys(tmp_path / "keys.json", ["keyed", "other"])
    cases = {"none": None, "wrong": "x", "master": keys.master, "host": keys.host, **keys.functions}
    opened = {
        name: {key for key, value in cases.items() if keys.admit(function, value)}
        for name, function in functions.items()
    }
    assert opened["open_one"] == set(cases)
    assert opened["keyed"] == {"master", "host", "keyed"}
    assert opened["master"] == {"master"}


def test_the_file_is_made_once_private_and_completed(tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys.json"
    first = load_keys(path, ["one"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load_keys(path, ["one", "two"])
    assert (again.master, again.host, again.functions["one"]) == (
        first.master,
        first.host,
        first.functions["one"],
    )
    assert load_keys(path, []).functions == again.functions
    assert len({first.master, first.host, *again.functions.values()}) == 4
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]


def test_keys_do_not_show_in_a_repr(tmp_path: Path) -> None:
    keys = load_keys(tmp_path / "keys.json", ["one"])
    assert keys.master not in repr(keys)
    assert keys.functions["one"] not in repr(keys)


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_a_broken_file_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(HostError, match="holds no keys"):
        load_keys(path, [])
    assert path.read_text() == text


def test_a_key_outside_of_ascii_is_wrong_and_no_error(load: Callable[..., LoadedApp], tmp_path: Path) -> None:
    keyed = load(APP).functions[1]
    assert not load_keys(tmp_path / "keys.json", ["keyed"]).admit(keyed, "schlüssel")
