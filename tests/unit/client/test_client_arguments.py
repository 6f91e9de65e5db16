"""Command lines made from signatures: what is taken, what is refused, and where values come from."""

from pathlib import Path
from typing import Annotated, Any

import pytest

from client.arguments import Argument, CommandLine, Option
from client.errors import Misuse
from tests.unit.client.running import Command


def example(
    common: object,
    sources: Annotated[list[str], Argument("SOURCE...", help="What.")],
    since: Annotated[str, Option("--since", help="From when on.")],
    folder: Annotated[Path | None, Option("--folder", env="EXAMPLE_FOLDER", help="Where.")] = None,
    jobs: Annotated[int, Option("--jobs", "-j", least=1, most=32, help="How many, 100% of them.")] = 8,
    rate: Annotated[float | None, Option("--rate", least=0.5, help="How fast.")] = None,
    watch: Annotated[bool, Option("--watch", off="--once", help="Go on.")] = False,
) -> None:
    """Do something.

    At length:

      example a b
    """


def line() -> CommandLine:
    made = CommandLine("example", example.__doc__ or "")
    made.add(example, "options")
    return made


def parsed(*words: str) -> dict[str, Any]:
    [found] = line().read(words)
    return found


def test_options_may_stand_anywhere() -> None:
    found = parsed("a", "--since", "1h", "b", "-j", "3", "--watch", "-")
    assert found == {
        "sources": ["a", "b", "-"],
        "since": "1h",
        "folder": None,
        "jobs": 3,
        "rate": None,
        "watch": True,
    }


def test_what_follows_two_dashes_is_no_option() -> None:
    assert parsed("--since=1h", "x", "--", "-j", "--odd")["sources"] == ["x", "-j", "--odd"]


@pytest.mark.parametrize("words", [("-j", "3"), ("-j3",), ("-j=3",), ("--jobs", "3"), ("--jobs=3",)])
def test_a_value_stands_behind_its_option_or_at_it(words: tuple[str, ...]) -> None:
    assert parsed("a", "--since", "1h", *words)["jobs"] == 3


def test_a_value_may_begin_with_a_dash() -> None:
    assert parsed("a", "--since", "-1h")["since"] == "-1h"


def test_the_last_of_two_opposites_counts() -> None:
    assert parsed("a", "--since", "1h", "--watch", "--once")["watch"] is False


def test_a_variable_stands_in_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_FOLDER", "/there")
    assert parsed("a", "--since", "1h")["folder"] == Path("/there")
    assert parsed("a", "--since", "1h", "--folder", "here")["folder"] == Path("here")
    monkeypatch.setenv("EXAMPLE_FOLDER", "")
    assert parsed("a", "--since", "1h")["folder"] is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--since", "1h"), "SOURCE"),
        (("a",), "--since"),
        (("a", "--since"), "--since needs a value"),
        (("a", "--since", "1h", "--jobs", "0"), "0 is less than 1"),
        (("a", "--since", "1h", "--jobs", "33"), "33 is more than 32"),
        (("a", "--since", "1h", "--jobs", "many"), "'many' is not a number"),
        (("a", "--since", "1h", "--rate", "nan"), "nan is less than 0.5"),
        (("a", "--since", "1h", "--rat", "2"), "--rat"),
        (("a", "--since", "1h", "--unknown"), "--unknown"),
        (("a", "--since", "1h", "--watch=yes"), "--watch takes no value"),
    ],
)
def test_what_can_t_be_understood_is_said(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(Misuse, match=told):
        parsed(*words)


def test_the_help_is_the_docstring_and_the_options() -> None:
    told = line().help()
    assert "Do something.\n\nAt length:\n\n  example a b\n" in told
    assert "How many, 100% of them. Default: 8." in told
    assert "[EXAMPLE_FOLDER]" in told


def test_every_command_explains_itself(strata: Command) -> None:
    overview = strata("--help")
    names = [
        line.split()[0] for line in overview.out.splitlines() if line.startswith("  ") and line[2:3].isalpha()
    ]
    assert {"up", "sync", "undo", "devices"} <= set(names)
    for name in names:
        told = strata(name, "--help")
        assert told.code == 0
        assert f"usage: strata {name}" in told.out
        assert "--json" in told.out
        # The same without needing a login, behind other words, and before the name.
        assert strata("--json", name, "x", "-h").out == told.out


@pytest.mark.parametrize(
    "words",
    [
        ("nothing",),
        ("--json",),
        ("--url", "http://x"),
        ("ls", "a", "b"),
        ("sync", ".", "--limit-up", "0"),
        ("sync", ".", "--interval", "inf"),
    ],
)
def test_a_wrong_command_line_is_misuse(strata: Command, words: tuple[str, ...]) -> None:
    assert strata(*words).code == 2


def test_options_before_the_name_and_behind_it_are_the_same(strata: Command, tmp_path: Path) -> None:
    for words in (("--json", "--home", str(tmp_path), "ls"), ("ls", "--json", "--home", str(tmp_path))):
        assert strata(*words).json["error"]["code"] == "not_logged_in"
