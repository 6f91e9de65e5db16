"""The command: `python -m tools.local.up [--host local|func]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.local.azurite import InstallFailed
from tools.local.azurite.install import PROJECT
from tools.local.processes import ProcessFailed
from tools.local.up.secrets import SecretsUnreadable
from tools.local.up.settings import SettingsError, read_settings
from tools.local.up.stack import PREPARATIONS, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Start Azurite, Redis, the Service Bus and the Functions host, and stop them together."""
    parser = argparse.ArgumentParser(prog="python -m tools.local.up", description=main.__doc__)
    parser.add_argument(
        "--host", choices=("local", "func"), default="local", help="whose host (default: %(default)s)"
    )
    parser.add_argument(
        "--root", type=Path, default=PROJECT, help="folder of the function app (default: this project)"
    )
    parser.add_argument("--no-prepare", action="store_true", help="neither migrate nor reconcile first")
    chosen = parser.parse_args(arguments)
    preparations = () if chosen.no_prepare else PREPARATIONS
    try:
        settings = read_settings()
        return run(settings, chosen.root, preparations, core_tools=chosen.host == "func", say=_say)
    except (SettingsError, SecretsUnreadable, InstallFailed, ProcessFailed) as error:
        print(error, file=sys.stderr)
        return 1


def _say(line: str) -> None:
    # Whoever reads this through a pipe wants each line when it is said.
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
