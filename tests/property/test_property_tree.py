"""Any order of changes leaves the tree that a small model has, and a client that follows the journal has it, too."""

from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, rule, run_state_machine_as_test

from shared.domain.ids import NodeId
from shared.domain.names import parse_path
from tests.property.tree_machine import TreeMachine
from tests.support.invariants import check_invariants
from tests.support.replayer import Replayer

STEPS = settings(
    max_examples=30,
    stateful_step_count=30,
    # A step is a few transactions on a disk; how fast that is says nothing.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Listed(TreeMachine):
    """After each step every way to look at the tree shows what the model has."""

    @invariant()
    def listing_is_the_model(self) -> None:
        expected = self.model.tree()
        found: dict[NodeId, tuple[NodeId | None, str, bytes | None]] = {}
        waiting = ["/"]
        while waiting:
            at = waiting.pop()
            page = self.run(
                self.world.list_files.folder(self.ann, None, parse_path(at), cursor=None, limit=1000)
            )
            for entry in [*(page.folders or []), *page.files]:
                node = entry.node
                content = self.run(self.world.read(self.ann, node.id)) if node.head else None
                found[node.id] = (node.parent, node.name, content)
                assert entry.path == self.model.path(node.id)
            waiting += [entry.path for entry in page.folders or []]
        assert found == expected

    @invariant()
    def whole_tree_and_search_agree(self) -> None:
        files = {node for node, (_, _, content) in self.model.tree().items() if content is not None}
        listed: dict[NodeId, str] = {}
        cursor: str | None = None
        while True:
            page = self.run(self.world.list_files.whole_tree(self.ann, None, cursor=cursor, limit=3))
            listed |= {entry.node.id: entry.path for entry in page.files}
            cursor = page.next_cursor
            if cursor is None:
                break
        assert listed == {node: self.model.path(node) for node in files}
        found = self.run(self.world.list_files.search(self.ann, None, "S", cursor=None, limit=1000))
        named = {entry.node.id for entry in [*(found.folders or []), *found.files]}
        assert named == {node for node, (_, name, _) in self.model.tree().items() if name in ("ß", "SS")}

    @invariant()
    def trash_is_the_model(self) -> None:
        page = self.run(self.world.use_trash.page(self.ann, None, before=None, limit=1000))
        assert {trashed.node.id for trashed in page} == set(self.model.trash())
        assert len(page) == len(self.model.trash())

    @invariant()
    def quota_is_heads_and_trash(self) -> None:
        root = self.world.sql("SELECT used FROM namespaces WHERE ns_id = :ns", ns=self.model.root)
        assert root == [(self.model.used(),)]

    def teardown(self) -> None:
        try:
            for node in self.model.living(files=True):
                page = self.run(self.world.use_versions.page(self.ann, node, before=None, limit=1000))
                kept = [self.run(self.world.read(self.ann, node, version.id)) for version in reversed(page)]
                assert kept == self.model.items[node].contents
            check_invariants(self.world)
        finally:
            super().teardown()


class Followed(TreeMachine):
    """journal_rebuilds_tree: clients start at any moment and read pages of any size while the tree changes."""

    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Replayer] = []

    @rule(target=clients, limit=st.integers(1, 4))
    def start(self, limit: int) -> Replayer:
        client = Replayer(self.world, self.ann)
        self.run(client.page(limit))
        self.all.append(client)
        return client

    @rule(client=clients, limit=st.integers(1, 4), pages=st.integers(1, 3))
    def read(self, client: Replayer, limit: int, pages: int) -> None:
        for _ in range(pages):
            self.run(client.page(limit))

    @rule(client=clients, limit=st.integers(1, 5))
    def catch_up(self, client: Replayer, limit: int) -> None:
        pages = self.run(client.catch_up(limit))
        assert all(page.entries for page in pages[1:]), "a page that was promised is empty"
        self._has_the_tree(client)

    def _has_the_tree(self, client: Replayer) -> None:
        heads = dict(self.world.sql("SELECT node_id, head_version FROM nodes"))
        expected = {
            node: (parent, name, heads[node]) for node, (parent, name, _) in self.model.tree().items()
        }
        assert client.tree() == expected

    def teardown(self) -> None:
        try:
            for client in self.all:
                self.run(client.catch_up(2))
                self._has_the_tree(client)
            fresh = Replayer(self.world, self.ann)
            self.run(fresh.catch_up(3))
            self._has_the_tree(fresh)
        finally:
            super().teardown()


def test_any_order_of_changes_leaves_the_tree_that_the_model_has(template: Path) -> None:
    Listed.template = template
    run_state_machine_as_test(Listed, settings=STEPS)


def test_journal_rebuilds_tree_for_a_client_that_starts_whenever(template: Path) -> None:
    Followed.template = template
    run_state_machine_as_test(Followed, settings=STEPS)
