"""`.strataignore` means what .gitignore means, for files, folders and what is in them."""

import pytest

from client.sync.ignoring import Ignoring

LINES = ["# built", "*.o", "!keep.o", "build/", "/only-top", "docs/**/draft.txt", "", "a\\#b"]


@pytest.mark.parametrize(
    ("path", "is_folder", "ignored"),
    [
        ("x.o", False, True),
        ("deep/down/x.o", False, True),
        ("keep.o", False, False),
        ("build", True, True),
        ("build", False, False),  # a file with that name is no folder
        ("src/build/any/thing.c", False, True),
        ("build/keep.o", False, True),  # below an ignored folder nothing comes back
        ("only-top", False, True),
        ("x/only-top", False, False),
        ("docs/a/b/draft.txt", False, True),
        ("docs/draft.txt", False, True),
        ("a#b", False, True),
        ("# built", False, False),
        ("main.c", False, False),
        (".strataignore", False, False),
        (".strata-0123456789abcdef.part", False, True),
        ("x/.strata-0123456789abcdef.part", False, True),
        (".strata-notes.part", False, False),
    ],
)
def test_patterns(path: str, is_folder: bool, ignored: bool) -> None:
    assert Ignoring(LINES).covers(tuple(path.split("/")), is_folder=is_folder) is ignored


def test_without_patterns_only_parts_are_ignored() -> None:
    nothing = Ignoring()
    assert nothing.is_trivial
    assert not nothing.covers(("x.o",), is_folder=False)
    assert not nothing.covers((), is_folder=True)
    assert nothing.covers(("a", ".strata-0011223344556677.part"), is_folder=False)
    assert not Ignoring(["x"]).is_trivial


def test_the_ignore_file_itself_is_synced() -> None:
    assert not Ignoring(["*"]).covers((".strataignore",), is_folder=False)


def test_a_pattern_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="!"):
        Ignoring(["!"])
