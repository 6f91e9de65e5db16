"""Requests as no client library would send them, byte for byte, over sockets; and a look at what a host holds."""

import http.client
import json
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.system import System
from tools.local.running import FunctionsHost

QUOTA = 64 * 2**20
"""Bytes that each user of the attacked system may store."""

TABLES = (
    "users",
    "devices",
    "refresh_tokens",
    "nodes",
    "versions",
    "version_blocks",
    "changes",
    "blocks",
    "blobs",
    "leases",
    "staging",
    "idempotency",
)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The code of a problem document, None for what the host answers by itself, without a body."""
        return json.loads(self.body)["code"] if self.body else None


def head(method: str, target: str, *headers: str) -> bytes:
    """The head of a request as it goes over the wire; each header is a whole line."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *headers, "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True)
class Target:
    """The running system under attack."""

    system: System
    process: FunctionsHost

    @property
    def url(self) -> str:
        return self.system.url

    def exchange(self, raw: bytes, *, hang_up: bool = False) -> Reply | None:
        """Send bytes and read one answer; None when the connection ends without one.

        `hang_up` closes the sending side first, as a client that dies does.
        """
        with socket.create_connection(("127.0.0.1", self.system.port), timeout=15) as connection:
            connection.sendall(raw)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            with closing(http.client.HTTPResponse(connection)) as response:
                try:
                    response.begin()
                except (http.client.BadStatusLine, ConnectionError):
                    return None
                named = {name.lower(): value for name, value in response.getheaders()}
                return Reply(response.status, named, response.read())

    def status(self, raw: bytes) -> int:
        """The status of the answer to `raw`, which must get one."""
        reply = self.exchange(raw)
        assert reply is not None, "the connection ended without an answer"
        return reply.status

    def memory(self, which: str) -> int:
        """VmRSS (now) or VmHWM (at most so far) of the host, in MiB."""
        for line in Path(f"/proc/{self.process.child.pid}/status").read_text().splitlines():
            if line.startswith(f"{which}:"):
                return int(line.split()[1]) // 1024
        raise AssertionError(f"no {which} in /proc")

    def forget_peak(self) -> int:
        """Let VmHWM begin anew; returns what the host holds now, in MiB."""
        # 5 is the word for it, in proc_pid_clear_refs(5).
        Path(f"/proc/{self.process.child.pid}/clear_refs").write_text("5")
        return self.memory("VmRSS")

    def query(self, statement: str, *values: object) -> list[Any]:
        """What the database holds, read behind the application's back and unable to change it."""
        file = self.system.folder / "metadata.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return connection.execute(statement, values).fetchall()

    def holdings(self) -> dict[str, Any]:
        """How much of everything there is."""
        counts = {table: self.query(f"SELECT COUNT(*) FROM {table}")[0][0] for table in TABLES}
        return {**counts, "used": self.query("SELECT SUM(used) FROM namespaces")[0][0]}

    @contextmanager
    def nothing_stored(self) -> Iterator[None]:
        """What happens inside must leave the database as it was."""
        before = self.holdings()
        yield
        assert self.holdings() == before
