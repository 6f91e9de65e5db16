"""A server for the command to talk to: the HTTP contract, held strictly, in threads on the loopback.

There are two of them, as in the cloud: the API, and a storage that knows signed URLs and nothing else. The
storage refuses a request that carries a login. `intercept` sees each request first and may answer it
instead: that is how tests make trouble.
"""

import contextlib
import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import zstandard

from shared.domain.digests import blake3_of
from shared.domain.names import parse_path
from tests.unit.client.fake_http import Reply, Request, document, problem
from tests.unit.client.fake_staging import Staging

BLOCK_SIZE = 4 * 1024 * 1024


Intercept = Callable[[Request], Reply | None]


@dataclass
class Version:
    id: str
    number: int
    blocks: list[dict[str, Any]]
    modified_at: str
    size: int
    root: str


@dataclass
class Node:
    id: str
    path: str
    versions: list[Version]

    def shown(self) -> dict[str, Any]:
        head = self.versions[-1]
        return {
            "file_id": self.id,
            "file_name": self.path.rpartition("/")[2],
            "file_size": f"{-(-head.size // 1024)} KB",
            "upload_date": "2026-01-01T00:00:00Z",
            "size_bytes": head.size,
            "path": self.path,
            "version_id": head.id,
            "version": head.number,
            "root_hash": head.root,
            "modified_at": head.modified_at,
        }


class FakeServer:
    """Start it with `running()`. Everything it keeps may be looked at and changed by tests."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.users: dict[str, tuple[str, str]] = {}
        self.access: dict[str, str] = {}
        self.refresh: dict[str, tuple[str, str]] = {}
        self.used_refresh: list[str] = []
        self.expires_in = 900
        self.blocks: dict[str, bytes] = {}
        self.keep_content = True
        self.nodes: dict[str, Node] = {}
        self.keys: dict[str, Reply] = {}
        self.batched: list[int] = []
        self.codec = "none"
        self.blake3: Callable[[bytes], str | None] | None = blake3_of
        self.page_size = 1000
        self.intercept: Intercept | None = None
        self.storage_intercept: Intercept | None = None
        self.calls: Counter[str] = Counter()
        self.storage_calls: Counter[str] = Counter()
        self.encodings: Counter[str] = Counter()
        self.sent: list[str] = []
        self.grants: dict[str, str] = {}
        self.staging = Staging(self)
        self.url = self.storage_url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator["FakeServer"]:
        servers = []
        for handle in (self.answer, self.answer_storage):
            server = _Server(handle)
            servers.append(server)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_port}" for server in servers)
        try:
            yield self
        finally:
            for server in servers:
                server.shutdown()
                server.server_close()
                server.end_connections()

    # -- what tests do directly -------------------------------------------------------------------------------

    def content(self, path: str) -> bytes:
        return b"".join(self.blocks[block["sha256"]] for block in self.nodes[path].versions[-1].blocks)

    def put(self, path: str, *blocks: bytes, modified_at: str = "2024-05-06T07:08:09.123456Z") -> Node:
        """Commit content behind the command's back."""
        refs = []
        for block in blocks:
            name = sha256(block).hexdigest()
            self.blocks[name] = block
            refs.append({"sha256": name, "size": len(block)})
        with self.lock:
            return self._new_version(path, refs, modified_at)

    def _new_version(self, path: str, refs: list[dict[str, Any]], modified_at: str) -> Node:
        node = self.nodes.setdefault(path, Node(secrets.token_hex(16), path, []))
        root = sha256(b"".join(bytes.fromhex(ref["sha256"]) for ref in refs)).hexdigest()
        size = sum(ref["size"] for ref in refs)
        node.versions.append(
            Version(secrets.token_hex(16), len(node.versions) + 1, refs, modified_at, size, root)
        )
        return node

    # -- the API ----------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply:
        assert request.path.startswith("/api/"), request.path
        route = request.path.removeprefix("/api/")
        with self.lock:
            self.calls[
                f"{request.method} {route.split('/')[0] if route.startswith('files/') is False else route}"
            ] += 1
        if self.intercept:
            reply = self.intercept(request)
            if reply is not None:
                return reply
        with self.lock:
            if route in ("register", "login", "token/refresh"):
                return getattr(self, "_" + route.replace("/", "_"))(request)
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if token not in self.access:
                return problem(401, "invalid_token")
            match request.method, route.split("/"):
                case "POST", ["logout"]:
                    del self.access[token]
                    return document(200, {"message": "Logged out"})
                case "POST", ["blocks", "check"]:
                    return self._check(request)
                case "POST", ["blocks", "grants"]:
                    return self.staging.grant(request)
                case "POST", ["upload"]:
                    return self._upload(request)
                case "POST", ["blocks", "batch"]:
                    return self._upload_blocks(request)
                case "POST", ["files", "commit"]:
                    return self._commit(request)
                case "POST", ["files", "manifests"]:
                    return self._manifests(request)
                case "POST", ["files", "batch"]:
                    return self._batch(request)
                case "GET", ["files", "list"]:
                    return self._list(request)
                case "GET", ["files", file_id, "manifest"]:
                    return self._manifest(file_id, request)
                case "DELETE", ["files", "delete", file_id]:
                    for path, node in list(self.nodes.items()):
                        if node.id == file_id:
                            del self.nodes[path]
                            return document(200, {"message": "File deleted successfully"})
                    return problem(404, "file_not_found")
            return problem(404, "not_found")

    def _register(self, request: Request) -> Reply:
        body = request.json()
        if body["username"] in self.users:
            return problem(409, "username_taken")
        if len(body["password"]) < 8:
            return problem(422, "unacceptable", detail="the password is too short")
        self.users[body["username"]] = (secrets.token_hex(16), body["password"])
        return document(
            201, {"message": "Registration successful", "user_id": self.users[body["username"]][0]}
        )

    def _login(self, request: Request) -> Reply:
        body = request.json()
        user_id, password = self.users.get(body["username"], ("", None))
        if password is None or password != body["password"]:
            return problem(401, "invalid_credentials")
        return document(
            200,
            {"message": "Login successful", "user_id": user_id}
            | self._tokens(user_id, body.get("device_id")),
        )

    def _tokens(self, user_id: str, device_id: str | None) -> dict[str, Any]:
        access, refresh, device = (
            secrets.token_hex(8),
            secrets.token_hex(8),
            device_id or secrets.token_hex(16),
        )
        self.access[access] = user_id
        self.refresh[refresh] = (user_id, device)
        return {
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": self.expires_in,
            "device_id": device,
        }

    def _token_refresh(self, request: Request) -> Reply:
        token = request.json()["refresh_token"]
        self.used_refresh.append(token)
        if token not in self.refresh:
            return problem(401, "invalid_token")
        user_id, device = self.refresh.pop(token)
        return document(200, self._tokens(user_id, device))

    def _check(self, request: Request) -> Reply:
        hashes = request.json()["hashes"]
        assert 1 <= len(hashes) <= 1000
        self.staging.a_moment_passes()
        return document(200, {"missing": [name for name in dict.fromkeys(hashes) if name not in self.blocks]})

    def _upload(self, request: Request) -> Reply:
        encoding, name = request.headers.get("content-encoding", "none"), request.headers["x-content-sha256"]
        found = self._plain(request.body, encoding, name)
        if isinstance(found, Reply):
            return found
        self._keep(name, found)
        return document(201, {"message": "Block uploaded successfully", "block_id": name, "size": len(found)})

    def _upload_blocks(self, request: Request) -> Reply:
        assert request.headers["content-type"] == "application/vnd.strata.blocks"
        line, _, rest = request.body.partition(b"\n")
        told = json.loads(line)["blocks"]
        assert 2 <= len(told) <= 64
        assert sum(each["size"] for each in told) == len(rest)
        plain: dict[str, bytes] = {}
        for each in told:
            body, rest = rest[: each["size"]], rest[each["size"] :]
            found = self._plain(body, each["codec"], each["sha256"])
            if isinstance(found, Reply):
                return found
            plain[each["sha256"]] = found
        assert sum(map(len, plain.values())) <= 8 * 1024 * 1024
        for name, content in plain.items():
            self._keep(name, content)
        return document(201, {"blocks": [{"block_id": name, "size": len(plain[name])} for name in plain]})

    def _plain(self, body: bytes, encoding: str, name: str) -> bytes | Reply:
        plain = body
        if encoding == "zstd":
            plain = zstandard.ZstdDecompressor().decompress(body, max_output_size=BLOCK_SIZE)
        self.encodings[encoding] += 1
        if not 1 <= len(plain) <= BLOCK_SIZE:
            return problem(413, "too_large")
        return plain if name == sha256(plain).hexdigest() else problem(422, "hash_mismatch")

    def _keep(self, name: str, plain: bytes) -> None:
        self.sent.append(name)
        self.blocks[name] = plain if self.keep_content else b""

    def _commit(self, request: Request) -> Reply:
        key = request.headers["idempotency-key"]
        if key not in self.keys:
            reply = self._commit_once(request.json())
            if reply.status >= 300:
                return reply
            self.keys[key] = reply
        return self.keys[key]

    def _batch(self, request: Request) -> Reply:
        assert request.headers["content-type"] == "application/vnd.strata.batch"
        key = request.headers["idempotency-key"]
        if key in self.keys:
            return self.keys[key]
        body, limit = request.body, 9 * 1024 * 1024
        if request.headers.get("content-encoding") == "zstd":
            body = zstandard.ZstdDecompressor().decompress(body, max_output_size=limit)
        line, _, rest = body.partition(b"\n")
        batch = json.loads(line)
        assert 1 <= len(batch["files"]) <= 1000
        assert sum(batch["sizes"]) == len(rest) <= 8 * 1024 * 1024
        for size in batch["sizes"]:
            plain, rest = rest[:size], rest[size:]
            self.blocks[sha256(plain).hexdigest()] = plain if self.keep_content else b""
        self.batched.append(len(batch["files"]))
        results = []
        for file in batch["files"]:
            reply = self._commit_once(file)
            results.append({**json.loads(reply.body), "status": reply.status})
        self.keys[key] = document(200, {"results": results})
        return self.keys[key]

    def _commit_once(self, body: dict[str, Any]) -> Reply:
        path = "/" + "/".join(name.text for name in parse_path(body["path"]))
        assert path == body["path"], "paths are sent as they are stored"
        if any(other.startswith(path + "/") for other in self.nodes):
            return problem(409, "name_exists", entry=path.rpartition("/")[2], kind="folder")
        for other in self.nodes:
            if other != path and other.casefold() == path.casefold():
                return problem(409, "name_exists", entry=other.rpartition("/")[2], kind="file")
        missing = [ref["sha256"] for ref in body["blocks"] if ref["sha256"] not in self.blocks]
        if missing:
            return problem(409, "missing_blocks", missing=list(dict.fromkeys(missing)))
        if self.keep_content:
            assert all(len(self.blocks[ref["sha256"]]) == ref["size"] for ref in body["blocks"])
        head = self.nodes[path].versions[-1] if path in self.nodes else None
        root = sha256(b"".join(bytes.fromhex(ref["sha256"]) for ref in body["blocks"])).hexdigest()
        if head and head.root == root:
            return document(200, self._committed(self.nodes[path]) | {"unchanged": True})
        if (head.id if head else None) != body["base_version"]:
            shown = head and {
                "version_id": head.id,
                "version": head.number,
                "size": head.size,
                "root_hash": head.root,
                "modified_at": head.modified_at,
            }
            return problem(409, "version_conflict", head=shown)
        assert body["modified_at"].endswith("Z")
        return document(201, self._committed(self._new_version(path, body["blocks"], body["modified_at"])))

    def _committed(self, node: Node) -> dict[str, Any]:
        head = node.versions[-1]
        return {
            "file_id": node.id,
            "version_id": head.id,
            "version": head.number,
            "seq": 1,
            "path": node.path,
        }

    def _list(self, request: Request) -> Reply:
        if "path" in request.query:
            node = self.nodes.get(request.query["path"])
            return document(200, {"files": [node.shown()] if node else [], "next_cursor": None})
        folder = request.query["folder"].rstrip("/")
        below = sorted(path for path in self.nodes if path.startswith(folder + "/"))
        if folder and not below:
            return problem(404, "not_found")
        entries: list[tuple[str, str]] = []
        for path in below:
            name, slash, _ = path.removeprefix(folder + "/").partition("/")
            entry = ("folder" if slash else "file", f"{folder}/{name}")
            if entry not in entries[-1:]:
                entries.append(entry)
        entries = list(dict.fromkeys(entries))
        limit = int(request.query.get("limit", self.page_size))
        start = int(request.query.get("cursor", "0"))
        page = entries[start : start + limit]
        return document(
            200,
            {
                "files": [self.nodes[path].shown() for kind, path in page if kind == "file"],
                "folders": [
                    {"path": path, "name": path.rpartition("/")[2]} for kind, path in page if kind == "folder"
                ],
                "next_cursor": str(start + limit) if start + limit < len(entries) else None,
            },
        )

    def _manifest(self, file_id: str, request: Request) -> Reply:
        for node in self.nodes.values():
            for version in node.versions:
                if node.id == file_id and request.query.get("version", node.versions[-1].id) == version.id:
                    return document(200, self._manifest_of(node, version))
        return problem(404, "file_not_found")

    def _manifests(self, request: Request) -> Reply:
        found: list[dict[str, Any]] = []
        urls: list[str] = []
        for one in request.json()["files"]:
            reply = self._manifest(one["file_id"], replace(request, query={"version": one["version_id"]}))
            manifest = {**json.loads(reply.body), "status": reply.status}
            for block in manifest.get("blocks", []):
                url, _ = block.pop("url"), block.pop("blake3", None)
                if url not in urls:
                    urls.append(url)
                block["at"] = urls.index(url)
            found.append(manifest)
        return document(200, {"manifests": found, "urls": urls})

    def _manifest_of(self, node: Node, version: Version) -> dict[str, Any]:
        blocks = []
        for ref in version.blocks:
            stored = self.stored(ref["sha256"])
            signature = secrets.token_hex(8)
            self.grants[signature] = ref["sha256"]
            # Each stored block lies behind 7 bytes of another one, as in a blob that holds many.
            url = f"{self.storage_url}/blocks/{ref['sha256']}?sig={signature}"
            block = ref | {"url": url, "offset": 7, "stored_size": len(stored), "codec": self.codec}
            if self.blake3:  # an older server doesn't know it
                block["blake3"] = self.blake3(self.blocks[ref["sha256"]])
            blocks.append(block)
        return {
            "file_id": node.id,
            "version_id": version.id,
            "size": version.size,
            "root_hash": version.root,
            "modified_at": version.modified_at,
            "blocks": blocks,
        }

    def stored(self, name: str) -> bytes:
        plain = self.blocks[name]
        return plain if self.codec == "none" else zstandard.ZstdCompressor().compress(plain)

    # -- the storage ------------------------------------------------------------------------------------------

    def answer_storage(self, request: Request) -> Reply:
        assert "authorization" not in request.headers, "the storage must not see the login"
        name = request.path.removeprefix("/blocks/")
        with self.lock:
            self.storage_calls[name] += 1
        if self.storage_intercept:
            reply = self.storage_intercept(request)
            if reply is not None:
                return reply
        with self.lock:
            if request.method == "PUT":
                return self.staging.put(request)
            if self.grants.get(request.query["sig"]) != name:
                return Reply(403, b"<Error>AuthenticationFailed</Error>")
            blob = b"another" + self.stored(name) + b"and more"
            first, last = (
                int(number) for number in request.headers["range"].removeprefix("bytes=").split("-")
            )
            content = blob[first : last + 1]
            return Reply(206, content, {"Content-Range": f"bytes {first}-{last}/{len(blob)}"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    handle_request: ClassVar[Callable[[Request], Reply]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        reply = self.server.handle_with(Request(self.command, unquote(url.path), query, headers, body))  # type: ignore[attr-defined]
        if reply.status == 0:  # hang up without a word
            self.close_connection = True
            return
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handle_with: Callable[[Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.handle_with = handle_with
        self.failures: list[BaseException] = []
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the client sees the connection end, and the test what came of it

    def end_connections(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """For what another process does: nothing else tells when it has."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(0.01)
