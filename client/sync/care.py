"""The brake: a plan that deletes or replaces much waits until somebody says that it is meant.

A disk that was not mounted looks like a folder in which everything was deleted; a program that encrypts all files looks
like a busy day. A sync that carries either out at once spreads the damage to all devices. The server keeps versions and
a trash, but nobody wants to restore ten thousand files. So beyond a bound nothing of the plan is done.
"""

from collections import Counter

import msgspec

from client.sync.actions import DeleteLocal, DeleteRemote, Download, Plan, Upload
from client.sync.trees import Kind


class Limits(msgspec.Struct, frozen=True):
    """A plan is held when it deletes, or changes, more than `always` files on one side,
    or more than `share` (0 to 1) of the files that were in step if that is also more than `few`."""

    share: float = 0.5
    few: int = 20
    always: int = 1_000


class Impact(msgspec.Struct, frozen=True):
    """How many files a plan deletes here and on the server, and gives other contents there and here. Not: new ones."""

    deleted_here: int
    deleted_there: int
    changed_here: int
    changed_there: int


class Released(msgspec.Struct, frozen=True):
    """The plan may be carried out."""

    impact: Impact


class Held(msgspec.Struct, frozen=True):
    """Nothing of the plan may be done before somebody confirms; `reasons` are plain sentences, at least one."""

    impact: Impact
    reasons: tuple[str, ...]


def hold(plan: Plan, limits: Limits) -> Held | Released:
    """Whether the plan has to be confirmed first."""
    impact = measure(plan)
    said = (
        (impact.deleted_here, "would be deleted here, since they are gone on the server"),
        (impact.deleted_there, "would go to the server's trash, since they are gone here"),
        (impact.changed_here, "would be replaced here by what is on the server"),
        (impact.changed_there, "would get new versions on the server"),
    )
    reasons = tuple(
        f"{count:,} of {plan.base_files:,} files {what}"
        for count, what in said
        if _is_much(count, plan.base_files, limits)
    )
    return Held(impact, reasons) if reasons else Released(impact)


def measure(plan: Plan) -> Impact:
    """Count what the plan does to files that were in step before."""
    counts: Counter[str] = Counter()
    for action in plan.actions:
        match action:
            case DeleteLocal(kind=Kind.FILE):
                counts["deleted_here"] += 1
            case DeleteRemote(kind=Kind.FILE):
                counts["deleted_there"] += 1
            case DeleteRemote():
                counts["deleted_there"] += sum(version is not None for _, version in action.covers)
            case Download(replaces=there) if there is not None:
                counts["changed_here"] += 1
            case Upload(node_id=node) if node is not None:
                counts["changed_there"] += 1
            case _:
                pass
    return Impact(
        counts["deleted_here"], counts["deleted_there"], counts["changed_here"], counts["changed_there"]
    )


def _is_much(count: int, of: int, limits: Limits) -> bool:
    return count > limits.always or (count > limits.few and count > limits.share * of)
