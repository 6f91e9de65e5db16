"""Stories: what users, networks and power cuts do to some devices, as plain numbers that can be shrunk and replayed.

A step is (device, deed, one number, another). The numbers choose among what there is at that moment, so that any list
of steps is a story. Deeds: users write, move, delete and make folders; a device syncs, or is killed after some steps of
that; it looks and acts only later, when others have changed things; its file system's numbers are right, missing or
wrong for a time; something can't be read for a time.
"""

import random
from collections.abc import Sequence

from client.sync.rules import Rules
from client.sync.trees import Content, Kind, Names
from tests.property.sync_device import (
    ModelDevice,
    check_nothing_lost,
    colliding,
    content_of,
    missing,
    reliable,
    settle,
)
from tests.property.sync_server import ModelServer

Step = tuple[int, str, int, int]

DEEDS = ("write", "save", "move", "delete", "folder", "sync", "killed", "look", "act", "numbers", "blind")
_OFTEN = ("write", "save", "move", "move", "sync", "sync", "killed", "look", "act")

NAMES = ("a", "b", "A", "c.txt", "\u00e9", "e\u0301")
"""Few, so that things meet; some can't be kept apart by some systems."""

DEEPEST = 4


def random_story(seed: int, length: int) -> list[Step]:
    chance = random.Random(seed)
    deeds = DEEDS + _OFTEN
    return [
        (chance.randrange(3), chance.choice(deeds), chance.randrange(10_000), chance.randrange(10_000))
        for _ in range(length)
    ]


def play(steps: Sequence[Step], devices: int, rules: Rules | None = None) -> list[ModelDevice]:
    """Play a story to its end, let all come to rest, and check that they are equal and that nothing is lost.

    Raises AssertionError when they don't, aren't, or something is.
    """
    server = ModelServer()
    cast = [ModelDevice(f"D{number}", server, rules or Rules()) for number in range(devices)]
    written: set[Content] = set()
    for number, (who, deed, one, other) in enumerate(steps):
        device = cast[who % devices]
        if token := _do(device, deed, one, other, f"t{number}"):
            written.add(content_of(token))
    for device in cast:
        device.under_way = []
        device.unreadable = None
    settle(cast)
    check_nothing_lost(cast, written)
    return cast


def _do(device: ModelDevice, deed: str, one: int, other: int, token: str) -> str | None:
    """Do something; returns `token` if it is a content that was written now."""
    paths = sorted(device.things)
    place = (*_pick(_folders(device), one), NAMES[other % len(NAMES)])
    if deed == "write" and place not in device.things and len(place) <= DEEPEST:
        device.write(place, token)
        return token
    files = [path for path in paths if device.things[path].kind is Kind.FILE]
    if deed == "save" and files:
        device.write(_pick(files, one), token, in_place=bool(other % 2))
        return token
    if deed == "folder" and place not in device.things and len(place) < DEEPEST:
        device.make_folder(place)
    elif deed == "move" and paths:
        source = _pick(paths, other // 7)
        if place not in device.things and place[: len(source)] != source and len(place) <= DEEPEST:
            device.move(source, place)
    elif deed == "delete" and paths and other % 2:
        device.delete(_pick(paths, one))
    elif deed == "sync":
        device.look()
        device.go_on()
    elif deed == "killed":
        device.look()
        device.act(other % 12)
    elif deed == "look":
        device.look()
    elif deed == "act":
        device.go_on()
    elif deed == "numbers":
        device.numbers = (reliable, missing, colliding)[other % 3]
    elif deed == "blind":
        device.unreadable = _pick(paths, one) if paths and other % 3 else None
    return None


def _folders(device: ModelDevice) -> list[Names]:
    return [(), *(path for path, thing in sorted(device.things.items()) if thing.kind is Kind.FOLDER)]


def _pick(choices: Sequence[Names], number: int) -> Names:
    return choices[number % len(choices)]
