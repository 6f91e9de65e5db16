"""`strata mv`, `mkdir`, `history`, `restore`, `trash`: what changes the tree without moving a byte."""

from threading import Event
from typing import Annotated

from rich import filesize

from client.arguments import Argument, Option
from client.connection import logged_in
from client.errors import Misuse, NotThere, Refused
from client.options import Common
from client.remote_paths import parse_remote
from client.screen import Document
from client.wire import RemoteFile, RemoteFolder, RemoteVersion, TrashedEntry

_ID_LENGTH = 32


def mv(
    common: Common,
    source: Annotated[str, Argument("SOURCE", help="A remote file or folder.")],
    target: Annotated[str, Argument("TARGET", help="Its new path, or with / at the end a folder.")],
) -> None:
    """Move or rename a remote file or folder. Nothing is sent again, whatever its size.

    Examples:

      strata mv /draft.txt /final.txt

      strata mv /photos/2025 /archive/
    """
    screen = common.screen
    start, end = parse_remote(source), parse_remote(target)
    if not start.names:
        raise Refused("the root folder can't be moved", code="is_root")
    path = str(end) if not end.into else "/" + "/".join((*end.names, start.names[-1]))
    with logged_in(common.place, Event()) as api:
        moved = api.move(api.entry_at(str(start)), path)
    screen.result({"from": str(start), "path": moved}, f"{start} is now {moved}")


def mkdir(
    common: Common,
    remote: Annotated[str, Argument("REMOTE", help="The new folder; the one above must be there.")],
) -> None:
    """Make a remote folder.

    Example:  strata mkdir /office/reports
    """
    screen = common.screen
    path = str(parse_remote(remote.removesuffix("/")))
    with logged_in(common.place, Event()) as api:
        api.make_folder(path)
    screen.result({"path": path}, f"{path} is made")


def history(
    common: Common,
    remote: Annotated[str, Argument("REMOTE", help="A remote file.")],
) -> None:
    """Show the versions of a remote file, newest first.

    Any of them can be fetched back: `strata restore REMOTE --version N`.
    """
    screen = common.screen
    with logged_in(common.place, Event()) as api:
        file = _file(api.entry_at(str(parse_remote(remote))))
        versions = list(api.versions(file.file_id))
    if screen.as_json:
        screen.result({"path": file.path, "versions": [_version(version) for version in versions]})
        return
    rows = [
        (str(version.version), filesize.decimal(version.size_bytes), version.created_at, version.version_id)
        for version in versions
    ]
    screen.table(("Version", "Size", "Saved", "Id"), rows)


def restore(
    common: Common,
    what: Annotated[str, Argument("REMOTE|ID", help="A remote file, or the id of something in the trash.")],
    version: Annotated[
        int | None, Option("--version", "-n", least=1, help="Which version of the file.")
    ] = None,
    to: Annotated[
        str | None, Option("--to", metavar="REMOTE", help="Another place for what was in the trash.")
    ] = None,
) -> None:
    """Make an old version current again, or bring something back from the trash.

    An old version becomes a new one, so nothing is lost by it.

    Examples:

      strata restore /office/report.pdf --version 3

      strata restore 0f3a…  (an id that `strata trash` shows)  --to /rescued/
    """
    screen = common.screen
    with logged_in(common.place, Event()) as api:
        if version is None:
            if len(what) != _ID_LENGTH:
                raise Misuse(
                    "say which version with --version (strata history shows them), or give an id from the trash"
                )
            path = api.restore_trashed(what, str(parse_remote(to)) if to is not None else None)
            screen.result({"id": what, "path": path}, f"{path} is back")
            return
        if to is not None:
            raise Misuse(
                "--to is for what comes from the trash; an old version comes back at its file's place"
            )
        file = _file(api.entry_at(str(parse_remote(what))))
        found = next((each for each in api.versions(file.file_id) if each.version == version), None)
        if found is None:
            raise NotThere(f"{file.path} has no version {version} (strata history shows those that it has)")
        done = api.restore_version(file.file_id, found.version_id)
    document: Document = {"path": file.path, "version": done.version, "unchanged": done.unchanged}
    said = (
        "has this content already"
        if done.unchanged
        else f"has the content of version {version} as version {done.version}"
    )
    screen.result(document, f"{file.path} {said}")


def trash(
    common: Common,
    purge: Annotated[
        str | None, Option("--purge", metavar="ID", help="Let go of this entry for good.")
    ] = None,
) -> None:
    """Show what was deleted, newest first; bring it back with `strata restore ID`.

    The trash counts against the quota. `--purge ID` frees the room, and can't be taken back.
    """
    screen = common.screen
    with logged_in(common.place, Event()) as api:
        if purge is not None:
            gone = api.purge(purge)
            screen.result(
                {"id": purge, "files": gone.files, "bytes": gone.bytes},
                f"{gone.files:,} file(s), {filesize.decimal(gone.bytes)} are gone for good",
            )
            return
        entries = list(api.trash())
    if screen.as_json:
        screen.result({"trash": [_trashed(entry) for entry in entries]})
        return
    rows = [
        (
            entry.name + ("/" if entry.kind == "folder" else ""),
            "" if entry.size_bytes is None else filesize.decimal(entry.size_bytes),
            entry.deleted_at,
            entry.id,
        )
        for entry in entries
    ]
    screen.table(("Name", "Size", "Deleted", "Id"), rows)


def _file(entry: RemoteFile | RemoteFolder) -> RemoteFile:
    if isinstance(entry, RemoteFolder):
        raise Refused(f"{entry.path} is a folder: only files have versions", code="is_folder")
    return entry


def _version(version: RemoteVersion) -> Document:
    return {
        "version": version.version,
        "version_id": version.version_id,
        "size": version.size_bytes,
        "root_hash": version.root_hash,
        "created_at": version.created_at,
        "modified_at": version.modified_at,
    }


def _trashed(entry: TrashedEntry) -> Document:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "name": entry.name,
        "size": entry.size_bytes,
        "deleted_at": entry.deleted_at,
    }
