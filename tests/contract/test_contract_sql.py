"""What the two databases owe each other: the same schema, made by migrations, and statements that both know."""

import io
import logging
import sqlite3
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from sqlalchemy import Engine, exists, inspect, select
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable

from shared.adapters.sql import migrate
from shared.adapters.sql.database import TRIES, SqlMetadata, is_transient
from shared.adapters.sql.engine import make_engine
from shared.adapters.sql.entra import sql_token_source
from shared.adapters.sql.migrate import upgrade
from shared.adapters.sql.schema import blobs, metadata, users
from shared.domain.errors import Unavailable
from tests.support.databases import (
    NotForSqlServer,
    compile_for_sql_server,
    copy_of,
    sqlite_url,
    watched_engine,
)

SQL_SERVER: Any = MSDialect_pyodbc()


@pytest.fixture
def migrated(template: Path, tmp_path: Path) -> Iterator[Engine]:
    engine = watched_engine(copy_of(template, tmp_path))
    yield engine
    engine.dispose()


@pytest.fixture
def created(tmp_path: Path) -> Iterator[Engine]:
    """A database made from the schema itself, without migrations."""
    engine = watched_engine(sqlite_url(tmp_path / "created.db"))
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def where_of(index: Any) -> str:
    return str(index.get("dialect_options", {}).get("sqlite_where"))


def shape(engine: Engine) -> dict[str, Any]:
    """All that a database says about its tables, in an order of our own."""
    found: dict[str, Any] = {}
    inspector = inspect(engine)
    for table in set(inspector.get_table_names()) - {"alembic_version"}:
        found[table] = {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["primary_key"])
                for column in inspector.get_columns(table)
            },
            "key": inspector.get_pk_constraint(table),
            "foreign": sorted(map(str, inspector.get_foreign_keys(table))),
            "unique": sorted(map(str, inspector.get_unique_constraints(table))),
            "checks": sorted(map(str, inspector.get_check_constraints(table))),
            "indexes": sorted(
                str((each["name"], each["column_names"], each["unique"], where_of(each)))
                for each in inspector.get_indexes(table)
            ),
        }
    return found


def test_migrations_make_the_schema(migrated: Engine, created: Engine) -> None:
    assert shape(migrated) == shape(created)
    with migrated.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_upgrading_twice_is_harmless(migrated: Engine) -> None:
    before = shape(migrated)
    with migrated.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO users (user_id, username, username_key, password_hash, token_epoch, created_at) "
            "VALUES ('a', 'ann', 'ann', 'h', 1, '2026-01-31 12:00:00.000000')"
        )
    assert upgrade(migrated) == upgrade(migrated)
    assert shape(migrated) == before
    with migrated.connect() as connection:
        assert connection.execute(select(users.c.username)).scalars().all() == ["ann"]


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    engine = make_engine(sqlite_url(tmp_path / "half.db"), threads=1)
    with engine.begin() as connection:
        # The last table of the first migration is in the way.
        connection.exec_driver_sql("CREATE TABLE version_blocks (x)")
    with pytest.raises(OperationalError, match="already exists"):
        upgrade(engine)
    assert inspect(engine).get_table_names() == ["version_blocks"]
    engine.dispose()


def revisions() -> list[Any]:
    scripts = ScriptDirectory.from_config(migrate._config())
    return list(reversed(list(scripts.walk_revisions())))


@pytest.mark.parametrize("revision", revisions(), ids=lambda revision: revision.revision)
def test_migrations_can_be_written_down_for_sql_server(revision: Any) -> None:
    output = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="mssql", opts={"as_sql": True, "output_buffer": output, "target_metadata": metadata}
    )
    with Operations.context(context):
        revision.module.upgrade()
    script = output.getvalue()
    if "CREATE TABLE" in script:
        assert "VARCHAR(32) COLLATE Latin1_General_100_BIN2" in script
        assert "DATETIME2(6)" in script
    assert "IDENTITY" not in script, "a key is made by the database"
    assert " DATETIME " not in script


@pytest.mark.parametrize("name", sorted(metadata.tables))
def test_every_table_can_be_made_on_sql_server(name: str) -> None:
    table = metadata.tables[name]
    script = str(CreateTable(table).compile(dialect=SQL_SERVER))
    assert "IDENTITY" not in script
    for column in table.columns:
        if column.primary_key or column.foreign_keys or column.name.endswith(("_key", "sha256", "_hash")):
            line = next(
                each
                for each in script.splitlines()
                if each.strip().startswith((f"{column.name} ", f"[{column.name}] "))
            )
            exact = "CHAR" not in line or "Latin1_General_100_BIN2" in line
            assert exact or column.name == "password_hash", f"{column.name} is not compared byte by byte"
    for index in table.indexes:
        made = str(CreateIndex(index).compile(dialect=SQL_SERVER))
        assert ("WHERE" in made) == bool(index.dialect_options["sqlite"]["where"] is not None)


def test_keys_of_indexes_fit_sql_server() -> None:
    """1,700 bytes for an index, 900 for a clustered one: a longer key is refused only when it is inserted."""
    for table in metadata.tables.values():
        keys = [(list(index.columns), 1700) for index in table.indexes]
        keys += [
            (list(each.columns), 900 if each is table.primary_key else 1700)
            for each in table.constraints
            if hasattr(each, "columns") and type(each).__name__ != "CheckConstraint"
        ]
        for columns, limit in keys:
            assert sum(width(column.type.dialect_impl(SQL_SERVER)) for column in columns) <= limit, columns


def width(kind: Any) -> int:
    length = getattr(kind, "length", None) or 4
    return int(length) * (2 if "NVARCHAR" in str(kind.compile(dialect=SQL_SERVER)).upper() else 1)


@pytest.mark.parametrize(
    "statement",
    [
        select(exists().where(blobs.c.size == 1)),
        select(blobs.c.blob_id, exists().where(blobs.c.size == 1).label("there")),
        select(blobs.c.size == 1),
        select(blobs.c.blob_id).where(blobs.c.blob_id.in_(select(exists().where(blobs.c.size == 1)))),
    ],
)
def test_the_watch_refuses_conditions_in_a_select_list(migrated: Engine, statement: Any) -> None:
    with migrated.connect() as connection, pytest.raises(NotForSqlServer):
        connection.execute(statement)


def test_the_watch_refuses_too_many_parameters(migrated: Engine) -> None:
    many = select(blobs.c.blob_id).where(blobs.c.blob_id.in_([str(number) for number in range(2101)]))
    with migrated.connect() as connection, pytest.raises(NotForSqlServer, match="2101"):
        connection.execute(many)


def test_the_watch_lets_conditions_stand_where_they_may() -> None:
    found = compile_for_sql_server(select(blobs.c.blob_id).where(exists().where(blobs.c.size == 1)).limit(3))
    assert found.startswith("SELECT TOP")


class OdbcError(Exception):
    """An error as pyodbc raises it: the state, then the driver's text."""


def odbc(state: str, number: int, text: str = "no") -> DBAPIError:
    message = (
        f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]{text} ({number}) (SQLExecDirectW)"
    )
    return DBAPIError("statement", {}, OdbcError(state, message))


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (odbc("40001", 1205, "deadlock victim"), True),
        (odbc("42000", 1222, "lock request time out"), True),
        (odbc("HY000", 40613, "database is not currently available"), True),
        (odbc("42000", 40501), True),
        (odbc("08S01", 10054), True),
        (odbc("HYT00", 0), True),
        (odbc("23000", 2627, "duplicate key, value (1205)"), False),
        (odbc("23000", 547, "foreign key"), False),
        (odbc("42S02", 208, "Invalid object name"), False),
        (odbc("22001", 2628, "String or binary data would be truncated"), False),
        (OperationalError("s", {}, sqlite3.OperationalError("database is locked")), True),
        (OperationalError("s", {}, sqlite3.OperationalError("unable to open database file")), True),
        (OperationalError("s", {}, sqlite3.OperationalError("no such table: users")), False),
    ],
)
def test_what_is_worth_another_try(error: DBAPIError, transient: bool) -> None:
    assert is_transient(error) is transient


async def test_transient_failures_are_tried_again_and_then_said(
    migrated: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    database = SqlMetadata(migrated, threads=2)
    runs: list[int] = []

    def work(failures: int) -> str:
        runs.append(1)
        if len(runs) <= failures:
            raise odbc("40001", 1205)
        return "done"

    with caplog.at_level(logging.WARNING):
        assert await database.write(lambda _: work(2)) == "done"
        assert len(runs) == 3
        assert "try 2 of" in caplog.text
        runs.clear()
        with pytest.raises(Unavailable):
            await database.read(lambda _: work(99))
        assert len(runs) == TRIES
        runs.clear()

        def mistaken() -> str:
            runs.append(1)
            raise odbc("42S02", 208)

        with pytest.raises(DBAPIError):
            await database.write(lambda _: mistaken())
        assert len(runs) == 1
    await database.close()


async def test_a_database_that_is_away_says_so_and_recovers(template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    database = SqlMetadata(watched_engine(sqlite_url(folder / "metadata.db")), threads=2)
    with pytest.raises(Unavailable):
        await database.read(lambda tx: tx.blocks.bad_blocks())
    folder.mkdir()
    copy_of(template, folder)
    assert await database.read(lambda tx: tx.blocks.bad_blocks()) == 0
    await database.close()


def test_sqlite_is_told_to_be_safe(migrated: Engine) -> None:
    with migrated.connect() as connection:
        told = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("foreign_keys", "journal_mode", "synchronous")
        }
    assert told == {"foreign_keys": 1, "journal_mode": "wal", "synchronous": 2}


def test_the_driver_of_sql_server_is_not_needed_for_sqlite() -> None:
    assert (
        "import pyodbc" not in Path(str(import_module("shared.adapters.sql.database").__file__)).read_text()
    )


class _Driver(ModuleType):
    """In pyodbc's place: what the engine tells SQL Server, as far as that can be seen without one."""

    paramstyle, version, pooling = "qmark", "5.5.0", True
    Error = type("Error", (Exception,), {})
    Cursor = object

    def __init__(self) -> None:
        super().__init__("pyodbc")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.said: list[str] = []

    def connect(self, address: str, **parameters: Any) -> Any:
        self.asked.append((address, parameters))
        cursor = SimpleNamespace(execute=self.said.append, close=lambda: None)

        def nothing(*_arguments: object) -> None:
            return None

        return SimpleNamespace(
            cursor=lambda: cursor, rollback=nothing, close=nothing, add_output_converter=nothing
        )


def connect_once(driver: _Driver, engine: Engine) -> None:
    # The dialect's own questions at a first connection need a server.
    engine.dialect.initialize = lambda connection: None
    engine.raw_connection().close()
    engine.dispose()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> _Driver:
    made = _Driver()
    monkeypatch.setitem(sys.modules, "pyodbc", made)
    return made


def test_sql_server_may_keep_nobody_waiting_for_ever(driver: _Driver) -> None:
    connect_once(driver, make_engine("mssql+pyodbc://sa:word@server/db?driver=X", threads=1))
    [(_, parameters)] = driver.asked
    assert 0 < parameters["timeout"] <= 10
    assert [each for each in driver.said if each.startswith("SET LOCK_TIMEOUT ")]
    assert driver.pooling is False


def test_an_entra_token_goes_along_alone(driver: _Driver) -> None:
    engine = make_engine("mssql+pyodbc://server/db?driver=X", threads=1, sql_token=lambda: "a token")
    connect_once(driver, engine)
    [(address, parameters)] = driver.asked
    assert "Trusted_Connection" not in address
    (packed,) = parameters["attrs_before"].values()
    assert packed[4:].decode("utf-16-le") == "a token"


async def test_an_identity_that_is_away_is_an_unavailable_database(
    driver: _Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise CredentialUnavailableError(message="no managed identity here")

    monkeypatch.setattr(DefaultAzureCredential, "get_token", refuse)
    engine = make_engine("mssql+pyodbc://server/db?driver=X", threads=1, sql_token=sql_token_source(None))
    metadata_store = SqlMetadata(engine, threads=1)
    with pytest.raises(Unavailable):
        await metadata_store.read(lambda tx: None)
    await metadata_store.close()
