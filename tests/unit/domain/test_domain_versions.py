"""What a commit does, as a table: head, basis and content on the left, the decision on the right."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.blocks import hash_of
from shared.domain.errors import Malformed, PreconditionFailed
from shared.domain.ids import NO_VERSION, VersionId, parse_id
from shared.domain.versions import (
    Basis,
    Decision,
    OnHead,
    OnVersion,
    Replace,
    Stale,
    Unchanged,
    Version,
    decide_commit,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OLD, NEW = hash_of(b"old"), hash_of(b"new")
HEAD = Version(VersionId("a" * 32), 3, 10, OLD, NOW, NOW, 7)
EARLIER = VersionId("b" * 32)
ANY = frozenset("*")

TABLE: list[tuple[str, Version | None, Basis, str, int, Decision]] = [
    ("new file", None, OnVersion(NO_VERSION), NEW, 5, Replace(NO_VERSION, 1)),
    ("new file, whatever is there", None, OnHead(), NEW, 5, Replace(NO_VERSION, 1)),
    ("next version", HEAD, OnVersion(HEAD.id), NEW, 5, Replace(HEAD.id, 4)),
    ("next version, whatever is there", HEAD, OnHead(), NEW, 5, Replace(HEAD.id, 4)),
    ("based on an earlier one", HEAD, OnVersion(EARLIER), NEW, 5, Stale(HEAD)),
    ("thought to be new", HEAD, OnVersion(NO_VERSION), NEW, 5, Stale(HEAD)),
    ("the file is gone", None, OnVersion(EARLIER), NEW, 5, Stale(None)),
    ("same content on the head", HEAD, OnVersion(HEAD.id), OLD, 10, Unchanged(HEAD)),
    ("same content on an earlier one", HEAD, OnVersion(EARLIER), OLD, 10, Unchanged(HEAD)),
    ("same content, thought to be new", HEAD, OnVersion(NO_VERSION), OLD, 10, Unchanged(HEAD)),
    ("same content, whatever is there", HEAD, OnHead(), OLD, 10, Unchanged(HEAD)),
    ("same root, other size", HEAD, OnVersion(HEAD.id), OLD, 11, Replace(HEAD.id, 4)),
    ("If-Match holds", HEAD, OnHead(if_match=frozenset({OLD})), NEW, 5, Replace(HEAD.id, 4)),
    (
        "If-Match holds for one of many",
        HEAD,
        OnHead(if_match=frozenset({NEW, OLD})),
        NEW,
        5,
        Replace(HEAD.id, 4),
    ),
    ("If-Match: *", HEAD, OnHead(if_match=ANY), NEW, 5, Replace(HEAD.id, 4)),
    ("If-None-Match: *, new", None, OnHead(if_none_match=ANY), NEW, 5, Replace(NO_VERSION, 1)),
    ("If-None-Match: another", HEAD, OnHead(if_none_match=frozenset({NEW})), NEW, 5, Replace(HEAD.id, 4)),
]


@pytest.mark.parametrize(
    ("head", "basis", "root", "size", "decision"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_decisions(head: Version | None, basis: Basis, root: str, size: int, decision: Decision) -> None:
    assert (
        decide_commit(head=head, basis=basis, root=hash_of(b"old") if root == OLD else NEW, size=size)
        == decision
    )


@pytest.mark.parametrize(
    ("head", "basis"),
    [
        (None, OnHead(if_match=ANY)),
        (None, OnHead(if_match=frozenset({OLD}))),
        (HEAD, OnHead(if_match=frozenset({NEW}))),
        (HEAD, OnHead(if_match=frozenset())),
        (HEAD, OnHead(if_none_match=ANY)),
        (HEAD, OnHead(if_none_match=frozenset({OLD}))),
        (HEAD, OnHead(if_match=ANY, if_none_match=frozenset({OLD, NEW}))),
    ],
)
@pytest.mark.parametrize("root", [OLD, NEW])
def test_conditions_come_before_everything_else(head: Version | None, basis: OnHead, root: str) -> None:
    with pytest.raises(PreconditionFailed):
        decide_commit(head=head, basis=basis, root=OLD if root == OLD else NEW, size=10)


@given(
    st.sampled_from([None, HEAD, replace(HEAD, number=1)]), st.sampled_from([NO_VERSION, HEAD.id, EARLIER])
)
def test_no_lost_update_only_a_commit_on_the_head_replaces_it(head: Version | None, base: VersionId) -> None:
    decision = decide_commit(head=head, basis=OnVersion(base), root=NEW, size=1)
    assert isinstance(decision, Replace) == (base == (head.id if head else NO_VERSION))


@pytest.mark.parametrize(
    "text", ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 32 + "\n", "../" + "a" * 29]
)
def test_ids_have_one_form(text: str) -> None:
    with pytest.raises(Malformed, match="file_id"):
        parse_id(text, "file_id")
    assert parse_id("0" * 32, "file_id") == NO_VERSION
