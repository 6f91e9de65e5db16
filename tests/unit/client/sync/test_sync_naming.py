"""Names that the sync gives are valid, free, and say what happened."""

import pytest

from client.sync.naming import clashing, conflicted, is_making_way, making_way
from client.sync.trees import Kind
from shared.domain.names import MAX_NAME_BYTES, name_key, parse_name


def copy(name: str, kind: Kind = Kind.FILE, *, device: str = "LAPTOP", taken: set[str] | None = None) -> str:
    return conflicted(name, kind, device=device, today="2026-11-22", taken=taken or set())


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("report.pdf", Kind.FILE, "report (conflicted copy, LAPTOP, 2026-11-22).pdf"),
        ("readme", Kind.FILE, "readme (conflicted copy, LAPTOP, 2026-11-22)"),
        (".profile", Kind.FILE, ".profile (conflicted copy, LAPTOP, 2026-11-22)"),
        ("v1.2", Kind.FOLDER, "v1.2 (conflicted copy, LAPTOP, 2026-11-22)"),
        ("a. long sentence for a name", Kind.FILE, "a. long sentence for a name (conflicted copy, LAPTOP, 2026-11-22)"),
    ],
)  # fmt: skip
def test_the_ending_stays(name: str, kind: Kind, expected: str) -> None:
    assert copy(name, kind) == expected


def test_a_taken_name_gets_a_number() -> None:
    first = copy("f.txt")
    second = copy("f.txt", taken={name_key(first)})
    assert second == "f (conflicted copy, LAPTOP, 2026-11-22, 2).txt"
    assert copy("F.TXT", taken={name_key(first), name_key(second)}).endswith(", 3).TXT")


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u6f22", "\U0001f600"])
def test_a_long_name_is_cut_in_the_stem(letter: str) -> None:
    longest = letter * ((MAX_NAME_BYTES - 4) // len(letter.encode())) + ".txt"
    name = copy(longest)
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert name.endswith(" (conflicted copy, LAPTOP, 2026-11-22).txt")
    assert parse_name(name).text == name


@pytest.mark.parametrize(
    "device", ["a/b\\c:d", "\u202eevil", "x\x00y", "", " ", "\ud800", "(1), 2", "d" * 300, "con"]
)
def test_any_device_gives_a_valid_name(device: str) -> None:
    longest = "x" * 180 + "." + "\U0001f600" * 5
    for name in (copy(longest, device=device), clashing("f", Kind.FILE, device=device, taken=())):
        assert parse_name(name).text == name


def test_a_name_for_a_moment_is_known_again_by_its_device_only() -> None:
    name = making_way("a.txt", Kind.FILE, device="D", taken=())
    assert name == "a (being renamed, D).txt"
    assert is_making_way(name, device="D")
    assert not is_making_way(name, device="E")
    assert not is_making_way(clashing("a", Kind.FILE, device="D", taken=()), device="D")
