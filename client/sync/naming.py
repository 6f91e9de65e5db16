"""Names that the sync gives by itself: they say what happened, on which device, and are valid everywhere.

    report.pdf  ->  report (conflicted copy, LAPTOP, 2026-11-22).pdf
    readme      ->  readme (name clash, LAPTOP)            beside README
    a           ->  a (being renamed, LAPTOP)              for a moment, when two names are swapped
    a.txt       ->  a (saved meanwhile).txt                when it can't be given back its place (aside.py)

The ending stays, so that a double click still opens the right program. What is too long is cut in the stem. A name
that is taken gets a number.
"""

import re
from collections.abc import Container

from client.sync.trees import Kind
from shared.domain.names import MAX_NAME_BYTES, name_key

_LONGEST_ENDING = 20
"""Bytes: what is longer behind the last dot is rather a part of the name."""

_LONGEST_DEVICE = 40
"""Bytes: the label and the ending together must leave room for the name itself."""

# What no name may contain (shared/domain/names.py), and what would make the label hard to read.
_UNFIT = re.compile(
    '[/\\\\<>:"|?*(),\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]'
)


def conflicted(name: str, kind: Kind, *, device: str, today: str, taken: Container[str]) -> str:
    """The name of a conflicted copy beside `name`; `taken` are the keys (`name_key`) of names that are in use."""
    return _labelled(name, kind, f"conflicted copy, {_fit(device)}, {today}", taken)


def clashing(name: str, kind: Kind, *, device: str, taken: Container[str]) -> str:
    """The name of something that can't be kept apart from a neighbour by `name`."""
    return _labelled(name, kind, f"name clash, {_fit(device)}", taken)


def making_way(name: str, kind: Kind, *, device: str, taken: Container[str]) -> str:
    """A name for the moment in which another one is freed."""
    return _labelled(name, kind, _way_label(device), taken)


def is_making_way(name: str, *, device: str) -> bool:
    """Whether this device gave `name` for a moment, and was stopped before it gave the right one."""
    return f" ({_way_label(device)}" in name


def saved_meanwhile(name: str, *, taken: Container[str]) -> str:
    """The name of a file whose place was taken before it could be given back."""
    return _labelled(name, Kind.FILE, "saved meanwhile", taken)


def _way_label(device: str) -> str:
    return f"being renamed, {_fit(device)}"


def _labelled(name: str, kind: Kind, label: str, taken: Container[str]) -> str:
    stem, ending = _split(name) if kind is Kind.FILE else (name, "")
    number = 1
    while True:
        mark = f" ({label})" if number == 1 else f" ({label}, {number})"
        room = MAX_NAME_BYTES - len((mark + ending).encode())
        candidate = stem.encode()[:room].decode(errors="ignore") + mark + ending
        if name_key(candidate) not in taken:
            return candidate
        number += 1


def _split(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending.encode()) > _LONGEST_ENDING:
        return name, ""
    return stem, dot + ending


def _fit(device: str) -> str:
    fit = _UNFIT.sub("-", device).encode()[:_LONGEST_DEVICE].decode(errors="ignore")
    return fit.strip() or "a device"
