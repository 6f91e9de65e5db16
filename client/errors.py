"""Every way in which the command fails, and the exit code that says so to a script.

    CommandFailed
    ├── Unexpected        1   a mistake in the command, or an answer that it can't make sense of
    ├── Misuse            2   the command line can't be understood
    ├── NotLoggedIn       3   no credentials, or the server refuses them
    ├── NotThere          4   no such remote file or folder
    ├── Conflicting       5   something else has the place, or the file has changed meanwhile
    │   ├── HeadMoved         the remote file's head is not the base of the commit
    │   └── BlocksMissing     the server no longer has blocks that it had when asked
    ├── Refused           6   the input itself: a name, a size, the quota
    ├── Unreachable       7   no server, or one that can't answer now
    │   └── Throttled             it is there, and asks for fewer calls
    ├── LocalProblem      8   a local file can't be read or written
    ├── Corrupt           9   bytes that are not the ones that their hash names
    ├── Held             10   a sync would delete or replace so much that somebody has to confirm it
    └── Stopped         130   the run is over: interrupted, or ended by another failure

A transfer of many files goes on after a failure that concerns one of them. After a `fatal` one it doesn't:
the next file would meet the same wall, and a thousand equal messages hide the one that matters.
"""

from collections.abc import Sequence
from typing import ClassVar


class CommandFailed(Exception):
    """Root of the tree. `code` is for programs; the message says what is wrong and the next step.

    `tries` is how often a call had been sent when it was refused: after more than one, an earlier one may have
    been carried out and only its answer been lost.
    """

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "unexpected"

    def __init__(self, message: str, *, code: str | None = None, fatal: bool = False) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.fatal = fatal
        self.tries = 1


class Ended(Exception):
    """The command has told what there was to tell; only its exit code is left to say."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Unexpected(CommandFailed):
    pass


class Misuse(CommandFailed):
    exit_code = 2
    default_code = "usage"


class NotLoggedIn(CommandFailed):
    """Always fatal: no other call would be let in either."""

    exit_code = 3
    default_code = "not_logged_in"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code, fatal=True)


class NotThere(CommandFailed):
    exit_code = 4
    default_code = "not_found"


class Conflicting(CommandFailed):
    exit_code = 5
    default_code = "conflict"


class HeadMoved(Conflicting):
    """`head` is the id of the version that is current now, None when the file is gone."""

    default_code = "version_conflict"

    def __init__(self, message: str, *, head: str | None) -> None:
        super().__init__(message)
        self.head = head


class BlocksMissing(Conflicting):
    """`missing` are hashes, as the server sent them."""

    default_code = "missing_blocks"

    def __init__(self, message: str, *, missing: Sequence[str]) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class Refused(CommandFailed):
    exit_code = 6
    default_code = "refused"


class Unreachable(CommandFailed):
    """Always fatal: it is raised after the retries, so the next file would only wait as long again."""

    exit_code = 7
    default_code = "unavailable"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code, fatal=True)


class Throttled(Unreachable):
    default_code = "too_many_requests"


class LocalProblem(CommandFailed):
    exit_code = 8
    default_code = "local_file"


class Corrupt(CommandFailed):
    exit_code = 9
    default_code = "verification_failed"


class Held(CommandFailed):
    """Always fatal: the plan is held as a whole."""

    exit_code = 10
    default_code = "held"

    def __init__(self, message: str) -> None:
        super().__init__(message, fatal=True)


class Stopped(CommandFailed):
    exit_code = 130
    default_code = "interrupted"

    def __init__(self, message: str = "interrupted") -> None:
        super().__init__(message, fatal=True)
