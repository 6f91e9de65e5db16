"""The metadata database: one transaction, one plain function.

    seq = await metadata.write(lambda tx: commit(tx, ...))

The function gets a Transaction, runs in a thread of its own, and is all or nothing: when it returns, its
effects are durable; when it raises, there are none. It is **run again** from the start after a transient
failure (deadlock, lost connection), so it must touch nothing but the transaction and fresh ids; times and
bytes are made before it starts. Never decide on a bare read: every guard is a conditional update whose count is
checked, a key that the database refuses to break, or a read made after `namespaces.advance` or
`namespaces.lock`.

The groups of tables have a protocol each, in the modules beside this one.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from shared.ports.tables_accounts import Accounts
from shared.ports.tables_backlogs import Backlogs
from shared.ports.tables_blocks import Blocks
from shared.ports.tables_files import Files
from shared.ports.tables_jobs import Jobs
from shared.ports.tables_journal import Journal
from shared.ports.tables_namespaces import Namespaces, Replies
from shared.ports.tables_outbox import Outbox
from shared.ports.tables_staging import Staging
from shared.ports.tables_trash import Trash

T = TypeVar("T")


class Transaction(Protocol):
    @property
    def accounts(self) -> Accounts: ...

    @property
    def namespaces(self) -> Namespaces: ...

    @property
    def blocks(self) -> Blocks: ...

    @property
    def files(self) -> Files: ...

    @property
    def trash(self) -> Trash: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def outbox(self) -> Outbox: ...

    @property
    def backlogs(self) -> Backlogs: ...

    @property
    def replies(self) -> Replies: ...

    @property
    def staging(self) -> Staging: ...

    @property
    def jobs(self) -> Jobs: ...


class Metadata(Protocol):
    """Both calls raise Unavailable when the database is away, and whatever the function raises."""

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction that only reads."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction that may write; concurrent ones end as if one ran after the other."""
        ...

    async def close(self) -> None: ...
