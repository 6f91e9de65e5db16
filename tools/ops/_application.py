"""The application for a command line: built from the environment, closed at the end, mistakes in plain words."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from shared.config import SettingsError, load
from shared.container import Application, build
from shared.domain.errors import StrataError


def run(command: Callable[[Application], Awaitable[int]]) -> int:
    """Run `command` and return its exit code; 1 with one line on stderr for what the application refuses."""

    async def main() -> int:
        application = build(load(os.environ))
        try:
            return await command(application)
        finally:
            await application.close()

    try:
        return asyncio.run(main())
    except (SettingsError, StrataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
