"""Each pair of changes played once on two devices: what they do, and what has to come of it.

One file `d/f` with the content "old" is in step everywhere. Device A ("here") and device B ("there") both change it
while offline; B comes back first. The tables say what all devices show in the end, by path.
"""

from client.sync.rules import Change, Meeting, Rules
from client.sync.trees import Content, Names
from tests.property.sync_device import ModelDevice, settle
from tests.property.sync_server import ModelServer

Tree = dict[str, str]
"""The files of a tree: path and token; folders as a path with a slash at its end, and ""."""

A, S, E, M, ME = Change.ABSENT, Change.SAME, Change.EDITED, Change.MOVED, Change.MOVED_EDITED

COPY = " (conflicted copy, A, 2026-11-22)"

FILES: dict[tuple[Change, Change], Tree] = {
    (A, A): {},
    (A, S): {},
    (A, E): {"d/f": "theirs"},
    (A, M): {"d/g": "old"},
    (A, ME): {"d/g": "theirs"},
    (S, A): {},
    (S, S): {"d/f": "old"},
    (S, E): {"d/f": "theirs"},
    (S, M): {"d/g": "old"},
    (S, ME): {"d/g": "theirs"},
    (E, A): {"d/f": "mine"},
    (E, S): {"d/f": "mine"},
    (E, E): {"d/f": "theirs", f"d/f{COPY}": "mine"},
    (E, M): {"d/g": "mine"},
    (E, ME): {"d/g": "theirs", f"d/g{COPY}": "mine"},
    (M, A): {"d/F": "old"},
    (M, S): {"d/F": "old"},
    (M, E): {"d/F": "theirs"},
    (M, M): {"d/g": "old"},
    (M, ME): {"d/g": "theirs"},
    (ME, A): {"d/F": "mine"},
    (ME, S): {"d/F": "mine"},
    (ME, E): {"d/F": "theirs", f"d/F{COPY}": "mine"},
    (ME, M): {"d/g": "mine"},
    (ME, ME): {"d/g": "theirs", f"d/g{COPY}": "mine"},
}
"""Here the name becomes `F` (only the case: so a file that moves and changes at once is still recognised)."""

FOLDERS: dict[tuple[Change, Change], Tree] = {
    (A, A): {},
    (A, S): {},
    (A, M): {"g/": "", "g/f": "old"},
    (S, A): {},
    (S, S): {"d/": "", "d/f": "old"},
    (S, M): {"g/": "", "g/f": "old"},
    (M, A): {"h/": "", "h/f": "old"},
    (M, S): {"h/": "", "h/f": "old"},
    (M, M): {"g/": "", "g/f": "old"},
}
"""The same for the folder `d` with the file in it, which is `h` here when it was moved, and `g` there."""

MET: dict[Meeting, tuple[Tree, Tree, Tree]] = {
    Meeting.EQUAL: ({"x": "same"}, {"x": "same"}, {"x": "same"}),
    Meeting.DIFFERENT: ({"x.txt": "mine"}, {"x.txt": "theirs"}, {"x.txt": "theirs", f"x{COPY}.txt": "mine"}),
    Meeting.FOLDERS: ({"x/a": "1"}, {"x/b": "2"}, {"x/": "", "x/a": "1", "x/b": "2"}),
    Meeting.FOLDER_AND_FILE: (
        {"x/a": "mine"},
        {"x": "theirs"},
        {"x": "theirs", f"x{COPY}/": "", f"x{COPY}/a": "mine"},
    ),
    Meeting.NAME_CLASH: ({"x": "mine"}, {"X": "theirs"}, {"X": "theirs", "x (name clash, A)": "mine"}),
}
"""What is made here, what is made there, and what comes of it."""


def play_file(pair: tuple[Change, Change], rules: Rules) -> tuple[Tree, set[str]]:
    """What all devices show, and the names of the rules that device A's first plan gave."""
    here, there = _two_with({"d/f": "old"}, rules)
    there_change, here_change = pair[1], pair[0]
    if there_change in (M, ME):
        there.move(("d", "f"), ("d", "g"))
        there.sync()
    if there_change in (E, ME):
        there.write(("d", "g" if there_change is ME else "f"), "theirs")
    if there_change is A:
        there.delete(("d", "f"))
    if here_change in (M, ME):
        here.move(("d", "f"), ("d", "F"))
    if here_change in (E, ME):
        here.write(("d", "F" if here_change is ME else "f"), "mine")
    if here_change is A:
        here.delete(("d", "f"))
    return _outcome(here, there, without_folders=True)


def play_folder(pair: tuple[Change, Change], rules: Rules) -> tuple[Tree, set[str]]:
    here, there = _two_with({"d/f": "old"}, rules)
    for device, change, name in ((there, pair[1], "g"), (here, pair[0], "h")):
        if change is M:
            device.move(("d",), (name,))
        elif change is A:
            device.delete(("d",))
    return _outcome(here, there)


def play_meeting(meeting: Meeting, rules: Rules) -> tuple[Tree, set[str]]:
    here, there = _two_with({}, rules)
    for device, made in ((here, MET[meeting][0]), (there, MET[meeting][1])):
        for path, token in made.items():
            device.write(tuple(path.split("/")), token)
    return _outcome(here, there)


def two_devices(rules: Rules | None = None) -> tuple[ModelDevice, ModelDevice]:
    """Two that belong to one user, with nothing in them."""
    server = ModelServer()
    return ModelDevice("A", server, rules or Rules()), ModelDevice("B", server, rules or Rules())


def shown(tree: dict[Names, Content | None]) -> Tree:
    return {
        "/".join(path) + ("" if content else "/"): content.root_hash if content else ""
        for path, content in tree.items()
    }


def _two_with(made: Tree, rules: Rules) -> tuple[ModelDevice, ModelDevice]:
    here, there = two_devices(rules)
    for path, token in made.items():
        here.write(tuple(path.split("/")), token)
    settle([here, there])
    return here, there


def _outcome(
    here: ModelDevice, there: ModelDevice, *, without_folders: bool = False
) -> tuple[Tree, set[str]]:
    there.sync()
    rules = {action.rule.name for action in here.plan().actions}
    settle([here, there])
    tree = shown(here.server.paths())
    if without_folders:
        tree = {path: token for path, token in tree.items() if token}
    return tree, rules
