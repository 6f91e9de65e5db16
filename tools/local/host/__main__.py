"""The command: `python -m tools.local.host [--root DIR] [--host ADDRESS] [--port N]`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.local.host import logs
from tools.local.host.appsettings import apply_local_settings
from tools.local.host.errors import HostError
from tools.local.host.hostjson import read_host_json
from tools.local.host.loading import load_app
from tools.local.host.server import DEFAULT_GRACE, options_from_environment, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 after a clean stop, 1 otherwise."""
    chosen = _parser().parse_args(arguments)
    root: Path = chosen.root.resolve()
    try:
        settings = read_host_json(root / "host.json")
        logs.configure(chosen.log_format, settings.log_level)
        apply_local_settings(root / "local.settings.json")
        state = chosen.state or root / ".local" / "host"
        options = options_from_environment(chosen.host, chosen.port, state, chosen.grace, os.environ)
        app = load_app(root)
        return 0 if asyncio.run(serve(app, settings, options)) else 1
    except HostError as error:
        print(f"The host can't start.\n{error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.local.host", description=main.__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="folder of function_app.py and host.json")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=7071, help="0 lets the system choose (default: %(default)s)"
    )
    parser.add_argument(
        "--state", type=Path, help="folder for function keys (default: .local/host in the root)"
    )
    parser.add_argument(
        "--grace", type=float, default=DEFAULT_GRACE, help="seconds to finish (default: %(default)g)"
    )
    parser.add_argument("--log-format", choices=("json", "text"), default="json", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
