"""What a folder's memory is about: one server, one user, one folder. Anything else is refused before it does harm.

With another login the tree on the server is another one, and everything of the old one would look deleted; with
another disk at the folder's path, everything local would.
"""

from client.errors import Conflicting
from client.sync.database import Database
from client.sync.folder import SyncFolder


def is_bound(database: Database, folder: SyncFolder, *, url: str, user_id: str) -> bool:
    """Whether the memory is about exactly this."""
    return all(database.get(key) == value for key, value in _asked(folder, url, user_id).items())


def _asked(folder: SyncFolder, url: str, user_id: str) -> dict[str, str]:
    return {
        "url": url,
        "user_id": user_id,
        "folder": str(folder.path).encode("utf-8", "backslashreplace").decode(),
        "root": f"{folder.device}:{folder.inode}",
    }


def bind(
    database: Database, folder: SyncFolder, *, url: str, user_id: str, accept_folder: bool = False
) -> None:
    """See to it that the memory is about exactly this, which a new one is from now on.

    Raises Conflicting, saying what differs. `accept_folder` takes another folder at the same path for the old one.
    """
    asked = _asked(folder, url, user_id)
    with database.transaction():
        known = {key: database.get(key) for key in asked}
        if known["url"] is None:
            database.put(**asked)
            return
        if (known["url"], known["user_id"]) != (url, user_id):
            raise Conflicting(
                f"{folder.path} is kept in step with another login (user {known['user_id']} at {known['url']}): "
                f"log in there again, or remove {database.path} to begin anew with this one",
                code="sync_other_login",
            )
        if known["root"] != asked["root"] and not accept_folder:
            raise Conflicting(
                f"{folder.path} is not the folder that was synced before: is a disk not mounted? "
                "If it was moved here or restored, say so with --accept-folder",
                code="sync_other_folder",
            )
        database.put(**asked)
