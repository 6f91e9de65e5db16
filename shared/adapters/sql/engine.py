"""Connections: how SQLite is made safe, and how Azure SQL is signed in to."""

import struct
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection, make_url

# The connection attribute that takes an Entra access token, from msodbcsql.h.
_SQL_COPT_SS_ACCESS_TOKEN = 1256

_LOGIN_SECONDS = 5
"""How long SQL Server may take to let a connection in; the driver's own default, times the tries of a transaction,
is longer than Azure lets an HTTP function answer."""

_LOCK_SECONDS = 5
"""How long a statement waits for another's lock; without it, SQL Server lets it wait for ever."""


def make_engine(url: str, *, threads: int, sql_token: Callable[[], str] | None = None) -> Engine:
    """An engine for `url` with a connection for each of `threads`; opens nothing yet.

    For `mssql+pyodbc` without user and password in the URL, `sql_token` is asked for an Entra access token at
    each connection.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, pool_size=threads, max_overflow=2, pool_timeout=30)
        event.listen(engine, "connect", _set_up_sqlite)
    else:
        # Without this, pyodbc's own pool would keep connections that SQLAlchemy believes closed.
        import pyodbc  # needs a system library that the embedded default has no use for

        pyodbc.pooling = False
        engine = create_engine(
            parsed,
            pool_size=threads,
            max_overflow=2,
            pool_timeout=30,
            pool_pre_ping=True,
            pool_recycle=1500,  # seconds: below the 30 minutes after which Azure drops idle connections
            fast_executemany=True,
            connect_args={"timeout": _LOGIN_SECONDS},
        )
        event.listen(engine, "connect", _set_up_sql_server)
        if parsed.username is None and sql_token is not None:
            event.listen(engine, "do_connect", _token_sign_in(sql_token))
    event.listen(engine, "begin", _begin)
    return engine


def _set_up_sqlite(dbapi_connection: Any, _record: object) -> None:
    # The driver's own transaction handling begins late and would undo the choice made in _begin.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _set_up_sql_server(dbapi_connection: Any, _record: object) -> None:
    cursor = dbapi_connection.cursor()
    # The end of the wait is error 1222, which a transaction is run again for.
    cursor.execute(f"SET LOCK_TIMEOUT {_LOCK_SECONDS * 1000}")
    cursor.close()


def _begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        # A transaction that reads first and then wants to write can fail where waiting can't help, so one that
        # may write takes the write lock at once; one that only reads never waits.
        writes = connection.get_execution_options().get("strata_writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _token_sign_in(sql_token: Callable[[], str]) -> Callable[..., None]:
    def sign_in(_dialect: object, _record: object, arguments: list[Any], parameters: dict[str, Any]) -> None:
        # The driver refuses a token beside any other way to sign in.
        arguments[0] = arguments[0].replace(";Trusted_Connection=Yes", "")
        token = sql_token().encode("utf-16-le")
        packed = struct.pack(f"<I{len(token)}s", len(token), token)
        parameters["attrs_before"] = {_SQL_COPT_SS_ACCESS_TOKEN: packed}

    return sign_in
