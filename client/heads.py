"""What is current at a remote path before something is put there.

Asking for each file of a tree costs a request a file, which is as much as the commit itself. So a folder that
gets many files is listed once, and below a folder that doesn't exist nothing needs to be asked at all.
"""

from collections import OrderedDict
from threading import Lock

from client.api import Api
from client.errors import NotThere
from client.remote_paths import RemotePath
from client.wire import RemoteFile

MANY = 8
"""Files for one folder, from which on a list of it is cheaper than a question for each."""

_FOLDERS_KEPT = 32


class _Folder:
    def __init__(self) -> None:
        self.lock = Lock()
        self.files: dict[str, RemoteFile] | None = None


class Heads:
    """Heads by path; any number of threads may ask. A folder's list is as old as the first question about it:
    what changes after that is found by the commit, as for anybody's stale knowledge."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = Lock()
        self._absent: set[str] = set()
        self._folders: OrderedDict[str, _Folder] = OrderedDict()

    def look_at(self, folder: RemotePath) -> None:
        """Find out whether `folder` exists, before many questions about what is below it."""
        try:
            next(self._api.folder(str(folder), limit=1))
        except NotThere:
            with self._lock:
                self._absent.add(str(folder))

    def at(self, path: RemotePath, *, siblings: int) -> RemoteFile | None:
        """The file at `path`, None where there is none; `siblings` is how many go to the same folder."""
        if self._below_absent(path):
            return None
        if siblings < MANY:
            return self._api.file_at(str(path))
        return self._listed(RemotePath(path.names[:-1])).get(str(path))

    def _below_absent(self, path: RemotePath) -> bool:
        with self._lock:
            return bool(self._absent) and any(
                str(RemotePath(path.names[:depth])) in self._absent for depth in range(len(path.names))
            )

    def _listed(self, folder: RemotePath) -> dict[str, RemoteFile]:
        with self._lock:
            known = self._folders.setdefault(str(folder), _Folder())
            self._folders.move_to_end(str(folder))
            if len(self._folders) > _FOLDERS_KEPT:
                self._folders.popitem(last=False)
        with known.lock:  # the first one asks, the others wait for its answer
            if known.files is None:
                try:
                    pages = list(self._api.folder(str(folder)))
                except NotThere:
                    pages = []
                known.files = {file.path: file for page in pages for file in page.files}
            return known.files
