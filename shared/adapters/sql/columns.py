"""Column types that mean the same on SQLite and SQL Server."""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, DateTime, Integer, String, TypeDecorator, Unicode
from sqlalchemy.dialects import mssql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

# SQL Server compares text without regard to case and trailing spaces unless told otherwise; what is found
# by equality must be compared byte by byte, as SQLite does.
_BINARY = "Latin1_General_100_BIN2"


def ascii_key(length: int) -> TypeEngine[str]:
    """ASCII text that is compared exactly: ids, hashes, words of our own."""
    return String(length).with_variant(mssql.VARCHAR(length, collation=_BINARY), "mssql")


def unicode_key(length: int) -> TypeEngine[str]:
    """Unicode text that is compared exactly; `length` in UTF-16 units, as SQL Server counts."""
    return Unicode(length).with_variant(mssql.NVARCHAR(length, collation=_BINARY), "mssql")


ID = ascii_key(32)
SHA256 = BLAKE3 = ascii_key(64)
# SQLite gives a row id to INTEGER keys only, and holds 64 bits in it; SQL Server needs BIGINT for that.
BIG = BigInteger().with_variant(Integer(), "sqlite")


_DATETIME2: TypeEngine[datetime] = mssql.DATETIME2(precision=6)  # type: ignore[no-untyped-call] # SQLAlchemy's own gap


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC. Neither database keeps a zone in this type, so none is stored and UTC is put back."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        if dialect.name == "mssql":
            return dialect.type_descriptor(_DATETIME2)
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times in the database are UTC: this one has no zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)
