"""What an answer of the API that is not a success means here.

The status decides the exit code; the problem document's `code` decides the few cases that a program goes on
from (missing blocks, a head that has moved), and its texts are what people read.
"""

import msgspec

from client.errors import (
    BlocksMissing,
    CommandFailed,
    Conflicting,
    Corrupt,
    HeadMoved,
    NotLoggedIn,
    NotThere,
    Refused,
    Throttled,
    Unexpected,
    Unreachable,
)
from client.wire import Problem

_AWAY = frozenset({408, 502, 503, 504})
_REFUSED = frozenset({400, 405, 413, 414, 415, 422, 428, 431, 507})
_CONFLICT = frozenset({409, 410, 412, 423})


def error_of(status: int, body: bytes, *, what: str) -> CommandFailed:
    """The error for an answer with this status; `what` was asked, for the cases without a usable text."""
    problem = _problem(body)
    text = problem.detail or problem.title or problem.error or f"{what} was answered with status {status}"
    code = problem.code or None
    if status in (401, 403):
        return NotLoggedIn(text, code=code or ("forbidden" if status == 403 else None))
    if status == 404:
        return NotThere(text, code=code)
    if status in _CONFLICT:
        return _conflict(problem, text)
    if problem.code == "hash_mismatch":
        return Corrupt(text, code=code)
    if status in _REFUSED:
        # With the quota used up no other file fits either.
        return Refused(text, code=code, fatal=status == 507)
    if status == 429:
        return Throttled(text, code=code)
    if status in _AWAY:
        return Unreachable(text, code=code)
    reference = f" (request {problem.request_id})" if problem.request_id else ""
    return Unexpected(f"{text}{reference}", code=code, fatal=status >= 500)


def _conflict(problem: Problem, text: str) -> CommandFailed:
    if problem.code == "missing_blocks":
        return BlocksMissing(text, missing=problem.missing)
    if problem.code == "version_conflict":
        return HeadMoved(text, head=problem.head.version_id if problem.head else None)
    if problem.code == "name_exists" and problem.entry:
        return Conflicting(
            f"a {problem.kind or 'file'} named {problem.entry!r} has the place", code=problem.code
        )
    return Conflicting(text, code=problem.code or None)


def _problem(body: bytes) -> Problem:
    try:
        return msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Problem()  # a proxy's page, say: the status alone has to do
