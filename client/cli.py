"""The command `strata`: its commands, and the one place where an error becomes an exit code."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Any

from client.errors import CommandFailed, Ended, LocalProblem, Misuse, Stopped, Unexpected
from client.screen import Screen, print_out

EXIT_CODES = """\
Exit codes: 0 done, 1 unexpected, 2 usage, 3 not logged in or refused, 4 not found, 5 conflict (changed on the
server, or the name is taken), 6 refused input (name, size, quota), 7 server away, 8 local file problem,
9 content failed its verification, 10 a sync is held until it is confirmed, 130 interrupted."""

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
"""The commands by the panel of --help that shows them and the module that has them, which is loaded for its own."""

_WITH_VALUE = ("--url", "--home")
"""Options that may stand before the command's name, and are followed by a word of their own."""


def main() -> int:
    """The entry point of `strata`: run the command and return its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    code = run(sys.argv[1:])
    # The interpreter looks through everything once more before it ends: what is frozen is left out.
    gc.freeze()
    return code


def run(given: list[str]) -> int:
    """Run the command with these arguments and return its exit code; whatever fails becomes one."""
    # What a start makes stays: looking through it for garbage as often as usual takes a tenth of a short command.
    gc.set_threshold(100_000, 20, 20)
    Screen.has_told = False
    try:
        return _run(given)
    except Ended as end:
        return end.exit_code
    except CommandFailed as error:
        failure = error
    except KeyboardInterrupt:
        failure = Stopped()
    except BrokenPipeError:
        # Who read the output has had enough. What is still held for it would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Unexpected.exit_code
    except OSError as error:
        failure = LocalProblem(f"{error.filename or 'this machine'}: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - the last line: whatever it is, a script gets its exit code
        if os.environ.get("STRATA_DEBUG"):
            import traceback

            traceback.print_exc()
        failure = Unexpected(f"{type(error).__name__}: {error} (STRATA_DEBUG=1 shows where)")
    # Parsing the arguments may be what has failed.
    Screen(as_json="--json" in given, quiet=False).fail(failure)
    return failure.exit_code


def _run(given: list[str]) -> int:
    place = _place_of_name(given)
    before = given[:place]
    if place == len(given) or {"-h", "--help", "--version"} & set(before):
        return _about(before)
    name, function = given[place], _function(given[place])
    from client.arguments import CommandLine
    from client.options import common

    line = CommandLine(f"strata {name}", function.__doc__ or "")
    line.add(function, "options")
    line.add(common, "with every command")
    words = before + given[place + 1 :]
    if {"-h", "--help"} & set(words[: words.index("--")] if "--" in words else words):
        print_out(line.help())
        return 0
    own, shared = line.read(words)
    function(common(**shared), **own)
    return 0


def _place_of_name(given: Sequence[str]) -> int:
    """Where the command's name stands, behind the last word where there is none."""
    skip = False
    for place, word in enumerate(given):
        if skip or word in _WITH_VALUE:
            skip = not skip
        elif not word.startswith("-"):
            return place
    return len(given)


def _function(name: str) -> Callable[..., None]:
    for modules in COMMANDS.values():
        for module, names in modules.items():
            if name in names:
                function: Callable[..., None] = getattr(import_module(module), name)
                return function
    raise Misuse(f"there is no command {name!r} (strata --help shows those that there are)")


def _about(options: Sequence[str]) -> int:
    """What is told without a command."""
    if "--version" in options:
        from importlib.metadata import version

        print_out(f"strata {version('strata')}")
        return 0
    if options and not {"-h", "--help"} & set(options):
        raise Misuse("say what to do (strata --help shows the commands)")
    print_out(_help())
    return 0


def _help() -> str:
    from client.arguments import CommandLine
    from client.options import common

    described = _DESCRIPTION + "".join(_panels())
    line = CommandLine("strata", described, usage="strata [options] COMMAND …", epilog=EXIT_CODES)
    line.add(common, "options, before the command or behind it")
    return line.help()


_DESCRIPTION = """Keep files on a Strata server: send them up, fetch them, see what is there.

Begin with `strata register` and `strata login`, then `strata up FILE`. Each command has its own --help.
"""


def _panels() -> list[str]:
    panels: list[str] = []
    for panel, modules in COMMANDS.items():
        panels.append(f"\n{panel}\n")
        for names in modules.values():
            for name in names:
                first: Any = (_function(name).__doc__ or "").partition("\n")[0]
                panels.append(f"  {name:<10} {first}\n")
    return panels


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Being ended politely is being interrupted: nothing half there."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
