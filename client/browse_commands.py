"""`strata ls`, `rm`."""

from datetime import datetime
from threading import Event
from typing import Annotated

from rich import filesize

from client.api import Api
from client.arguments import Argument, Option
from client.connection import logged_in
from client.errors import CommandFailed, Ended, NotThere, Refused
from client.options import Common
from client.remote_paths import RemotePath, parse_remote
from client.remote_tree import Content, contents, folder_exists, look_up
from client.screen import Document, error_member
from client.wire import RemoteFile, RemoteFolder


def ls(
    common: Common,
    remote: Annotated[str, Argument("[REMOTE]", help="A remote folder or file.")] = "/",
    recursive: Annotated[bool, Option("--recursive", "-r", help="Folders below as well.")] = False,
) -> None:
    """List remote files and folders.

    At a terminal this is a table; in a pipe each line is name, size in bytes, time and version, between tabs.

    Examples:

      strata ls

      strata ls /office --recursive

      strata ls --json | jq '.files[].path'
    """
    screen = common.screen
    path = parse_remote(remote)
    files: list[RemoteFile] = []
    folders: list[str] = []
    with logged_in(common.place, Event()) as api:
        file = look_up(api, path)
        pages = [Content((file,), ())] if file else contents(api, path, recursive=recursive)
        for content in pages:
            files += content.files
            folders += [folder.path for folder in content.folders]
    if screen.as_json:
        screen.result({"path": str(path), "folders": folders, "files": [_document(file) for file in files]})
        return

    def name(full: str) -> str:
        return full if recursive else full.rpartition("/")[2]

    exact = not screen.at_terminal
    rows = [(name(folder) + "/", "", "", "") for folder in sorted(folders)]
    rows += [
        (name(file.path), _size(file.size_bytes, exact), _time(file.modified_at, exact), str(file.version))
        for file in sorted(files, key=lambda file: file.path)
    ]
    screen.table(("Name", "Size", "Modified", "Version"), rows)


def rm(
    common: Common,
    remotes: Annotated[list[str], Argument("REMOTE...", help="Remote files.")],
    recursive: Annotated[
        bool, Option("--recursive", "-r", help="Folders, too, with all that is in them.")
    ] = False,
) -> None:
    """Delete remote files, and with --recursive folders. What is deleted is in the trash: strata trash.

    Example:  strata rm /office/report.pdf
    """
    screen = common.screen
    deleted: list[Document] = []
    failed: list[Document] = []
    worst: CommandFailed | None = None
    with logged_in(common.place, Event()) as api:
        for remote in remotes:
            try:
                path = parse_remote(remote)
                file = api.file_at(str(path)) if path.names and not path.into else None
                if file is not None:
                    api.delete(file.file_id)
                    deleted.append({"path": file.path, "file_id": file.file_id})
                else:
                    deleted.append(_delete_folder(api, path, recursive))
            except CommandFailed as error:
                if error.fatal:
                    raise
                if worst is None or error.exit_code > worst.exit_code:
                    worst = error
                failed.append({"path": remote, "error": error_member(error)})
                screen.complain(str(error))
    document: Document = {"deleted": deleted, "failed": failed}
    if worst:
        document["error"] = error_member(worst)
    screen.result(document, f"{len(deleted)} deleted" if deleted else None)
    if worst:
        raise Ended(worst.exit_code)


def _delete_folder(api: Api, path: RemotePath, recursive: bool) -> Document:
    if not path.names:
        raise Refused("the root folder can't be deleted", code="is_folder")
    if not recursive and folder_exists(api, path):
        raise Refused(f"{path} is a folder: add --recursive to delete all that is in it", code="is_folder")
    entry = api.entry_at(str(path)) if recursive else None
    if not isinstance(entry, RemoteFolder):
        raise NotThere(f"{path}: there is no such file or folder on the server")
    api.delete_folder(entry.folder_id)
    return {"path": entry.path, "folder_id": entry.folder_id}


def _document(file: RemoteFile) -> Document:
    return {
        "file_id": file.file_id,
        "path": file.path,
        "size": file.size_bytes,
        "modified_at": file.modified_at,
        "version_id": file.version_id,
        "version": file.version,
        "root_hash": file.root_hash,
    }


def _size(size: int, exact: bool) -> str:
    return str(size) if exact else filesize.decimal(size)


def _time(text: str, exact: bool) -> str:
    if exact:
        return text
    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        # No time, or one of the calendar's first or last day that has no date in the zone of this machine.
        return text
