"""What clients may put into the store themselves, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.blocks import BlockRef, Sha256
from shared.domain.ids import BlobId, NamespaceId, UserId


class StagingState(StrEnum):
    """GRANTED is the only state that changes, and the only one that reserves quota."""

    GRANTED = "GRANTED"
    ADMITTED = "ADMITTED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Staged:
    """One name that one block may be put under, until `expires_at`."""

    id: BlobId
    namespace: NamespaceId
    user_id: UserId
    block: BlockRef
    state: StagingState
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What a user was granted and has not delivered: how many blocks, how many plain bytes."""

    count: int
    bytes: int


class Staging(Protocol):
    def add(self, grants: Sequence[Staged]) -> None: ...

    def get(self, staging_id: BlobId) -> Staged | None: ...

    def outstanding(self, user: UserId) -> Outstanding: ...

    def granted(
        self, namespace: NamespaceId, user: UserId, hashes: Sequence[Sha256], *, until: datetime
    ) -> Sequence[Staged]:
        """The user's grants for these blocks that are not settled and last beyond `until`."""
        ...

    def settle(self, staging_id: BlobId, state: StagingState) -> bool:
        """End a grant; False when it was ended before. Of two callers, one gets True."""
        ...

    def waiting(self, *, created_before: datetime, after: BlobId | None, limit: int) -> Sequence[Staged]:
        """A page of grants that nobody has settled, by id."""
        ...

    def forget(self, *, created_before: datetime, limit: int) -> int:
        """Delete up to `limit` settled rows; returns how many."""
        ...
