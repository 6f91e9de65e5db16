"""The options that every command has, whether they are written before its name or behind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from client.connection import Place
from client.screen import Screen

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="STRATA_URL",
        help="The server; default: that of the login, else http://127.0.0.1:7071.",
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="STRATA_HOME",
        help="The folder with the login; default: `strata` in the user's config folder.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no notes; failures are shown.")
]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=1, max=32, help="How many requests are under way at once.")
]


@dataclass(frozen=True, slots=True)
class Common:
    """The options before the command's name."""

    place: Place
    as_json: bool
    quiet: bool


def common(url: str | None, home: Path | None, as_json: bool, quiet: bool) -> Common:
    return Common(Place(url or None, home or Path(platformdirs.user_config_dir("strata"))), as_json, quiet)


def screen_of(context: typer.Context, as_json: bool, quiet: bool) -> Screen:
    before: Common = context.obj
    return Screen(as_json=as_json or before.as_json, quiet=quiet or before.quiet)


def place_of(context: typer.Context) -> Place:
    before: Common = context.obj
    return before.place
