"""The first plan of a run in words, and as JSON."""

from collections.abc import Iterator

from client.screen import Document
from client.sync.actions import (
    Action,
    DeleteLocal,
    DeleteRemote,
    Download,
    Forget,
    KeepBoth,
    MakeFolderLocal,
    MakeFolderRemote,
    MoveLocal,
    MoveRemote,
    Record,
    Upload,
)
from client.sync.decisions import path_of
from client.sync.run_outcome import Outcome, shown_path


def plan_document(outcome: Outcome) -> list[Document]:
    """The first plan of a run, an action each."""
    return [
        {
            "action": type(action).__name__,
            "path": _there(action),
            "to": _target(action),
            "rule": action.rule.name,
            "why": action.rule.why,
        }
        for action in (outcome.plan.actions if outcome.plan else ())
    ]


def plan_lines(outcome: Outcome) -> Iterator[tuple[str, str, str]]:
    """The first plan of a run for people: what is done, to what, and why. What is only recorded is left out."""
    for action in outcome.plan.actions if outcome.plan else ():
        if not isinstance(action, (Record, Forget)):
            target = _target(action)
            yield _VERBS[type(action)], _there(action) + (f" -> {target}" if target else ""), action.rule.why


def _there(action: Action) -> str:
    if isinstance(action, Record):
        return action.entry.name
    if isinstance(action, Forget):
        return action.node_id
    return shown_path(path_of(action))


def _target(action: Action) -> str | None:
    match action:
        case MoveLocal(target=path) | MoveRemote(target=path) | KeepBoth(copy=path):
            return shown_path(path)
        case _:
            return None


_VERBS: dict[type, str] = {
    KeepBoth: "keep both",
    MakeFolderLocal: "make folder here",
    MakeFolderRemote: "make folder on the server",
    MoveLocal: "move here",
    MoveRemote: "move on the server",
    Upload: "send up",
    Download: "fetch",
    DeleteLocal: "delete here",
    DeleteRemote: "to the server's trash",
}
