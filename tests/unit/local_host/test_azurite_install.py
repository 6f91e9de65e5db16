"""The installer of Azurite, with npm replaced: once, whole or not at all, and again when the pins change."""

import json
from pathlib import Path

import pytest

from tools.local.azurite import InstallFailed, ensure_installed, install

SCRIPT = Path("node_modules", "azurite", "dist", "src", "azurite.js")


class Npm:
    """Does what npm would, or a part of it."""

    def __init__(self) -> None:
        self.runs = 0
        self.fails_with: Exception | None = None
        self.leaves_out_the_script = False

    def __call__(self, node: Path, npm: Path, folder: Path) -> None:
        self.runs += 1
        assert (folder / "package-lock.json").is_file()
        assert not (folder / "node_modules").exists()
        (folder / SCRIPT).parent.mkdir(parents=True)
        if self.fails_with:
            raise self.fails_with
        if not self.leaves_out_the_script:
            (folder / SCRIPT).write_text("")


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch) -> Npm:
    npm = Npm()
    monkeypatch.setattr(install, "_run_npm", npm)
    return npm


@pytest.fixture
def said() -> list[str]:
    return []


def test_it_is_installed_once_and_says_so_once(tmp_path: Path, npm: Npm, said: list[str]) -> None:
    folder = tmp_path / "new" / "azurite"
    first = ensure_installed(folder, said.append)
    assert first.script.is_file()
    assert first.node.is_file()
    assert len(said) == 2
    assert ensure_installed(folder, said.append) == first
    assert (npm.runs, len(said)) == (1, 2)


@pytest.mark.parametrize("how", ["fails", "incomplete"])
def test_half_an_install_is_none_and_is_done_again(
    tmp_path: Path, npm: Npm, said: list[str], how: str
) -> None:
    folder = tmp_path / "azurite"
    npm.fails_with = InstallFailed("no network") if how == "fails" else None
    npm.leaves_out_the_script = how == "incomplete"
    with pytest.raises(InstallFailed):
        ensure_installed(folder, said.append)
    assert not folder.exists()
    npm.fails_with, npm.leaves_out_the_script = None, False
    assert ensure_installed(folder, said.append).script.is_file()
    assert npm.runs == 2


def test_a_folder_without_a_stamp_is_not_trusted(tmp_path: Path, npm: Npm, said: list[str]) -> None:
    folder = tmp_path / "azurite"
    (folder / SCRIPT).parent.mkdir(parents=True)
    (folder / SCRIPT).write_text("half")
    assert ensure_installed(folder, said.append).script.read_text() == ""


def test_other_pins_are_another_install(
    tmp_path: Path, npm: Npm, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_installed(tmp_path / "azurite", said.append)
    here = tmp_path / "manifests"
    here.mkdir()
    for name in ("package.json", "package-lock.json"):
        (here / name).write_text((install.HERE / name).read_text() + "\n")
    monkeypatch.setattr(install, "HERE", here)
    ensure_installed(tmp_path / "azurite", said.append)
    assert npm.runs == 2


def test_the_lock_file_pins_everything_by_hash_and_names_no_registry() -> None:
    lock = json.loads((install.HERE / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages["node_modules/azurite"]["version"] == "3.37.0"
    assert [
        name for name, entry in packages.items() if not entry.get("integrity", "").startswith("sha512-")
    ] == []
    assert [name for name, entry in packages.items() if "resolved" in entry or entry.get("link")] == []


def test_npm_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    liar = tmp_path / "node"
    liar.write_text("#!/bin/sh\necho 'it is Sunday' >&2\nexit 3\n")
    liar.chmod(0o700)
    monkeypatch.setattr(install, "_node", lambda: (liar, tmp_path))
    with pytest.raises(InstallFailed, match=r"(?s)exit code 3.*it is Sunday"):
        ensure_installed(tmp_path / "azurite", lambda line: None)
