"""Lives: what people do in the folders of some devices while `strata sync` runs there, is killed, and loses its server.

Real processes on real disks: a seed says what is attempted, not what comes in between, and the log tells what was done.
People here know what they overwrite and delete, to the byte: whatever they do is one rename, and what it displaced is
looked at afterwards. So it can be said of each content whether somebody let it go.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Self

from client.errors import Unexpected
from client.sync.ignoring import is_part
from client.sync.matching import composed
from client.sync.renames import exchange, move_to_free
from tests.e2e.sync_folders import Device, Tree

NAMES = ("a", "b", "A", "c.txt", "\u00e9", "e\u0301")
"""Few, so that things meet; some can't be kept apart by some systems."""

DEEPEST = 4
ROUNDS = 10

_KIB = 1024


class Life:
    """Devices with their users, who do what `chance` says; a context manager, which leaves no sync running.

    `log` is what was done, for whoever has to find out why.
    """

    def __init__(self, devices: list[Device], chance: random.Random) -> None:
        self.log: list[str] = []
        self._chance = chance
        self._users = [_User(device, self._content) for device in devices]
        self._count = 0
        self._written: dict[str, str] = {}
        self._running: dict[_User, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._running.values():
            run.kill()
            run.communicate()

    def go_on(self, steps: int, *, outage: Callable[[], None] | None = None) -> None:
        """So many deeds; `outage` has the server away for a moment. Raises AssertionError for a sync that broke."""
        for _ in range(steps):
            user = self._chance.choice(self._users)
            syncs = (self._sync, self._sync, self._sync_killed, self._sync_amid, self._meet, self._meet)
            deed = self._chance.choice((*_WORK, *_WORK, *syncs))
            if outage and self._chance.random() < 0.02:
                self._start(user)
                time.sleep(self._chance.uniform(0, 0.3))
                self._say(user, "the server goes away, and comes back")
                outage()
                self._end(user)
            elif deed in _WORK:
                self._work(user, deed)
            else:
                deed(user)

    def watch(self, seconds: float) -> None:
        """Work for so long while every folder is watched; the watches end politely or are killed."""
        for user in self._users:
            self._start(user, "--watch", "--interval", "1")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._work(self._chance.choice(self._users), self._chance.choice(_WORK), running=True)
            time.sleep(self._chance.choice((0, 0.02, 0.1, 0.3)))
        for user in self._users:
            self._running[user].send_signal(self._chance.choice((signal.SIGKILL, signal.SIGINT)))
            self._end(user)

    def come_to_rest(self) -> Tree:
        """Sync until nobody has anything to do; returns the tree that all have then.

        Raises AssertionError when they don't end or aren't equal, or a content is nowhere that nobody let go.
        """
        for _ in range(ROUNDS):
            done = [user.device.sync("--confirm")["done"] for user in self._users]
            if not any(any(counts.values()) for counts in done):
                break
        else:
            raise AssertionError(f"no end: {done}")
        first, *others = (user.tree() for user in self._users)
        for other in others:
            differ = {
                path for path in first.keys() | other.keys() if first.get(path, b"") != other.get(path, b"")
            }
            assert other == first, f"not equal: {sorted(differ)}"
        gone = set().union(*(user.let_go for user in self._users))
        there = {_mark(content) for content in first.values() if content is not None}
        lost = self._written.keys() - gone - there
        assert not lost, f"lost: {[self._written[each] for each in lost]}"
        for user in self._users:
            verified = user.device.strata.run("verify", user.device.folder)
            assert verified.returncode == 0, verified.stdout + verified.stderr
        return first

    def _content(self) -> bytes:
        self._count += 1
        size = self._chance.choice((40, 40, 3 * _KIB, 200 * _KIB, 3_000 * _KIB))
        return b"%d " % self._count + self._chance.randbytes(self._chance.randrange(1, size))

    def _work(self, user: "_User", deed: "_Deed", *, running: bool = False) -> None:
        try:
            told = deed(user, self._chance, running)
        except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            told = f"can't, {type(error).__name__}"  # a sync was faster: nothing has been done
        if told:
            self._say(user, told)
            self._written |= dict.fromkeys(user.taken_written(), self.log[-1])

    def _sync(self, user: "_User") -> None:
        self._start(user)
        if self._chance.random() < 0.3:
            other = self._chance.choice(self._users)
            if other is not user:
                self._start(other)
                self._end(other)
        self._end(user)

    def _sync_amid(self, user: "_User") -> None:
        """A sync while its user goes on working."""
        self._start(user)
        for _ in range(self._chance.randrange(1, 6)):
            time.sleep(self._chance.choice((0, 0.02, 0.06, 0.1)) * self._chance.random())
            self._work(user, self._chance.choice(_WORK), running=True)
        self._end(user)

    def _meet(self, user: "_User") -> None:
        """Another device has changed a file, and while that comes here, this user does something with it, too."""
        other = self._chance.choice([each for each in self._users if each is not user])
        shared = sorted(user.files() & other.files())
        if not shared:
            return
        path = self._chance.choice(shared)
        self._work(other, self._chance.choice((_saving(path), _saving(path), _deleting(path))))
        self._start(other)
        self._end(other)
        # Slowly, so that there is time for that.
        self._start(user, "--limit-down", "4000")
        time.sleep(self._chance.uniform(0.08, 0.3))
        theirs = self._chance.choice((_saving(path), _saving(path), _deleting(path), _moving(path)))
        self._work(user, theirs, running=True)
        self._end(user)

    def _sync_killed(self, user: "_User") -> None:
        self._start(user)
        time.sleep(self._chance.uniform(0.03, 0.35))
        with_what = self._chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
        self._say(user, with_what.name)
        self._running[user].send_signal(with_what)
        self._end(user)

    def _start(self, user: "_User", *options: str) -> None:
        self._say(user, " ".join(("sync", *options)))
        self._running[user] = user.device.start("--confirm", *options)

    def _end(self, user: "_User") -> None:
        run = self._running[user]
        out, err = run.communicate(timeout=120)
        del self._running[user]
        # Before the command's own first line and behind its last, an interrupt is Python's to tell.
        assert "Traceback" not in err or err.rstrip(": \n").endswith("KeyboardInterrupt"), err
        assert run.returncode != Unexpected.exit_code or "KeyboardInterrupt" in err, out + err
        assert "--watch" in run.args or out.count("\n") <= 1, out
        for line in out.splitlines():
            did = {what: count for what, count in json.loads(line).get("done", {}).items() if count}
            self._say(user, f"did {did}")
        self._say(user, f"ended with {run.returncode}")

    def _say(self, user: "_User", what: str) -> None:
        self.log.append(f"{len(self.log)} {user.device.folder.name}: {what}")


class _User:
    """Whoever works in a device's folder; `let_go` are the contents that they have overwritten or deleted."""

    def __init__(self, device: Device, content: Callable[[], bytes]) -> None:
        self.device = device
        self.let_go: set[str] = set()
        self._content = content
        self._desk = device.folder.with_name(f"{device.folder.name}-desk")
        self._desk.mkdir()
        self._new: list[str] = []

    def taken_written(self) -> list[str]:
        """What was written since this was asked."""
        new, self._new = self._new, []
        return new

    def tree(self) -> Tree:
        """The folder, in the server's spelling."""
        tree = self.device.tree
        return {composed(path): it for path, it in tree.items() if not is_part(path.rpartition("/")[2])}

    def place(self, chance: random.Random) -> Path:
        folders = [self.device.folder, *(path for path in self._paths() if path.is_dir())]
        shallow = [path for path in folders if len(path.relative_to(self.device.folder).parts) < DEEPEST]
        return chance.choice(shallow) / chance.choice(NAMES)

    def some(self, chance: random.Random, *, files: bool = False) -> Path:
        """One of the things that are there; raises FileNotFoundError."""
        paths = [path for path in self._paths() if path.is_file() or not files]
        if not paths:
            raise FileNotFoundError
        return chance.choice(paths)

    def files(self) -> set[Path]:
        """The files that are there, by their paths in the folder."""
        return {path.relative_to(self.device.folder) for path in self._paths() if path.is_file()}

    def write(self, place: Path) -> str:
        """A new file, if its place is free."""
        draft, content = self._draft()
        _rename(draft, place)
        self.wrote(content)
        return f"writes {self.shown(place)}, {len(content)} bytes"

    def save(self, place: Path) -> str:
        """As most editors do: another file takes the place of the old one."""
        draft, content = self._draft()
        _swap_names(draft, place)
        if not draft.is_file():
            _swap_names(draft, place)
            raise IsADirectoryError
        self.wrote(content)
        self._let_go_of(draft)
        return f"saves {self.shown(place)}, {len(content)} bytes"

    def delete(self, path: Path) -> str:
        away = self._desk / "away"
        _rename(path, away)
        self._let_go_of(away)
        return f"deletes {self.shown(path)}"

    def move(self, source: Path, target: Path) -> str | None:
        if target.is_relative_to(source):
            return None
        _rename(source, target)
        return f"moves {self.shown(source)} to {self.shown(target)}"

    def wrote(self, content: bytes) -> None:
        self._new.append(_mark(content))

    def shown(self, path: Path) -> str:
        return path.relative_to(self.device.folder).as_posix()

    def _draft(self) -> tuple[Path, bytes]:
        """A file with a new content, not in the folder yet."""
        content = self._content()
        draft = self._desk / "draft"
        draft.write_bytes(content)
        return draft, content

    def _let_go_of(self, away: Path) -> None:
        """Remove what is on the desk, knowing what it was."""
        for each in [away] if away.is_file() else away.rglob("*"):
            if each.is_file() and not is_part(each.name):
                self.let_go.add(_mark(each.read_bytes()))
        if away.is_file():
            away.unlink()
        else:
            shutil.rmtree(away)

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.device.folder.rglob("*") if not is_part(path.name))


_Deed = Callable[[_User, random.Random, bool], str | None]
"""Something that a user does; returns what was done. Raises OSError when it can't be; the last argument says whether
a sync is running here."""


def _write(user: _User, chance: random.Random, running: bool) -> str:
    return user.write(user.place(chance))


def _save(user: _User, chance: random.Random, running: bool) -> str:
    return user.save(user.some(chance, files=True))


def _save_in_place(user: _User, chance: random.Random, running: bool) -> str | None:
    """As some programs do, perhaps with the same size; nobody could say what that displaces while a sync runs."""
    if running:
        return None
    place = user.some(chance, files=True)
    before = place.read_bytes()
    content = chance.randbytes(len(before)) if chance.random() < 0.5 else before + chance.randbytes(100)
    if content == before:
        return None
    with place.open("r+b") as file:
        file.write(content)
    user.let_go.add(_mark(before))
    user.wrote(content)
    return f"saves in place {user.shown(place)}, {len(before)}, then {len(content)} bytes"


def _move(user: _User, chance: random.Random, running: bool) -> str | None:
    return user.move(user.some(chance), user.place(chance))


def _swap(user: _User, chance: random.Random, running: bool) -> str | None:
    one, other = user.some(chance), user.some(chance)
    if one.is_relative_to(other) or other.is_relative_to(one):
        return None
    _swap_names(one, other)
    return f"swaps {user.shown(one)} and {user.shown(other)}"


def _delete(user: _User, chance: random.Random, running: bool) -> str | None:
    return user.delete(user.some(chance)) if chance.random() < 0.6 else None


def _make_folder(user: _User, chance: random.Random, running: bool) -> str:
    place = user.place(chance)
    place.mkdir()
    return f"makes {user.shown(place)}"


def _touch(user: _User, chance: random.Random, running: bool) -> str:
    path = user.some(chance, files=True)
    os.utime(path)
    return f"touches {user.shown(path)}"


def _saving(path: Path) -> _Deed:
    return lambda user, chance, running: user.save(user.device.folder / path)


def _deleting(path: Path) -> _Deed:
    return lambda user, chance, running: user.delete(user.device.folder / path)


def _moving(path: Path) -> _Deed:
    return lambda user, chance, running: user.move(user.device.folder / path, user.place(chance))


_WORK: tuple[_Deed, ...] = (
    _write,
    _write,
    _save,
    _save,
    _save_in_place,
    _move,
    _move,
    _swap,
    _delete,
    _make_folder,
    _touch,
)


def _rename(source: Path, target: Path) -> None:
    done = move_to_free(source, target)
    assert done, "this file system replaces what is in a name's place, so nobody knows what they overwrite"


def _swap_names(one: Path, other: Path) -> None:
    done = exchange(one, other)
    assert done, "this file system can't exchange two names, so nobody knows what they overwrite"


def _mark(content: bytes) -> str:
    return sha256(content).hexdigest()
