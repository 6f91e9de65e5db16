"""What must hold whatever happened: read from the tables and the store directly, by no code of the application.

Named as in the tests: no_dangling_edge, content_equals_hash, commit_is_atomic, journal_has_no_gap, quota is counted
right.
"""

import hashlib
from collections import Counter, defaultdict
from typing import Any

import zstandard

from shared.domain.digests import blake3_of
from shared.domain.ids import BlobId
from shared.ports.block_store import Container
from tests.support.world import World


def check_invariants(world: World, *, bad_blobs_allowed: bool = False) -> None:
    """Raise AssertionError for the first thing that is not as it must be."""
    assert world.sql("PRAGMA foreign_key_check") == []
    _check_content(world, bad_blobs_allowed)
    _check_tree(world)
    _check_versions(world)
    _check_journal(world)
    _check_usage(world)
    assert world.remembering.counts.mismatches == 0, "the cache says what the database says"


def _check_content(world: World, bad_blobs_allowed: bool) -> None:
    """no_dangling_edge and content_equals_hash: every block stands in a stored blob that gives its bytes."""
    rows = world.sql(
        "SELECT b.sha256, b.blake3, b.size, b.codec, b.blob_id, b.offset, b.stored_size, o.state, o.bad_at "
        "FROM blocks b LEFT JOIN blobs o ON o.blob_id = b.blob_id"
    )
    for sha256, blake3, size, codec, blob, offset, stored_size, state, bad_at in rows:
        assert state == "STORED", f"block {sha256} is in a blob that is {state}"
        if bad_at is not None and bad_blobs_allowed:
            continue
        stored = world.memory.blobs[Container.BLOCKS, BlobId(blob)][offset : offset + stored_size]
        plain = zstandard.decompress(stored) if codec == "zstd" else stored
        assert (len(plain), hashlib.sha256(plain).hexdigest()) == (size, sha256)
        assert blake3_of(plain) == blake3


def _check_tree(world: World) -> None:
    """Every way up ends at a root, the living have unique names, and no version of a purged file is left."""
    parents = dict(world.sql("SELECT node_id, parent_id FROM nodes"))
    for node in parents:
        way, here = set[str](), node
        while parents[here] is not None:
            assert here not in way, f"node {node} is in a cycle"
            way.add(here)
            here = parents[here]
    twice = (
        "SELECT parent_id, name_key FROM nodes WHERE deleted_seq IS NULL "
        "GROUP BY ns_id, parent_id, name_key HAVING COUNT(*) > 1"
    )
    assert world.sql(twice) == []
    left = (
        "SELECT v.version_id FROM versions v JOIN nodes n ON n.node_id = v.node_id "
        "WHERE n.purged_at IS NOT NULL AND v.purged_at IS NULL"
    )
    assert world.sql(left) == []


def _check_versions(world: World) -> None:
    """commit_is_atomic: a version has all its edges, its number, and a place in its node's chain."""
    edges: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for version, sha256, size in world.sql(
        "SELECT e.version_id, b.sha256, b.size FROM version_blocks e "
        "LEFT JOIN blocks b ON b.block_key = e.block_key AND b.ns_id = e.ns_id ORDER BY e.version_id, e.position"
    ):
        assert sha256 is not None, f"version {version} has a dangling edge"
        edges[version].append((sha256, size))
    chains: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for version, node, number, base, size, root, purged in world.sql(
        "SELECT version_id, node_id, number, base_version, size, root_hash, purged_at FROM versions"
    ):
        if purged is not None:
            assert not edges[version], "a purged version still has edges"
        else:
            digests = b"".join(bytes.fromhex(sha256) for sha256, _ in edges[version])
            assert hashlib.sha256(digests).hexdigest() == root
            assert sum(length for _, length in edges[version]) == size
        chains[node].append((number, base, version))
    heads = dict(world.sql("SELECT node_id, head_version FROM nodes WHERE kind = 'file'"))
    assert heads.keys() == chains.keys(), "a file without a version, or a version without a file"
    for node, chain in chains.items():
        chain.sort()
        assert [number for number, _, _ in chain] == list(range(1, len(chain) + 1))
        bases = ["0" * 32] + [version for _, _, version in chain]
        assert [base for _, base, _ in chain] == bases[:-1]
        assert heads[node] == bases[-1]


def _check_journal(world: World) -> None:
    """journal_has_no_gap, and it tells of the making of every node and every version exactly once."""
    entries: dict[str, set[int]] = defaultdict(set)
    told: Counter[Any] = Counter()
    for namespace, seq, node, version, kind in world.sql(
        "SELECT ns_id, seq, node_id, version_id, kind FROM changes"
    ):
        entries[namespace].add(seq)
        if version or kind == "folder_created":
            told[version or node] += 1
    for namespace, seq in world.sql("SELECT ns_id, seq FROM namespaces"):
        assert entries[namespace] == set(range(1, seq + 1))
    assert set(told.values()) <= {1}
    made = world.sql(
        "SELECT version_id FROM versions UNION ALL "
        "SELECT node_id FROM nodes WHERE kind = 'folder' AND parent_id IS NOT NULL"
    )
    assert {each for (each,) in made} <= told.keys()


def _check_usage(world: World) -> None:
    """A namespace uses what its heads and its trash have, and never more than its quota."""
    sizes = dict(
        world.sql(
            "SELECT n.ns_id, SUM(v.size) FROM nodes n JOIN versions v ON v.version_id = n.head_version "
            "WHERE n.purged_at IS NULL GROUP BY n.ns_id"
        )
    )
    for namespace, used, quota in world.sql("SELECT ns_id, used, quota FROM namespaces"):
        assert used == sizes.get(namespace, 0)
        assert used <= quota, "quota_never_exceeded"
