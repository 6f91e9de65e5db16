"""The listening socket, on the loopback interface, and an orderly end.

On SIGTERM or SIGINT the server stops listening, closes its connections with a word, writes what is noted and ends with
0. A store that can't be written any more ends it with 1: what clients were told would not be true any longer.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from tools.local.servicebus.address import LOOPBACK
from tools.local.servicebus.amqp.connection import HANDSHAKE_WITHIN, IDLE_TIMEOUT, Connection
from tools.local.servicebus.amqp.link import IncomingLink, OutgoingLink
from tools.local.servicebus.dispatch import Dispatcher
from tools.local.servicebus.entities import Entities
from tools.local.servicebus.nodes import Nodes
from tools.local.servicebus.store import Store, StoreFailed

_log = logging.getLogger("servicebus")

MOST_CONNECTIONS = 1_000
"""More are dropped as they come."""


class Server:
    """A broker that is being served. Make it on the event loop; `start`, and `stop` exactly once."""

    def __init__(
        self,
        entities: Entities,
        database: Path,
        *,
        idle_timeout: float = IDLE_TIMEOUT,
        handshake_within: float = HANDSHAKE_WITHIN,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self.failed: asyncio.Future[StoreFailed] = asyncio.get_running_loop().create_future()
        self.dispatcher = Dispatcher(entities, lambda: Store(database, self._on_failure))
        self._nodes = Nodes(self.dispatcher)
        self._idle_timeout, self._handshake_within = idle_timeout, handshake_within
        self._most = most_connections
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self, port: int) -> int:
        """Listen, on a free port if it is 0; returns the port. Raises OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connect, LOOPBACK, port, backlog=512)
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self._connections):
            connection.close("amqp:connection:forced", "the local Service Bus is stopping")
        if self._listener is not None:
            await self._listener.wait_closed()
        # One turn of the loop, in which what was said last is written and sessions are given back.
        await asyncio.sleep(0)
        self.dispatcher.close()

    # --- Peer

    def attach(self, connection: Connection, link: IncomingLink | OutgoingLink) -> None:
        self._nodes.attach(connection, link)

    def disconnected(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._nodes.disconnected(connection)

    # --- inside

    def _connect(self) -> asyncio.Protocol:
        if len(self._connections) >= self._most:
            _log.warning("there are %d connections: one more is dropped", self._most)
            return _Dropped()
        connection = Connection(
            self,
            idle_timeout=self._idle_timeout,
            handshake_within=self._handshake_within,
        )
        self._connections.add(connection)
        return connection

    def _on_failure(self, failure: StoreFailed) -> None:
        if not self.failed.done():
            self.failed.set_result(failure)


class _Dropped(asyncio.Protocol):
    """A client for whom there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def serve(
    entities: Entities, database: Path, port: int, ready: Callable[[int], None] = lambda port: None
) -> int:
    """Serve until a signal (returns 0) or until the store fails (returns 1). Raises StoreFailed or OSError at start."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    server = Server(entities, database)
    ready(await server.start(port))
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait((waiting, server.failed), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await server.stop()
    if server.failed.done():
        _log.error("%s", server.failed.result())
        return 1
    _log.info("stopped")
    return 0
