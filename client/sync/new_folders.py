"""The ids of folders that a plan makes on the server: what goes into them is planned before they have one."""

from client.sync.actions import Download, MakeFolderLocal, MakeFolderRemote, MoveLocal, MoveRemote, Upload
from client.sync.local_changes import Outdated
from client.sync.run_outcome import shown_path
from client.sync.trees import Names
from shared.domain.ids import NodeId

Placing = MakeFolderLocal | MakeFolderRemote | MoveLocal | MoveRemote | Upload | Download


class NewFolders:
    """Folders that were made in this round, by their paths on the server and here."""

    def __init__(self) -> None:
        self._there: dict[Names, NodeId] = {}
        self._here: dict[Names, NodeId] = {}

    def made(self, action: MakeFolderRemote, node: NodeId) -> None:
        self._there[action.path] = node
        self._here[action.local_path] = node

    def parent_of(self, action: Placing) -> NodeId:
        """The id of the folder above; raises Outdated when it could not be made."""
        if action.parent_id is not None:
            return action.parent_id
        match action:
            case MakeFolderRemote(path=path) | MoveRemote(target=path) | Upload(remote_path=path):
                node = self._there.get(path[:-1])
            case MakeFolderLocal(path=path) | MoveLocal(target=path) | Download(path=path):
                node = self._here.get(path[:-1])
        if node is None:
            raise Outdated(f"the folder of {shown_path(path)} could not be made")
        return node
