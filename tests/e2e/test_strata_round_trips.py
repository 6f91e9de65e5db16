"""What goes up comes down, byte for byte, through the command and real processes."""

import hashlib
import random
import unicodedata
from pathlib import Path

import pytest

from tests.support.system import Strata, System

NAMES = [
    "plain.txt",
    "Grüße.txt",
    "日本語のファイル.txt",
    "ملف.txt",
    "файл.txt",
    "🎈 party.txt",
    "e\u0301 composed.txt",
]


@pytest.fixture(scope="module")
def strata(system: System, tmp_path_factory: pytest.TempPathFactory) -> Strata:
    made = Strata(tmp_path_factory.mktemp("home"), system.url)
    made.sign_up("round-trips")
    return made


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def test_a_file_of_300_mb(strata: Strata, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    original = tmp_path / "large.bin"
    chance = random.Random(seed)
    with original.open("wb") as stream:
        for _ in range(300):
            stream.write(chance.randbytes(1_000_000))
    strata.json("up", original, "/large.bin")
    strata.json("down", "/large.bin", tmp_path / "back.bin")
    assert _digest(tmp_path / "back.bin") == _digest(original)


def test_an_edit_sends_only_what_changed(strata: Strata, tmp_path: Path) -> None:
    original = tmp_path / "edited.bin"
    content = random.Random(7).randbytes(20_000_000)
    original.write_bytes(content)
    strata.json("up", original, "/edited.bin")
    original.write_bytes(b"one more in front" + content)
    again = strata.json("up", original, "/edited.bin")
    assert 0 < again["totals"]["bytes_sent"] < len(content) / 3
    strata.json("down", "/edited.bin", tmp_path / "edited-back.bin")
    assert (tmp_path / "edited-back.bin").read_bytes() == b"one more in front" + content


def test_a_thousand_small_files(strata: Strata, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    chance = random.Random(11)
    for number in range(1000):
        path = tree / f"folder-{number % 7}" / f"file-{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randrange(1, 5000)))
    strata.json("up", tree, "/small/")
    strata.json("down", "/small/tree", tmp_path / "back")
    back = tmp_path / "back"
    assert {path.relative_to(back): _digest(path) for path in back.rglob("*.bin")} == {
        path.relative_to(tree): _digest(path) for path in tree.rglob("*.bin")
    }


def test_an_empty_file(strata: Strata, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    strata.json("up", tmp_path / "empty", "/empty")
    strata.json("down", "/empty", tmp_path / "empty-back")
    assert (tmp_path / "empty-back").read_bytes() == b""


def test_names_in_several_scripts(strata: Strata, tmp_path: Path) -> None:
    there, back = tmp_path / "scripts", tmp_path / "scripts-back"
    there.mkdir()
    for name in NAMES:
        (there / name).write_text(name)
    strata.json("up", there, "/")
    strata.json("down", "/scripts", back)
    # Names are kept in their composed form.
    assert {path.name: path.read_text() for path in back.iterdir()} == {
        unicodedata.normalize("NFC", name): name for name in NAMES
    }


def test_a_removed_file_is_gone(strata: Strata, tmp_path: Path) -> None:
    (tmp_path / "gone.txt").write_text("soon gone")
    strata.json("up", tmp_path / "gone.txt", "/gone.txt")
    strata.json("rm", "/gone.txt")
    assert strata.run("down", "/gone.txt", tmp_path / "x").returncode == 4
    assert not (tmp_path / "x").exists()
