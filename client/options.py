"""The options that every command has, whether they are written before its name or behind."""

from pathlib import Path
from typing import Annotated

from client.arguments import Option
from client.place import Place
from client.screen import Screen

JobsOption = Annotated[
    int, Option("--jobs", "-j", least=1, most=32, help="How many requests are under way at once.")
]


class Common:
    """Where a command's output goes, and the server and login that it is about."""

    __slots__ = ("place", "screen")

    def __init__(self, place: Place, screen: Screen) -> None:
        self.place, self.screen = place, screen


def common(
    url: Annotated[
        str | None,
        Option(
            "--url",
            metavar="URL",
            env="STRATA_URL",
            help="The server; default: that of the login, else http://127.0.0.1:7071.",
        ),
    ] = None,
    home: Annotated[
        Path | None,
        Option(
            "--home",
            metavar="FOLDER",
            env="STRATA_HOME",
            help="The folder with the login; default: `strata` in the user's config folder.",
        ),
    ] = None,
    as_json: Annotated[bool, Option("--json", help="One JSON document on standard output.")] = False,
    quiet: Annotated[
        bool, Option("--quiet", "-q", help="No progress and no notes; failures are shown.")
    ] = False,
) -> Common:
    """What these options come to."""
    return Common(Place(url or None, home or default_home()), Screen(as_json=as_json, quiet=quiet))


def default_home() -> Path:
    """The folder with the login where STRATA_HOME names none."""
    import platformdirs  # most scripts name one

    return Path(platformdirs.user_config_dir("strata"))
