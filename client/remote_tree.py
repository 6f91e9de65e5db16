"""What a remote path is, and everything below it."""

from collections.abc import Iterator
from dataclasses import dataclass

from client.api import Api
from client.errors import NotThere
from client.remote_paths import RemotePath
from client.wire import RemoteFile, RemoteFolder


@dataclass(frozen=True, slots=True)
class Content:
    """What is directly in a folder, or a part of it."""

    files: tuple[RemoteFile, ...]
    folders: tuple[RemoteFolder, ...]


def look_up(api: Api, path: RemotePath) -> RemoteFile | None:
    """The file at `path`, None when it is a folder; raises NotThere when it is neither."""
    if not path.names:
        return None
    file = None if path.into else api.file_at(str(path))
    if file is None and not folder_exists(api, path):
        raise NotThere(f"{path}: there is no such file or folder on the server")
    return file


def folder_exists(api: Api, path: RemotePath) -> bool:
    try:
        next(api.folder(str(path), limit=1))
    except NotThere:
        return False
    return True


def contents(api: Api, path: RemotePath, *, recursive: bool) -> Iterator[Content]:
    """What is in the folder `path`, page by page, folders below it afterwards; raises NotThere.

    A folder below that is gone when it is reached was deleted meanwhile, and is passed over.
    """
    waiting = [str(path)]
    while waiting:
        current = waiting.pop(0)
        try:
            for page in api.folder(current):
                if recursive:
                    waiting += [folder.path for folder in page.folders]
                yield Content(tuple(page.files), tuple(page.folders))
        except NotThere:
            if current == str(path):
                raise
