"""Undoing what one device did in some time: a wrong move of a tree, an emptied folder, a program that encrypts.

Everything happens in one transaction and on references alone: old versions become new ones with the same blocks, what
was deleted comes back, what was made goes to the trash, what was moved goes back. No byte moves and no version is
lost, so an undo can itself be undone. What can't be put back, because its name is taken or somebody else has changed
it since, is told and stays.
"""

from dataclasses import dataclass
from typing import Any

from shared.domain.accounts import Caller
from shared.ports.metadata import Transaction
from shared.ports.system import Ids
from shared.usecases.authority import Member, writer
from shared.usecases.tree import TreeWriter
from shared.usecases.undoing import Undo, UndoRequest


class _DryRun(Exception):
    """Carries the answer of an undo that is to leave nothing behind out of its transaction."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__()
        self.told = told


@dataclass(frozen=True)
class UndoChanges:
    tree: TreeWriter
    ids: Ids

    async def __call__(self, caller: Caller, request: UndoRequest) -> dict[str, Any]:
        """Undo, or say what would be; returns {undone, kept, undone_count, kept_count, seq}.

        Raises TooLarge for more than MOST_NODES files and folders, QuotaExceeded when larger versions would come
        back, and what `writer` raises.
        """

        def work(tx: Transaction, member: Member) -> dict[str, Any]:
            told = Undo(tx, member, request, self.tree.clock.now(), self.ids).run()
            if request.dry_run:
                raise _DryRun(told)
            return told

        asked: list[object] = [
            request.namespace,
            request.device,
            request.since.isoformat(),
            request.until.isoformat(),
        ]
        try:
            return await self.tree.run(
                lambda tx: writer(tx, caller, request.namespace),
                work,
                user=caller.user_id,
                route="undo",
                asked=asked,
                key=None if request.dry_run else request.idempotency_key,
            )
        except _DryRun as dry:
            return dry.told
