"""Command lines from functions: what a command takes is the signature of the function that does it.

    def up(common: Common, paths: Annotated[list[str], Argument("LOCAL...", help="…")],
           jobs: Annotated[int, Option("--jobs", "-j", least=1, help="…")] = 8) -> None:
        \"""Make local files the current content of remote ones.\"""

becomes `strata up LOCAL... [--jobs N]`, with the docstring for its --help. A parameter without a default must be given.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_origin

from client.errors import Misuse


class Option:
    """`off` is the name that turns it off again; `env` a variable that is read where it isn't given."""

    def __init__(
        self,
        *names: str,
        help: str,
        metavar: str | None = None,
        off: str | None = None,
        env: str | None = None,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        self.names, self.help, self.metavar, self.off, self.env = names, help, metavar, off, env
        self.least, self.most = least, most


class Argument:
    """What is known by its place."""

    def __init__(self, metavar: str, *, help: str) -> None:
        self.metavar, self.help = metavar, help


class CommandLine:
    """What one command takes. Options may stand anywhere in front of `--`, and none of them is abbreviated."""

    def __init__(
        self, name: str, described: str, *, usage: str | None = None, epilog: str | None = None
    ) -> None:
        self._name, self._described, self._usage, self._epilog = name, described, usage, epilog
        self._functions: list[tuple[Callable[..., Any], str]] = []

    def add(self, function: Callable[..., Any], title: str) -> None:
        """Take what `function` takes, its options below `title` in the help."""
        self._functions.append((function, title))

    def help(self) -> str:
        """What `--help` shows."""
        import argparse  # it writes such texts well; loading it for each run would be a tenth of a short one

        class Formatter(argparse.RawDescriptionHelpFormatter):
            def __init__(self, prog: str) -> None:
                super().__init__(prog, max_help_position=28, width=100)

        parser = argparse.ArgumentParser(
            self._name,
            self._usage,
            _dedented(self._described),
            self._epilog,
            formatter_class=Formatter,
            add_help=False,
        )
        for function, title in self._functions:
            group = parser.add_argument_group(title)
            for name, (kind, mark, needed, default) in _parameters(function).items():
                if isinstance(mark, Argument):
                    many = "+" if kind is list else None if needed else "?"
                    parser.add_argument(name, metavar=mark.metavar, help=mark.help, nargs=many)
                    continue
                told = (mark.help + (f" [{mark.env}]" if mark.env else "")).replace("%", "%%")
                if kind is bool:
                    group.add_argument(*mark.names, action="store_true", help=told)
                    if mark.off:
                        group.add_argument(mark.off, action="store_true", help="The default.")
                    continue
                if kind in (int, float) and default is not None:
                    told += f" Default: {default:g}."
                metavar = mark.metavar or {int: "N", float: "NUMBER", str: "TEXT"}.get(kind, "PATH")
                group.add_argument(*mark.names, required=needed, metavar=metavar, help=told)
        return parser.format_help()

    def read(self, words: Sequence[str]) -> list[dict[str, Any]]:
        """The arguments of each function, in the order of `add`; raises Misuse."""
        taken = [_parameters(function) for function, _ in self._functions]
        everything = {name: each for parameters in taken for name, each in parameters.items()}
        try:
            values = _read(words, everything)
        except ValueError as error:
            raise Misuse(f"{error} ({self._name} --help tells more)") from None
        return [{name: values[name] for name in parameters} for parameters in taken]


def _read(words: Sequence[str], parameters: Mapping[str, "_Parameter"]) -> dict[str, Any]:
    """The value of each parameter; raises ValueError that says what is wrong."""
    options = {
        spelled: (name, each)
        for name, each in parameters.items()
        if isinstance(each.mark, Option)
        for spelled in (*each.mark.names, *filter(None, [each.mark.off]))
    }
    values: dict[str, Any] = {}
    places: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            places += left
        elif word == "-" or not word.startswith("-"):
            places.append(word)
        else:
            spelled, equals, value = _split(word)
            if spelled not in options:
                raise ValueError(f"there is no option {spelled}")
            name, each = options[spelled]
            if each.kind is bool:
                if equals:
                    raise ValueError(f"{spelled} takes no value")
                values[name] = isinstance(each.mark, Option) and spelled != each.mark.off
                continue
            value = value if equals else next(left, None)
            if value is None:
                raise ValueError(f"{spelled} needs a value")
            values[name] = _converted(spelled, value, each)
    for name, each in parameters.items():
        if isinstance(each.mark, Argument):
            _take_place(name, each, places, values)
        elif name not in values:
            values[name] = _unless_given(each)
    if places:
        raise ValueError(f"{places[0]!r} is one argument too many")
    return values


def _split(word: str) -> tuple[str, bool, str | None]:
    """`--name=value` and `-nvalue` in parts: the option, whether there is a value, the value."""
    if word.startswith("--"):
        spelled, equals, value = word.partition("=")
        return spelled, bool(equals), value
    return word[:2], len(word) > 2, word[2:].removeprefix("=")


def _take_place(name: str, parameter: "_Parameter", places: list[str], values: dict[str, Any]) -> None:
    assert isinstance(parameter.mark, Argument)
    if not places:
        if parameter.needed:
            raise ValueError(f"{parameter.mark.metavar} is missing")
        values[name] = parameter.default
    elif parameter.kind is list:
        values[name] = places[:]
        places.clear()
    else:
        values[name] = parameter.kind(places.pop(0))


def _unless_given(parameter: "_Parameter") -> Any:
    """The value of an option that isn't among the words."""
    mark = parameter.mark
    assert isinstance(mark, Option)
    named = os.environ.get(mark.env) if mark.env else None
    if named:
        return _converted(str(mark.env), named, parameter)
    if parameter.needed:
        raise ValueError(f"{mark.names[0]} is missing")
    return parameter.default


def _converted(spelled: str, text: str, parameter: "_Parameter") -> Any:
    mark = parameter.mark
    assert isinstance(mark, Option)
    try:
        value = parameter.kind(text)
    except ValueError:
        raise ValueError(f"{spelled}: {text!r} is not a number") from None
    if mark.least is not None and not value >= mark.least:
        raise ValueError(f"{spelled}: {text} is less than {mark.least:g}")
    if mark.most is not None and not value <= mark.most:
        raise ValueError(f"{spelled}: {text} is more than {mark.most:g}")
    return value


class _Parameter(NamedTuple):
    """A parameter of a command's function; `kind` is its type, `list` for many texts."""

    kind: type
    mark: Option | Argument
    needed: bool
    default: Any


def _parameters(function: Callable[..., Any]) -> dict[str, _Parameter]:
    """What is annotated of a function's parameters."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    defaults: Sequence[Any] = function.__defaults__ or ()
    found: dict[str, _Parameter] = {}
    for place, name in enumerate(names):
        annotation = function.__annotations__[name]
        if not hasattr(annotation, "__metadata__"):
            continue  # it is not from the command line
        [mark] = annotation.__metadata__
        kind = annotation.__origin__
        if get_origin(kind) is list:
            kind = list
        elif get_args(kind):  # T | None
            kind = get_args(kind)[0]
        behind = place - (len(names) - len(defaults))
        found[name] = _Parameter(kind, mark, behind < 0, None if behind < 0 else defaults[behind])
    return found


def _dedented(text: str) -> str:
    first, _, rest = text.partition("\n")
    lines = rest.splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join([first, *(line[margin:] for line in lines)]).strip()
