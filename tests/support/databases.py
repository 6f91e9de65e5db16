"""Databases to test with, and the watch over every statement that they are given.

The tests run on SQLite, the product also on SQL Server. So each engine made here compiles every statement that passes
it for SQL Server too, and fails the test whose statement only SQLite knows.
"""

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc
from sqlalchemy.engine import Connection
from sqlalchemy.sql import Select, visitors
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import Exists
from sqlalchemy.types import Boolean

from shared.adapters.sql.engine import make_engine
from shared.adapters.sql.migrate import upgrade

MOST_PARAMETERS = 2100
"""In one statement, of SQL Server."""

_SQL_SERVER: Any = MSDialect_pyodbc()


class NotForSqlServer(AssertionError):
    """A statement that SQL Server would refuse."""


def compile_for_sql_server(statement: ClauseElement, columns: list[str] | None = None) -> str:
    """The statement in SQL Server's words; raises NotForSqlServer where there are none."""
    for part in visitors.iterate(statement):
        if isinstance(part, Select):
            for column in part.selected_columns:
                # It has no truth values outside of conditions: neither EXISTS nor a comparison can be selected.
                if isinstance(column.type, Boolean) or any(
                    isinstance(inner, Exists) for inner in visitors.iterate(column)
                ):
                    raise NotForSqlServer(f"a condition stands in the SELECT list of: {statement}")
    try:
        named = {} if columns is None else {"column_keys": columns}
        return str(statement.compile(dialect=_SQL_SERVER, **named))
    except Exception as error:
        raise NotForSqlServer(f"{statement}: {error}") from error


def watched_engine(url: str, *, threads: int = 8) -> Engine:
    """An engine as the application makes it, that refuses what SQL Server would refuse."""
    engine = make_engine(url, threads=threads)
    seen: set[str] = set()

    def check(
        _connection: Connection, _cursor: object, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if not many and len(parameters) > MOST_PARAMETERS:
            raise NotForSqlServer(f"{len(parameters)} parameters in: {text[:200]}")
        if text in seen or context is None or context.compiled is None:
            return
        # Statements that make tables have no columns to be set.
        columns = getattr(context.compiled, "column_keys", None)
        compile_for_sql_server(context.compiled.statement, columns)
        seen.add(text)

    event.listen(engine, "before_cursor_execute", check)
    return engine


def sqlite_url(file: Path) -> str:
    return f"sqlite:///{file}"


def make_template(folder: Path) -> Path:
    """A database file of the newest form, to be copied: migrating anew for every test would take seconds."""
    file = folder / "template.db"
    engine = make_engine(sqlite_url(file), threads=1)
    upgrade(engine)
    engine.dispose()
    return file


def copy_of(template: Path, folder: Path) -> str:
    """The URL of a database of its own."""
    return sqlite_url(Path(shutil.copy(template, folder / "metadata.db")))
