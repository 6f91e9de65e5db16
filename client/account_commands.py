"""`strata register`, `login`, `logout`."""

import platform
import socket
import sys
from threading import Event
from typing import Annotated

from client.arguments import Option
from client.asking import ask, ask_password
from client.connection import anonymous, logged_in
from client.errors import CommandFailed, LocalProblem, Misuse
from client.filelock import locked
from client.options import Common
from client.retrying import Patience

UsernameOption = Annotated[
    str | None, Option("--username", "-u", help="The user's name; asked for on a terminal.")
]
PasswordOption = Annotated[
    bool, Option("--password-stdin", help="Read the password from standard input (its first line).")
]


def register(
    common: Common,
    username: UsernameOption = None,
    password_stdin: PasswordOption = False,
) -> None:
    """Make a new user on the server.

    Example:  strata register --username ann
    """
    screen = common.screen
    place = common.place
    name, password = _who(username, password_stdin, confirm=True)
    with anonymous(place.server(None)) as accounts:
        user_id = accounts.register(name, password)
    screen.result({"user_id": user_id, "username": name}, f"{name} is registered: go on with `strata login`")


def login(
    common: Common,
    username: UsernameOption = None,
    password_stdin: PasswordOption = False,
) -> None:
    """Log in on this machine, as a device of the user's.

    The login is kept in STRATA_HOME and renews itself; one for another server replaces it.

    Example:  strata login --username ann --password-stdin < password.txt
    """
    screen = common.screen
    place = common.place
    file = place.credentials_file
    try:
        before = file.read()
    except LocalProblem as error:
        if error.code != "credentials_damaged":
            raise
        before = None
    url = place.server(before)
    name, password = _who(username, password_stdin, confirm=False)
    # The same user on the same server stays the same device.
    device_id = before.device_id if before and (before.url, before.username) == (url, name) else None
    with anonymous(url) as accounts:
        credentials = accounts.login(
            url,
            name,
            password,
            device_name=socket.gethostname() or "unnamed",
            platform=platform.system().lower() or "unknown",
            device_id=device_id,
        )
    with locked(file.lock_path):
        file.write(credentials)
    screen.result(
        {"url": url, "username": name, "user_id": credentials.user_id, "device_id": credentials.device_id},
        f"logged in at {url} as {name}",
    )


def logout(common: Common) -> None:
    """Log out: the server forgets this device's login, then so does this machine.

    Without a server the login is removed here all the same; there it ends by itself when it expires.
    """
    screen = common.screen
    place = common.place
    server_told = False
    try:
        if place.credentials_file.read() is None:
            screen.result({"logged_out": False, "server_told": False}, "nobody was logged in")
            return
        with logged_in(place, Event(), patience=Patience(tries=2)) as api:
            api.logout()
            server_told = True
    except CommandFailed as error:
        screen.note(f"the server could not be told ({error}); the login is removed here")
    with locked(place.credentials_file.lock_path):
        place.credentials_file.remove()
    screen.result({"logged_out": True, "server_told": server_told}, "logged out")


def _who(username: str | None, password_stdin: bool, *, confirm: bool) -> tuple[str, str]:
    at_terminal = sys.stdin.isatty()
    if username is None:
        if password_stdin or not at_terminal:
            raise Misuse("say who: --username NAME")
        username = ask("Username: ")
    if password_stdin:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    elif at_terminal:
        password = ask_password(confirm=confirm)
    else:
        raise Misuse("no terminal to ask on: pass the password with --password-stdin")
    if not password:
        raise Misuse("the password is empty")
    return username, password
