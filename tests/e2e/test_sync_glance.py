"""A run that finds nothing changed sees that at a glance, and nothing else is ever taken for that."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.sync_folders import Device, sign_up, until_equal
from tests.support.system import System


@pytest.fixture
def pair(system: System, tmp_path: Path, request: pytest.FixtureRequest) -> list[Device]:
    name = "".join(character if character.isalnum() else "-" for character in request.node.name[-60:])
    devices = sign_up(tmp_path, system.url, name, 2)
    devices[0].write("folder/file", b"1")
    devices[0].write("other", b"2")
    until_equal(devices)
    return devices


def seen_at_a_glance(document: dict[str, Any]) -> bool:
    return bool(document["settled"]) and document["rounds"] == 0 and document["wire"]["calls"] == 1


def test_nothing_changed_costs_one_question(pair: list[Device]) -> None:
    document = pair[0].sync()
    assert seen_at_a_glance(document)
    assert document["entries"] == 3
    assert document["folder"] == str(pair[0].folder)
    assert not any(document["done"].values())
    wire = document["wire"]
    assert 0 < wire["sent"] + wire["received"] < 10_000


def test_what_has_just_come_is_known_at_the_next_glance(pair: list[Device]) -> None:
    ann, ben = pair
    ann.write("new", b"from ann")
    ann.sync()
    assert ben.sync()["done"]["downloaded"] == 1
    assert seen_at_a_glance(ben.sync())


def _edit_in_disguise(ann: Device, ben: Device) -> None:
    place = ann.folder / "other"
    before = place.stat()
    place.write_bytes(b"3")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def _delete(ann: Device, ben: Device) -> None:
    (ann.folder / "other").unlink()


def _rename(ann: Device, ben: Device) -> None:
    (ann.folder / "folder").rename(ann.folder / "renamed")


def _ignore(ann: Device, ben: Device) -> None:
    ann.write(".strataignore", b"*.tmp\n")


def _edit_there(ann: Device, ben: Device) -> None:
    ben.write("other", b"from ben")
    ben.sync()


def _edit_on_both(ann: Device, ben: Device) -> None:
    _edit_there(ann, ben)
    ann.write("folder/file", b"from ann")


@pytest.mark.parametrize("change", [_edit_in_disguise, _delete, _rename, _ignore, _edit_there, _edit_on_both])
def test_a_change_is_never_overlooked(pair: list[Device], change: Callable[[Device, Device], None]) -> None:
    ann, ben = pair
    change(ann, ben)
    document = ann.sync()
    assert not seen_at_a_glance(document)
    assert any(document["done"].values())
    ben.sync()
    assert ann.tree == ben.tree


def test_what_is_wrong_is_told_each_time(pair: list[Device]) -> None:
    ann, _ = pair
    ann.write("nul.txt", b"no name for every device")
    for _ in range(3):
        code, document = ann.try_sync()
        assert code == 6
        assert [each["path"] for each in document["passed_over"]] == ["nul.txt"]
    assert document["rounds"] == 0


def test_a_login_that_has_to_be_renewed_is(pair: list[Device]) -> None:
    ann, _ = pair
    place = ann.strata.home / "credentials.json"
    known = json.loads(place.read_text())
    place.write_text(json.dumps({**known, "expires_at": "2020-01-01T00:00:00+00:00"}))
    assert ann.sync()["settled"]
    renewed = json.loads(place.read_text())
    assert renewed["refresh_token"] != known["refresh_token"]
    # A token that the server doesn't know, though it should: the whole run gets another.
    place.write_text(json.dumps({**renewed, "access_token": "nonsense"}))
    assert ann.sync()["settled"]
    assert seen_at_a_glance(ann.sync())


def test_another_s_folder_stays_another_s(pair: list[Device], system: System, tmp_path: Path) -> None:
    ann, _ = pair
    [eve] = sign_up(tmp_path / "eve", system.url, f"eve-{os.getpid()}", 1)
    (ann.strata.home / "credentials.json").write_bytes((eve.strata.home / "credentials.json").read_bytes())
    code, document = ann.try_sync()
    assert (code, document["error"]["code"]) == (5, "sync_other_login")


def test_another_folder_in_its_place_is_not_it(pair: list[Device]) -> None:
    ann, _ = pair
    ann.folder.rename(ann.folder.with_name("moved"))
    ann.folder.mkdir()
    code, document = ann.try_sync()
    assert (code, document["error"]["code"]) == (5, "sync_other_folder")
