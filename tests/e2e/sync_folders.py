"""Devices with a folder each, for the tests of `strata sync`."""

import json
import os
import random
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.connection import anonymous
from client.credentials import CredentialsFile
from tests.support.system import PASSWORD, Strata

Tree = dict[str, bytes | None]
"""What is in a folder, by path: a file's content, None for a folder."""


def tree_of(root: Path) -> Tree:
    """Everything below `root` but symbolic links."""
    tree: Tree = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            tree[path.relative_to(root).as_posix()] = None
        elif stat.S_ISREG(mode):
            tree[path.relative_to(root).as_posix()] = path.read_bytes()
    return tree


@dataclass(frozen=True)
class Device:
    """One STRATA_HOME and the folder that it keeps in step."""

    strata: Strata
    folder: Path

    def sync(self, *options: str) -> dict[str, Any]:
        """One run that has to succeed; returns its document."""
        document: dict[str, Any] = self.strata.json("sync", self.folder, *options)
        return document

    def try_sync(self, *options: str) -> tuple[int, dict[str, Any]]:
        """One run that may fail: its exit code and document."""
        done = self.strata.run("--json", "sync", self.folder, *options)
        return done.returncode, json.loads(done.stdout)

    def start(self, *options: str) -> "subprocess.Popen[str]":
        return self.strata.start("--json", "sync", self.folder, *options)

    @property
    def tree(self) -> Tree:
        return tree_of(self.folder)

    def write(self, path: str, content: bytes) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def sign_up(place: Path, url: str, username: str, count: int) -> list[Device]:
    """So many devices of a new user; without a process for each step, since every test begins like this."""
    devices = []
    with anonymous(url) as accounts:
        accounts.register(username, PASSWORD)
        for number in range(count):
            device = Device(Strata(place / f"home-{number}", url), place / f"folder-{number}")
            device.folder.mkdir(parents=True)
            login = accounts.login(
                url, username, PASSWORD, device_name=f"device {number}", platform="test", device_id=None
            )
            CredentialsFile(device.strata.home).write(login)
            devices.append(device)
    return devices


def until_equal(devices: list[Device], *, most: int = 6) -> Tree:
    """Sync in turn until nobody has anything to do; returns the tree that all have then."""
    for _ in range(most):
        done = [device.sync()["done"] for device in devices]
        if not any(any(counts.values()) for counts in done):
            break
    else:
        raise AssertionError("the devices don't come to an end")
    first, *others = (device.tree for device in devices)
    for other in others:
        assert other == first
    return first


def chance() -> random.Random:
    """Randomness that a failing test can be repeated with: REPEAT_SEED is what it printed."""
    seed = int(os.environ.get("REPEAT_SEED") or random.randrange(2**32))
    print(f"seed {seed}")
    return random.Random(seed)
