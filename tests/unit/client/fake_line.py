"""The other end of a connection, byte by byte: what a test wants to say, whether it is HTTP or not."""

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

Say = Callable[[bytes], bytes | None]
"""What is answered to a request; None hangs up without a word."""


class Line:
    """Listens on the loopback. `requests` are those that came, `sent` the bytes that were answered."""

    def __init__(self, say: Say, *, tls: ssl.SSLContext | None = None) -> None:
        self._say = say
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.requests: list[bytes] = []
        self.connections = 0
        self.sent = 0
        self.hang_up_after = False

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def end_connections(self) -> None:
        """As a server does that has waited long enough."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def say_unasked(self, words: bytes) -> None:
        """Say it to everybody who is connected."""
        for each in self._open:
            each.sendall(words)

    def listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as closing:
            closing.callback(connection.close)
            if self._tls:
                connection = closing.enter_context(self._tls.wrap_socket(connection, server_side=True))
            self._open.append(connection)
            while (request := _read(connection)) and (answer := self._answer(request)):
                self.sent += len(answer)
                connection.sendall(answer)
                if self.hang_up_after:
                    return

    def _answer(self, request: bytes) -> bytes | None:
        self.requests.append(request)
        return self._say(request)


def _read(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(65536)
        if not part:
            return b""
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        part = connection.recv(65536)
        if not part:
            return b""
        request += part
        body += part
    return request


@contextlib.contextmanager
def served(say: Say, *, tls: ssl.SSLContext | None = None) -> Iterator[Line]:
    """Answer as `say` says, until the end of the block."""
    line = Line(say, tls=tls)
    thread = threading.Thread(target=line.listen, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        line.close()
        thread.join(10)
