"""Command lines from functions: what a command takes is the signature of the function that does it.

    def up(common: Common, paths: Annotated[list[str], Argument("LOCAL...", help="…")],
           jobs: Annotated[int, Option("--jobs", "-j", least=1, help="…")] = 8) -> None:
        \"""Make local files the current content of remote ones.\"""

becomes `strata up LOCAL... [--jobs N]`, with the docstring for its --help. A parameter without a default must be given.
argparse does the parsing: it is there, and loaded in a tenth of the time of what can do more.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, get_args, get_origin

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
        parser = _Parser(self._name, _dedented(self._described), self._usage, self._epilog)
        for function, title in self._functions:
            group = parser.add_argument_group(title)
            for name, parameter in _parameters(function).items():
                _add(group if isinstance(parameter.mark, Option) else parser, name, parameter)
        return parser.format_help()

    def read(self, words: Sequence[str]) -> list[dict[str, Any]]:
        """The arguments of each function, in the order of `add`; raises Misuse."""
        # argparse can't take options among the words of a list and mind `--` as well, so each has a parser.
        options, places = _Parser(self._name), _Parser(self._name)
        taken = [_parameters(function) for function, _ in self._functions]
        for parameters in taken:
            for name, parameter in parameters.items():
                _add(options if isinstance(parameter.mark, Option) else places, name, parameter)
        end = words.index("--") if "--" in words else len(words)
        found, others = options.parse_known_args(words[:end])
        unknown = [word for word in others if word.startswith("-") and word != "-"]
        if unknown:
            options.error(f"there is no option {unknown[0]}")
        words = [*others, *words[end + 1 :]]
        values = vars(found) | vars(places.parse_args(["--", *words] if words else []))
        return [{name: values[name] for name in parameters} for parameters in taken]


class _Parser(argparse.ArgumentParser):
    """Raises Misuse instead of ending the process."""

    def __init__(
        self,
        name: str,
        description: str | None = None,
        usage: str | None = None,
        epilog: str | None = None,
    ) -> None:
        super().__init__(
            prog=name,
            description=description,
            usage=usage,
            epilog=epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )

    def error(self, message: str) -> NoReturn:
        raise Misuse(f"{message} ({self.prog} --help tells more)")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # Asking the terminal for its width takes longer than all the rest, and is done for each option.
        super().__init__(prog, max_help_position=28, width=100)


class _Parameter(NamedTuple):
    """A parameter of a command's function; `kind` is its type, `list` for many texts."""

    kind: type
    mark: Option | Argument
    needed: bool
    default: Any


def _add(to: "argparse._ActionsContainer", name: str, parameter: _Parameter) -> None:
    kind, mark, needed, default = parameter
    if isinstance(mark, Option):
        _add_option(to, name, kind, mark, needed=needed, default=default)
        return
    many = "+" if kind is list else None if needed else "?"
    place = to.add_argument(name, metavar=mark.metavar, help=mark.help, nargs=many, default=default)
    place.type = None if kind is list else kind


def _add_option(
    group: "argparse._ActionsContainer", name: str, kind: type, mark: Option, *, needed: bool, default: Any
) -> None:
    told = mark.help
    if mark.env:
        told += f" [{mark.env}]"
        default = kind(os.environ[mark.env]) if os.environ.get(mark.env) else default
    # A percent sign is argparse's own there.
    told = told.replace("%", "%%")
    if kind is bool:
        group.add_argument(*mark.names, dest=name, action="store_true", default=default, help=told)
        if mark.off:
            group.add_argument(
                mark.off, dest=name, action="store_false", default=default, help="The default."
            )
        return
    group.add_argument(
        *mark.names,
        dest=name,
        type=_bounded(kind, mark),
        default=default,
        required=needed,
        metavar=mark.metavar or {int: "N", float: "NUMBER", str: "TEXT"}.get(kind, "PATH"),
        help=told + (f" Default: {default}." if kind in (int, float) and default is not None else ""),
    )


def _bounded(kind: type, mark: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if mark.least is not None and not value >= mark.least:
            raise argparse.ArgumentTypeError(f"{text} is less than {mark.least:g}")
        if mark.most is not None and not value <= mark.most:
            raise argparse.ArgumentTypeError(f"{text} is more than {mark.most:g}")
        return value

    return read


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
