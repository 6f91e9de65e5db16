"""A client that knows a tree by the journal alone, as the docstring of follow_changes tells it to."""

from dataclasses import dataclass, field

from shared.domain.accounts import Caller
from shared.domain.ids import NodeId
from shared.ports.tables_files import Node
from shared.ports.tables_journal import ChangeKind
from shared.usecases.follow_changes import Changes
from tests.support.world import World


@dataclass
class Replayer:
    """`nodes` by id, with those below deleted folders; a root has the id of its namespace."""

    world: World
    caller: Caller
    cursor: str | None = None
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    roots: set[NodeId] = field(default_factory=set)

    async def page(self, limit: int) -> Changes:
        """Read one page and apply it."""
        page = await self.world.follow_changes(self.caller, cursor=self.cursor, limit=limit)
        for told in page.entries:
            self.roots.add(NodeId(told.namespace))
            if told.node is None:
                self.nodes.pop(told.node_id, None)
            else:
                self.nodes[told.node_id] = told.node
            if told.kind is ChangeKind.FOLDER_PURGED:
                self._let_go_below(told.node_id)
        self.cursor = page.cursor
        return page

    async def catch_up(self, limit: int) -> list[Changes]:
        """Read on until there is nothing more."""
        pages = [await self.page(limit)]
        while pages[-1].has_more:
            pages.append(await self.page(limit))
        return pages

    def tree(self) -> dict[NodeId, tuple[NodeId, str, str | None]]:
        """(parent, name, version) of each node whose way up reaches the root."""
        return {
            node.id: (node.parent, node.name, node.head.id if node.head else None)
            for node in self.nodes.values()
            if node.parent is not None and self._reaches_root(node)
        }

    def _reaches_root(self, node: Node) -> bool:
        # What was told at different times can make a ring, until the rest is told.
        way: set[NodeId] = set()
        here: Node | None = node
        while here is not None and here.id not in way:
            way.add(here.id)
            if here.parent in self.roots:
                return True
            here = self.nodes.get(here.parent) if here.parent else None
        return False

    def _let_go_below(self, folder: NodeId) -> None:
        for below in [node.id for node in self.nodes.values() if node.parent == folder]:
            self.nodes.pop(below, None)
            self._let_go_below(below)
