"""The fake server's direct way: grants, the storage that takes what they allow, and the indexer behind it.

Time passes by the questions that are asked: a delivered block is looked at when `blocks/check` has been called
`delay` times since it came, or since anything came with `busy_while_more_comes`. What becomes of it, `verdict` decides.
"""

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from tests.unit.client.fake_http import Reply, Request, document, problem

if TYPE_CHECKING:
    from tests.unit.client.fake_server import FakeServer

Verdict = Literal["look", "lose", "refuse"]


@dataclass
class Staged:
    sha256: str
    size: int
    signature: str
    content: bytes | None = None
    good: bool = False
    age: int = 0


class Staging:
    def __init__(self, server: "FakeServer") -> None:
        self._server = server
        self.delay = 1
        self.busy_while_more_comes = False
        self.limit = 1000
        self.verdict: Callable[[str], Verdict] = lambda name: "look"
        self.staged: dict[str, Staged] = {}
        self.granted: Counter[str] = Counter()
        self.put_bytes = 0
        self.most_outstanding = 0

    def grant(self, request: Request) -> Reply:
        blocks = request.json()["blocks"]
        assert 1 <= len(blocks) <= 100
        wanted = {block["sha256"]: block for block in blocks if block["sha256"] not in self._server.blocks}
        names = {staged.sha256: name for name, staged in self.staged.items() if staged.sha256 in wanted}
        if len(self.staged) + len(wanted) - len(names) > self.limit:
            return problem(429, "too_many_requests", headers={"Retry-After": "30"})
        grants = []
        for block in wanted.values():
            name = names.get(block["sha256"]) or secrets.token_hex(16)
            staged = self.staged.setdefault(name, Staged(block["sha256"], block["size"], ""))
            staged.signature = "secret" + secrets.token_hex(16)
            self.granted[block["sha256"]] += 1
            grants.append(
                {
                    "sha256": block["sha256"],
                    "size": block["size"],
                    "url": f"{self._server.storage_url}/staging/{name}?sig={staged.signature}",
                    "method": "PUT",
                    "headers": {"x-ms-blob-type": "BlockBlob"},
                    "expires_at": (datetime.now(UTC) + timedelta(minutes=15)).isoformat(),
                }
            )
        self.most_outstanding = max(self.most_outstanding, len(self.staged))
        return document(200, {"grants": grants})

    def put(self, request: Request) -> Reply:
        assert request.headers["x-ms-blob-type"] == "BlockBlob"
        assert "content-encoding" not in request.headers, "blocks are put as they are"
        staged = self.staged.get(request.path.removeprefix("/staging/"))
        if staged is None or request.query["sig"] != staged.signature:
            return Reply(403, b"<Error>AuthenticationFailed</Error>")
        if staged.content is not None:
            return Reply(409, b"<Error>BlobAlreadyExists</Error>")
        staged.good = sha256(request.body).hexdigest() == staged.sha256 and len(request.body) == staged.size
        staged.content = request.body if self._server.keep_content else b""
        self.put_bytes += len(request.body)
        if self.busy_while_more_comes:
            for other in self.staged.values():
                other.age = 0
        return Reply(201)

    def a_moment_passes(self) -> None:
        for name, staged in list(self.staged.items()):
            if staged.content is None:
                continue
            staged.age += 1
            if staged.age <= self.delay:
                continue
            verdict = self.verdict(staged.sha256)
            if verdict == "lose":  # its event never comes: it stays where it is
                continue
            del self.staged[name]
            if staged.good and verdict == "look":
                self._server.blocks[staged.sha256] = staged.content
