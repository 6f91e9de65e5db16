"""The tree of errors: the drawing is the code, and every kind can be told from the others by a program."""

import json
import re

import pytest

from shared.domain import errors
from shared.domain.errors import StrataError


def kinds(base: type[StrataError] = StrataError) -> list[type[StrataError]]:
    found = [base]
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            found += kinds(kind)
    return found


def drawn() -> dict[str, str | None]:
    """The drawing in the module's docstring: each name with its parent."""
    tree: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:│   |    )*)(├── |└── )?(\w+)(?: {2,}\S|$)", line)
        if found and (found[2] or found[3] == "StrataError"):
            depth = len(found[1]) // 4 + (1 if found[2] else 0)
            above[depth:] = [found[3]]
            tree[found[3]] = above[depth - 1] if depth else None
    return tree


EXAMPLES: list[StrataError] = [
    errors.NameExists("taken", entry="A.txt", kind="file"),
    errors.VersionConflict("changed", head={"version_id": "a" * 32}),
    errors.MissingBlocks(["0" * 64, "1" * 64]),
    errors.TooLarge("too large", limit=5),
    errors.UnsatisfiableRange("behind the end", size=9),
    errors.QuotaExceeded("full", quota=10, used=9),
]


def test_the_drawing_is_complete_and_true() -> None:
    assert drawn() == {
        kind.__name__: None if kind is StrataError else kind.__bases__[0].__name__ for kind in kinds()
    }


def test_every_kind_has_a_code_and_a_title_of_its_own() -> None:
    real = [kind for kind in kinds() if kind is not StrataError]
    for attribute in ("code", "title"):
        own = {kind.__name__: vars(kind)[attribute] for kind in real}
        assert len(set(own.values())) == len(real)
    assert all(re.fullmatch(r"[a-z_]+", kind.code) for kind in real)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.code)
def test_members_are_json_and_say_what_the_error_was_made_of(error: StrataError) -> None:
    shown = json.loads(json.dumps(error.members()))
    assert shown
    assert set(shown) <= set(vars(error))


def test_kinds_with_members_are_all_shown_above() -> None:
    own_members = {kind for kind in kinds() if "members" in vars(kind) and kind is not StrataError}
    assert own_members == {type(error) for error in EXAMPLES}
    assert errors.NotFound("not there").members() == {}


def test_a_client_is_told_when_to_come_back() -> None:
    assert errors.Busy("full", retry_after=2).retry_after == 2
    assert errors.Unavailable("away").retry_after > 0
