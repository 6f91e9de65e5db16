"""The calls that the command makes, each with its shape; who makes them is the session's business."""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from client.batches import Commit, Packed, read_manifests, read_results, write_batch, write_blocks
from client.credentials import Credentials
from client.errors import CommandFailed, NotThere
from client.session import JSON, Session
from client.transport import Call, Transport, encode
from client.wire import (
    Changes,
    Committed,
    Devices,
    FolderMade,
    Grant,
    Grants,
    LoggedIn,
    Manifest,
    Missing,
    Moved,
    Page,
    Purged,
    Registered,
    RemoteDevice,
    RemoteFile,
    RemoteFolder,
    RemoteVersion,
    Renamed,
    Told,
    TrashedEntry,
    TrashPage,
    Undone,
    Versions,
    decode,
)
from shared.domain.blocks import BlockRef, Sha256

MOST_HASHES = 1_000
"""Hashes that one `blocks/check` may ask about: the interface's limit."""

MOST_GRANTS = 100
"""Blocks that one `blocks/grants` may ask for."""


MOST_CHANGES = 1_000
"""Entries of the journal that one `changes` may ask for."""


class Accounts:
    """The calls that need no login."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def register(self, username: str, password: str) -> str:
        """Return the id of the new user; raises Conflicting for a name that is taken, Refused for bad input."""
        body = encode({"username": username, "password": password})
        reply = self._transport.send(Call("POST", "register", headers=JSON, body=body, repeatable=False))
        return decode(reply.body, Registered, what="registering").user_id

    def login(
        self,
        url: str,
        username: str,
        password: str,
        *,
        device_name: str,
        platform: str,
        device_id: str | None,
    ) -> Credentials:
        """Return credentials for `url`; raises NotLoggedIn. With `device_id` that device is used again."""
        asked_at = datetime.now(UTC)
        document = {
            "username": username,
            "password": password,
            "device_name": device_name,
            "platform": platform,
        }
        if device_id:
            document["device_id"] = device_id
        call = Call("POST", "login", headers=JSON, body=encode(document), repeatable=False)
        answer = decode(self._transport.send(call).body, LoggedIn, what="logging in")
        return Credentials.of(answer, url=url, username=username, user_id=answer.user_id, asked_at=asked_at)


class Api:
    """The calls of somebody who is logged in; any number of threads may use one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def device_id(self) -> str:
        """Which device's login this is."""
        return self._session.credentials.device_id

    def logout(self) -> None:
        self._session.send(Call("POST", "logout"))

    def check_blocks(self, hashes: Sequence[Sha256]) -> frozenset[str]:
        """Which of at most MOST_HASHES blocks the server lacks."""
        call = Call("POST", "blocks/check", headers=JSON, body=encode({"hashes": hashes}))
        return frozenset(decode(self._session.send(call).body, Missing, what="asking for blocks").missing)

    def upload_block(self, sha256: Sha256, body: bytes, *, compressed: bool) -> None:
        """Send a block, `body` being its plain bytes or a zstd frame of them; raises Corrupt, Refused."""
        headers = {"Content-Type": "application/octet-stream", "X-Content-SHA256": sha256}
        if compressed:
            headers["Content-Encoding"] = "zstd"
        self._session.send(Call("POST", "upload", headers=headers, body=body))

    def upload_blocks(self, blocks: Sequence[Packed]) -> int:
        """Send several blocks of at most MOST_CONTENT plain bytes in all; returns the bytes of the request's body.

        Raises Corrupt when one of them was damaged on its way, and Refused: then none of them has arrived.
        """
        headers, body = write_blocks(blocks)
        self._session.send(Call("POST", "blocks/batch", headers=headers, body=body))
        return len(body)

    def grant_blocks(self, blocks: Sequence[BlockRef]) -> dict[str, Grant]:
        """Rights to put blocks into storage, by hash: one for each of at most MOST_GRANTS that the server lacks.

        Raises Throttled while too many granted blocks haven't arrived, Refused for the quota, NotThere where the
        server doesn't know the call.
        """
        document = {"blocks": [{"sha256": block.sha256, "size": block.size} for block in blocks]}
        call = Call("POST", "blocks/grants", headers=JSON, body=encode(document), waits_itself=True)
        answer = decode(self._session.send(call).body, Grants, what="asking for grants")
        return {grant.sha256: grant for grant in answer.grants}

    def commit(
        self, path: str, base: str | None, blocks: Sequence[BlockRef], modified_at: datetime
    ) -> Committed:
        """Make `blocks` the content of `path`, if its head is still `base` (None for no file).

        Raises HeadMoved, BlocksMissing, Conflicting for a taken name, Refused for a bad one or the quota.
        """
        return self._commit(Commit(path, base, blocks, modified_at))

    def commit_to(
        self, file_id: str, base: str, blocks: Sequence[BlockRef], modified_at: datetime
    ) -> Committed:
        """As `commit`, for the file `file_id` wherever it is now; raises NotThere when it is deleted."""
        return self._commit(Commit("", base, blocks, modified_at, file_id))

    def commit_batch(
        self, files: Sequence[Commit], contents: Sequence[bytes], *, compressing: bool
    ) -> tuple[list[Committed | CommandFailed], int]:
        """Commit at most MOST_FILES files, bringing blocks of at most MOST_CONTENT bytes in all.

        Returns what became of each, in order, and the bytes of the request's body; blocks that are not brought must be
        with the server. Raises Refused for the quota, and what every call raises.
        """
        headers, body = write_batch(files, contents, compressing=compressing)
        headers["Idempotency-Key"] = _new_key()
        reply = self._session.send(Call("POST", "files/batch", headers=headers, body=body))
        return read_results(reply.body, len(files)), len(body)

    def _commit(self, file: Commit) -> Committed:
        # One key for this call and its repetitions: a commit whose answer was lost is answered, not made again.
        headers = {**JSON, "Idempotency-Key": _new_key()}
        call = Call("POST", "files/commit", headers=headers, body=encode(file.document()))
        return decode(self._session.send(call).body, Committed, what="committing")

    def file_at(self, path: str) -> RemoteFile | None:
        """The file at `path`, None where there is none."""
        page = self._page({"path": path})
        return page.files[0] if page.files else None

    def entry_at(self, path: str) -> RemoteFile | RemoteFolder:
        """The file or the folder at `path`; raises NotThere."""
        page = self._page({"path": path})
        if page.files:
            return page.files[0]
        if page.folders:
            return page.folders[0]
        raise NotThere(f"{path}: there is no such file or folder on the server")

    def make_folder(self, path: str) -> str:
        """Returns the folder's id. Raises Conflicting for a taken name, NotThere when the folder above is missing."""
        made = self._change("POST", "folders", {"path": path})
        return decode(made, FolderMade, what="making a folder").folder_id

    def move(self, entry: RemoteFile | RemoteFolder, path: str) -> str:
        """Give a file or folder another path; returns it as the server has it. Raises Conflicting, NotThere."""
        if isinstance(entry, RemoteFolder):
            return self.move_node("folder", entry.folder_id, path)
        return self.move_node("file", entry.file_id, path)

    def move_node(self, kind: Literal["file", "folder"], node_id: str, path: str) -> str:
        """As `move`, for what is known by its id; raises Conflicting, NotThere."""
        return decode(self._change("PATCH", f"{kind}s/{node_id}", {"path": path}), Moved, what="moving").path

    def delete_folder(self, folder_id: str, *, as_of: str | None = None) -> None:
        """Delete a folder with all that is in it; raises NotThere.

        With the cursor `as_of`, raises Conflicting when something in it was changed since.
        """
        self._change("DELETE", f"folders/{folder_id}", None, {"as_of": as_of} if as_of else {})

    def versions(self, file_id: str) -> Iterator[RemoteVersion]:
        """A file's versions, newest first; raises NotThere."""
        before: int | None = None
        while True:
            params = {} if before is None else {"before": str(before)}
            reply = self._session.send(Call("GET", f"files/{file_id}/versions", params=params))
            page = decode(reply.body, Versions, what="reading the history")
            yield from page.versions
            if page.next_before is None:
                return
            before = page.next_before

    def restore_version(self, file_id: str, version_id: str) -> Committed:
        """Make an old version current again, as a new version; raises NotThere."""
        body = self._change("POST", f"files/{file_id}/restore", {"version_id": version_id})
        return decode(body, Committed, what="restoring")

    def trash(self) -> Iterator[TrashedEntry]:
        """What was deleted, newest first."""
        before: int | None = None
        while True:
            params = {} if before is None else {"before": str(before)}
            page = decode(
                self._session.send(Call("GET", "trash", params=params)).body,
                TrashPage,
                what="reading the trash",
            )
            yield from page.trash
            if page.next_before is None:
                return
            before = page.next_before

    def restore_trashed(self, entry_id: str, path: str | None) -> str:
        """Bring something back, to where it was or to `path`; returns its path. Raises Conflicting, NotThere."""
        body = self._change("POST", f"trash/{entry_id}/restore", {"path": path})
        return decode(body, Moved, what="restoring").path

    def purge(self, entry_id: str) -> Purged:
        """Let go of something in the trash for good; raises NotThere."""
        return decode(self._change("DELETE", f"trash/{entry_id}", None), Purged, what="purging")

    def changes(self, cursor: str | None, *, limit: int = MOST_CHANGES) -> Changes:
        """The page of the journal behind `cursor`, everything that there is without one.

        Raises Conflicting with the code `cursor_reset` when this cursor can't be followed any more.
        """
        params = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        reply = self._session.send(Call("GET", "changes", params=params))
        return decode(reply.body, Changes, what="following the changes")

    def wait_for_changes(self, cursor: str) -> Told:
        """Wait at the server until the journal goes on behind `cursor`, or its patience (25 s) is at its end.

        Raises NotThere for a server that can't tell by itself.
        """
        reply = self._session.send(Call("GET", "notifications", params={"cursor": cursor}))
        return decode(reply.body, Told, what="waiting for changes")

    def devices(self) -> list[RemoteDevice]:
        """The devices that are logged in as this user, seen last first."""
        return list(
            decode(self._session.send(Call("GET", "devices")).body, Devices, what="listing devices").devices
        )

    def rename_device(self, device_id: str, name: str) -> str:
        """Returns the name as the server keeps it; raises NotThere."""
        body = self._change("PATCH", f"devices/{device_id}", {"name": name})
        return decode(body, Renamed, what="renaming a device").name

    def revoke_device(self, device_id: str) -> None:
        """End a device's login; raises NotThere."""
        self._change("DELETE", f"devices/{device_id}", None)

    def undo(self, device: str, since: datetime, until: datetime, *, dry_run: bool) -> Undone:
        """Take back what a device did, or tell what that would be; raises Refused for too much at once."""
        document = {
            "device": device,
            "from": since.isoformat(),
            "to": until.isoformat(),
            "dry_run": dry_run,
        }
        return decode(self._change("POST", "undo", document), Undone, what="undoing")

    def _change(
        self,
        method: str,
        route: str,
        document: Mapping[str, object] | None,
        params: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        """Send a change that is made once, however often it has to be sent."""
        headers = {"Idempotency-Key": _new_key()}
        if document is not None:
            headers |= JSON
        body = encode(document) if document is not None else b""
        call = Call(method, route, params=params, headers=headers, body=body)
        return self._session.send(call).body

    def folder(self, path: str, *, limit: int | None = None) -> Iterator[Page]:
        """Pages of what is directly in the folder `path`; raises NotThere."""
        params = {"folder": path}
        if limit is not None:
            params["limit"] = str(limit)
        while True:
            page = self._page(params)
            yield page
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor

    def manifest(self, file_id: str, version_id: str | None = None) -> Manifest:
        """Where the blocks of a version are (of the head, without an id); raises NotThere."""
        params = {"version": version_id} if version_id else {}
        reply = self._session.send(Call("GET", f"files/{file_id}/manifest", params=params))
        return decode(reply.body, Manifest, what="reading a manifest")

    def manifests(self, wanted: Sequence[tuple[str, str]]) -> list[Manifest | CommandFailed]:
        """The manifests of at most MOST_FILES versions (file id, version id), in order, or what is wrong with each."""
        files = [{"file_id": file, "version_id": version} for file, version in wanted]
        call = Call("POST", "files/manifests", headers=JSON, body=encode({"files": files}))
        return read_manifests(self._session.send(call).body, len(files))

    def content(self, file_id: str, version_id: str) -> bytes:
        """The bytes of a small file's version, which the caller has to verify; raises NotThere."""
        call = Call("GET", f"files/download/{file_id}", params={"version": version_id})
        return self._session.send(call).body

    def delete(self, file_id: str, *, as_of: str | None = None) -> None:
        """Delete a file; raises NotThere, and with `as_of` as `delete_folder`."""
        try:
            self._change("DELETE", f"files/delete/{file_id}", None, {"as_of": as_of} if as_of else {})
        except NotThere as error:
            if error.tries == 1:  # otherwise the answer to the first try may have been lost on its way
                raise

    def _page(self, params: dict[str, str]) -> Page:
        return decode(self._session.send(Call("GET", "files/list", params=params)).body, Page, what="listing")


def _new_key() -> str:
    # The secrets module makes the same of it, and loads what makes other random things.
    return os.urandom(16).hex()
