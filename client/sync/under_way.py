"""What the latest plan was to bring to the server: for a run that was killed before it could write down what it did.

A kill may leave on the server what came from here and has no row yet. Without knowing where it came from, a file that
was edited once more would be in conflict with itself, and one that was brought back would be deleted again.
"""

from collections.abc import Iterator, Mapping

from client.sync.actions import DeleteRemote, Plan, Upload
from client.sync.database import Database
from client.sync.trees import Content, Names
from shared.domain.blocks import Sha256
from shared.domain.ids import NodeId

_Row = tuple[str | None, str | None, str | None, int | None]


class UnderWay:
    """By node, or by the remote path of a new file: the content that was to become current, None for a deletion."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> Mapping[NodeId | Names, Content | None]:
        with self._database.reading() as connection:
            rows = connection.execute("SELECT node_id, path, root_hash, size FROM under_way").fetchall()
        return {
            NodeId(node) if node is not None else tuple(path.split("/")): None
            if root is None
            else Content(Sha256(root), size)
            for node, path, root, size in rows
        }

    def replace(self, plan: Plan) -> None:
        """Note what `plan` is to do, in place of what an earlier one was; it outlives a kill when this returns."""
        rows = list(_rows(plan))
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM under_way")
            connection.executemany(
                "INSERT INTO under_way (node_id, path, root_hash, size) VALUES (?, ?, ?, ?)", rows
            )


def _rows(plan: Plan) -> Iterator[_Row]:
    for action in plan.actions:
        match action:
            case Upload(node_id=node, remote_path=path, content=content):
                place = (node, None) if node is not None else (None, "/".join(path))
                yield (*place, content.root_hash, content.size)
            case DeleteRemote(node_id=node, covers=covers):
                yield node, None, None, None
                for covered, _ in covers:
                    yield covered, None, None, None
            case _:
                pass
