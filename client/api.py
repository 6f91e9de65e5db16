"""The calls that the command makes, each with its shape; who makes them is the session's business."""

import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from client.credentials import Credentials
from client.errors import NotThere
from client.session import JSON, Session
from client.transport import Call, Transport, encode
from client.wire import (
    Committed,
    Grant,
    Grants,
    LoggedIn,
    Manifest,
    Missing,
    Page,
    Registered,
    RemoteFile,
    decode,
)
from shared.domain.blocks import BlockRef, Sha256

MOST_HASHES = 1_000
"""Hashes that one `blocks/check` may ask about: the interface's limit."""

MOST_GRANTS = 100
"""Blocks that one `blocks/grants` may ask for."""


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
        document = {
            "path": path,
            "base_version": base,
            "blocks": [{"sha256": block.sha256, "size": block.size} for block in blocks],
            "modified_at": modified_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        }
        # One key for this call and its repetitions: a commit whose answer was lost is answered, not made again.
        headers = {**JSON, "Idempotency-Key": secrets.token_hex(16)}
        call = Call("POST", "files/commit", headers=headers, body=encode(document))
        return decode(self._session.send(call).body, Committed, what="committing")

    def file_at(self, path: str) -> RemoteFile | None:
        """The file at `path`, None where there is none."""
        page = self._page({"path": path})
        return page.files[0] if page.files else None

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

    def delete(self, file_id: str) -> None:
        """Delete a file; raises NotThere."""
        try:
            self._session.send(Call("DELETE", f"files/delete/{file_id}"))
        except NotThere as error:
            if error.tries == 1:  # otherwise the answer to the first try may have been lost on its way
                raise

    def _page(self, params: dict[str, str]) -> Page:
        return decode(self._session.send(Call("GET", "files/list", params=params)).body, Page, what="listing")
