"""The rules of `strata sync`, as a table: what each side did to a node, and what comes of the pair.

One row for each pair, so that none is decided by the accident of an `if`'s order, and so that a test can put a lossy
rule in a good one's place and see that somebody notices. Three principles are behind the rows:

* What only one side changed happens on the other side, too: content and place are two things, and may change apart.
* A deletion wins only over what the other side left alone. Whoever edited or moved a thing still wants it.
* Two contents are both kept. Two places can't be: the server's is taken, since all devices see that one.

docs/sync.md shows the table; a test compares.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Change(StrEnum):
    """What one side did to a node since the base. Folders are never edited: what is in them are nodes itself."""

    ABSENT = "deleted"
    SAME = "unchanged"
    EDITED = "edited"
    MOVED = "moved"
    MOVED_EDITED = "moved and edited"


class Meeting(StrEnum):
    """What meets in one place without a common past: here something new, there something else."""

    EQUAL = "files with the same content"
    DIFFERENT = "files with different contents"
    FOLDERS = "two folders"
    FOLDER_AND_FILE = "a folder and a file"
    NAME_CLASH = "names that differ only in case or in Unicode form"


class Side(StrEnum):
    """Whose state is taken."""

    LOCAL = "local"
    REMOTE = "remote"
    BOTH = "both"


class Rule(msgspec.Struct, frozen=True):
    """A row: `name` for programs, `why` for people.

    `stays` says whether the node is there afterwards. If so, `place` and `content` say whose are taken; both sides'
    contents are two files.
    """

    name: str
    why: str
    stays: bool = True
    place: Side = Side.REMOTE
    content: Side = Side.REMOTE


_A, _S, _E, _M, _ME = Change.ABSENT, Change.SAME, Change.EDITED, Change.MOVED, Change.MOVED_EDITED
_L, _R, _B = Side.LOCAL, Side.REMOTE, Side.BOTH

IN_STEP = Rule("in_step", "Both sides are what they were.")
AGREED = Rule("agreed", "Both sides have come to the same.")

_GONE = Rule("gone_on_both", "It was deleted on both sides.", stays=False)
_DELETED_HERE = Rule("deleted_here", "It was deleted here, and unchanged on the server.", stays=False)
_DELETED_THERE = Rule("deleted_there", "It was deleted on the server, and unchanged here.", stays=False)
_EDIT_OVER_OUR_DELETE = Rule(
    "edited_there_deleted_here", "It was deleted here, but edited on the server: the edit is kept."
)
_EDIT_OVER_THEIR_DELETE = Rule(
    "edited_here_deleted_there",
    "It was deleted on the server, but edited here: the edit is kept.",
    True,
    _L,
    _L,
)
_MOVE_OVER_OUR_DELETE = Rule(
    "moved_there_deleted_here", "It was deleted here, but moved on the server: who moves a thing wants it."
)
_MOVE_OVER_THEIR_DELETE = Rule(
    "moved_here_deleted_there",
    "It was deleted on the server, but moved here: who moves a thing wants it.",
    True,
    _L,
    _L,
)
_EDITED_HERE = Rule("edited_here", "It was edited here.", content=_L)
_EDITED_THERE = Rule("edited_there", "It was edited on the server.")
_MOVED_HERE = Rule("moved_here", "It was moved or renamed here.", place=_L)
_MOVED_THERE = Rule("moved_there", "It was moved or renamed on the server.")
_BOTH_EDITED = Rule(
    "edited_on_both", "It was edited on both sides: the local state becomes a conflicted copy.", content=_B
)
_BOTH_MOVED = Rule("moved_on_both", "It was moved on both sides: the server's place is taken.")

KNOWN: Mapping[tuple[Change, Change], Rule] = {
    (_A, _A): _GONE,
    (_A, _S): _DELETED_HERE,
    (_A, _E): _EDIT_OVER_OUR_DELETE,
    (_A, _M): _MOVE_OVER_OUR_DELETE,
    (_A, _ME): _EDIT_OVER_OUR_DELETE,
    (_S, _A): _DELETED_THERE,
    (_S, _S): IN_STEP,
    (_S, _E): _EDITED_THERE,
    (_S, _M): _MOVED_THERE,
    (_S, _ME): Rule("moved_and_edited_there", "It was moved and edited on the server."),
    (_E, _A): _EDIT_OVER_THEIR_DELETE,
    (_E, _S): _EDITED_HERE,
    (_E, _E): _BOTH_EDITED,
    (_E, _M): Rule("edited_here_moved_there", "It was edited here and moved on the server.", True, _R, _L),
    (_E, _ME): Rule(
        "edited_on_both_moved_there",
        "It was edited on both sides and moved on the server: the local state becomes a conflicted copy.",
        True,
        _R,
        _B,
    ),
    (_M, _A): _MOVE_OVER_THEIR_DELETE,
    (_M, _S): _MOVED_HERE,
    (_M, _E): Rule("moved_here_edited_there", "It was moved here and edited on the server.", True, _L, _R),
    (_M, _M): _BOTH_MOVED,
    (_M, _ME): Rule(
        "moved_on_both_edited_there",
        "It was moved on both sides and edited on the server: the server's place is taken.",
    ),
    (_ME, _A): _EDIT_OVER_THEIR_DELETE,
    (_ME, _S): Rule("moved_and_edited_here", "It was moved and edited here.", True, _L, _L),
    (_ME, _E): Rule(
        "edited_on_both_moved_here",
        "It was edited on both sides and moved here: the local state becomes a conflicted copy.",
        True,
        _L,
        _B,
    ),
    (_ME, _M): Rule(
        "moved_on_both_edited_here",
        "It was moved on both sides and edited here: the server's place is taken.",
        True,
        _R,
        _L,
    ),
    (_ME, _ME): Rule(
        "moved_and_edited_on_both",
        "It was moved and edited on both sides: the server's place is taken, and the local state becomes a "
        "conflicted copy.",
        True,
        _R,
        _B,
    ),
}
"""What comes of a node that both sides knew, by (here, there). "Both edited" with equal contents is AGREED."""

MEETINGS: Mapping[Meeting, Rule] = {
    Meeting.EQUAL: Rule("met_equal", "The same content is at this path on both sides: it is the same file."),
    Meeting.DIFFERENT: Rule(
        "met_different",
        "Another file came to this path on the server: the local one becomes a conflicted copy.",
        content=_B,
    ),
    Meeting.FOLDERS: Rule("met_folders", "There is a folder at this path on both sides: they become one."),
    Meeting.FOLDER_AND_FILE: Rule(
        "met_folder_and_file",
        "A folder and a file came to one path: the one from here becomes a conflicted copy.",
        content=_B,
    ),
    Meeting.NAME_CLASH: Rule(
        "name_clash",
        "Some systems can't keep these two names apart: one of them is renamed.",
        content=_B,
    ),
}
"""What comes of two things in one place. `content` BOTH: the second gets a name of its own."""

NEW_HERE = Rule("new_here", "It is new here.")
NEW_THERE = Rule("new_there", "It is new on the server.")
FOLDER_STILL_NEEDED = Rule(
    "folder_still_needed",
    "The folder was deleted on one side, but something in it was kept: it stays for that.",
)
WITH_ITS_FOLDER = Rule(
    "kept_with_its_folder",
    "It was deleted together with its folder, and the folder was moved by the other side.",
)
CYCLE = Rule(
    "folders_into_each_other", "Two folders were moved into each other: the server's places are taken."
)
MAKING_WAY = Rule("making_way", "Its name is needed before its own new place is free.")

RECALLED = Rule("recalled", "An earlier run was stopped before it wrote down what it had done.")

UNREADABLE = Rule("unreadable", "It can't be read here, so nothing is done about its content.")
NOT_SEEN = Rule("not_seen", "The folder above can't be read here: what is in it is left as it is.")
BECAME_EMPTY = Rule(
    "became_empty",
    "It is empty here while its time did not change, as after a crash: that is not sent over good content. "
    "Touch it if it is meant to be empty.",
)
STUCK = Rule("stuck", "An earlier action about it failed: it is left as it is for now.")
IGNORED = Rule("ignored", "It is ignored here (.strataignore): it stays as it is on both sides.")
UNSYNCED_INSIDE = Rule(
    "unsynced_inside",
    "The folder was deleted on the other side, but holds something that isn't synced: it stays, by itself.",
)


class Rules(msgspec.Struct, frozen=True):
    """All that can be decided otherwise. Tests put lossy rules here; everything else uses the defaults.

    `keep_needed_folders` and `keep_with_moved_folder` switch FOLDER_STILL_NEEDED and WITH_ITS_FOLDER.
    """

    known: Mapping[tuple[Change, Change], Rule] = msgspec.field(default_factory=lambda: KNOWN)
    meetings: Mapping[Meeting, Rule] = msgspec.field(default_factory=lambda: MEETINGS)
    keep_needed_folders: bool = True
    keep_with_moved_folder: bool = True
    doubt_empty: bool = True
