"""Questions to a person at a terminal. They are on standard error, so that results can go elsewhere."""

import sys
from getpass import getpass

from client.errors import Misuse, Stopped


def ask(question: str) -> str:
    """One line, without white space around it; raises Stopped where none comes any more."""
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise Stopped
    return line.strip()


def ask_password(*, confirm: bool) -> str:
    """A password that isn't shown, asked for twice with `confirm`; raises Misuse for two different ones, Stopped."""
    try:
        password = getpass("Password: ")
        if confirm and getpass("Again: ") != password:
            raise Misuse("these were two different passwords: nothing was done")
    except EOFError:
        raise Stopped from None
    return password
