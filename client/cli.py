"""The command `strata`: its commands, and the one place where an error becomes an exit code."""

import functools
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from client.errors import CommandFailed, LocalProblem, Misuse, Stopped, Unexpected
from client.options import HomeOption, JsonOption, QuietOption, UrlOption, common
from client.screen import Screen

EXIT_CODES = """Exit codes: **0** done, **1** unexpected, **2** usage, **3** not logged in or refused, **4** not found,
**5** conflict (changed on the server, or the name is taken), **6** refused input (name, size, quota),
**7** server away, **8** local file problem, **9** content failed its verification, **10** a sync is held until it is
confirmed, **130** interrupted."""

COMMANDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Files": {
        "client.transfer_commands": ("up", "down"),
        "client.browse_commands": ("ls", "rm"),
        "client.history_commands": ("mv", "mkdir"),
    },
    "Sync": {"client.sync_commands": ("sync", "status", "why", "verify")},
    "History": {
        "client.history_commands": ("history", "restore", "trash"),
        "client.undo_command": ("undo",),
    },
    "Account": {
        "client.account_commands": ("register", "login", "logout"),
        "client.device_command": ("devices",),
    },
}
"""The commands by the panel of --help that shows them and the module that has them.

A run needs one of them. Loading them all, and preparing the options of each, takes longer than most commands do.
"""


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"strata {version('strata')}")
        raise typer.Exit


def _options(
    context: typer.Context,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep files on a Strata server: send them up, fetch them, see what is there.

    Begin with `strata register` and `strata login`, then `strata up FILE`. Each command has its own --help.
    """
    context.obj = common(url, home, as_json, quiet)


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Have Ctrl-C told like every other end: typer's own way is an exit code without a word."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **named: Any) -> None:
        try:
            command(*arguments, **named)
        except KeyboardInterrupt:
            raise Stopped from None

    return wrapped


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line, as far as these arguments may need it: a word that names a command may be that command, or
    the value of an option. Without any such word, everything, since then help or a mistake is to be told about."""
    app = typer.Typer(
        name="strata",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,  # they would show local variables, passwords among them
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EXIT_CODES,
    )
    app.callback()(_options)
    named = set(arguments) if arguments and arguments[0] not in ("-h", "--help") else set()
    every = {name for modules in COMMANDS.values() for names in modules.values() for name in names}
    wanted = named & every or every
    for panel, modules in COMMANDS.items():
        for module, names in modules.items():
            for name in names:
                if name in wanted:
                    command = getattr(import_module(module), name)
                    app.command(name, rich_help_panel=panel)(_interruptible(command))
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; the entry point of `strata`."""
    # What a start makes stays: looking through it for garbage as often as usual takes a tenth of a short command.
    gc.set_threshold(20_000, 20, 20)
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Known before the arguments are parsed, since parsing may be what fails.
    screen = Screen(as_json="--json" in given, quiet=False)
    if arguments is None:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app_for(given)(args=given, prog_name="strata", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except CommandFailed as error:
        failure = error
    except TyperException as error:
        failure = Misuse(f"{error.format_message()} (strata --help tells more)")
    except typer.Abort:
        failure = Stopped()
    except OSError as error:
        failure = LocalProblem(f"{error.filename or 'this machine'}: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - the last line: whatever it is, a script gets its exit code
        if os.environ.get("STRATA_DEBUG"):
            traceback.print_exc()
        failure = Unexpected(f"{type(error).__name__}: {error} (STRATA_DEBUG=1 shows where)")
    screen.fail(failure)
    return failure.exit_code


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Being ended politely is being interrupted: nothing half there."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
