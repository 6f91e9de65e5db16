"""Commits as JSON: what a request for one says, and how one is answered."""

from typing import Any

from functions._shapes import Commit, parse_time
from shared.domain.blocks import BlockRef, parse_sha256
from shared.domain.errors import Malformed
from shared.domain.ids import NO_VERSION, NamespaceId, NodeId, VersionId, parse_id
from shared.domain.names import parse_path
from shared.domain.versions import OnVersion
from shared.usecases.drafting import CommitRequest, Committed


def commit_of(wanted: Commit, namespace: NamespaceId | None, key: str | None = None) -> CommitRequest:
    """What is to be committed; raises Malformed, NameRefused, Unacceptable."""
    if (wanted.path is None) == (wanted.file_id is None):
        raise Malformed("give either path or file_id")
    base = wanted.base_version
    return CommitRequest(
        basis=OnVersion(NO_VERSION if base is None else VersionId(parse_id(base, "base_version"))),
        blocks=[BlockRef(parse_sha256(block.sha256), block.size) for block in wanted.blocks],
        path=parse_path(wanted.path) if wanted.path is not None else (),
        file_id=NodeId(parse_id(wanted.file_id, "file_id")) if wanted.file_id is not None else None,
        namespace=namespace,
        modified_at=parse_time(wanted.modified_at),
        idempotency_key=key,
    )


def show_committed(done: Committed) -> tuple[int, dict[str, Any]]:
    """The status and the body that tell what a commit did."""
    body: dict[str, Any] = {
        "file_id": done.file_id,
        "version_id": done.version_id,
        "version": done.version,
        "seq": done.seq,
        "path": done.path,
    }
    return (200, {**body, "unchanged": True}) if done.unchanged else (201, body)
