"""Answers, as they come out of a socket.

Heads are read by httptools (llhttp, Node's parser), which is strict about what they may be. A body whose length was
stated is received straight into its place, which keeps a transfer cheap. Another one is taken apart by the parser, or
ends with the connection.
"""

import socket
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import httptools

LONGEST = 256 * 1024 * 1024
"""Bytes of an answer's body: more than the longest manifest has, and less than what brings a machine to its knees."""

_FIRST = 16 * 1024
_HEAD = 64 * 1024
"""Bytes: what a head is looked for in, and the most that it may have."""

_REFUSAL = 256 * 1024
"""Bytes that the body of a refusal may have where a success may have fewer."""

_PART = 64 * 1024

PIECE = 512 * 1024
"""Bytes of a body that is handed on as it comes: few enough to stay in a processor's cache until they are used."""

Taker = Callable[[memoryview], None]
"""Takes a piece of a body, which is only there until it returns. It must raise no OSError: that is a connection's."""


class HttpFailure(Exception):
    """The exchange broke off; the server may have done what was asked."""


class NeverReached(HttpFailure):
    """There is no connection: the server certainly did nothing."""


class TimedOut(HttpFailure):
    """Nothing came for a long time; the server may still be at it."""


class TooLong(HttpFailure):
    """The answer's body has more bytes than it may."""


class Meter(Protocol):
    """Is told what goes over the line, before it is sent and after it came. It may wait, and so slow down."""

    @property
    def piece(self) -> int | None:
        """Bytes that may pass at once, None for any number."""

    def calling(self) -> None: ...

    def went_up(self, size: int) -> None: ...

    def came_down(self, size: int) -> None: ...


class Answer(NamedTuple):
    """`headers` by their names in lower case.

    `tries` is how often the request was sent; `stays` tells that the connection may be used again.
    """

    status: int
    headers: Mapping[str, str]
    body: bytearray
    tries: int = 1
    stays: bool = False


class Receiving:
    """One answer on its way; `begun` once a byte of it has come."""

    def __init__(self, source: socket.socket, meter: Meter | None) -> None:
        self.begun = False
        self._socket = source
        self._came: Callable[[int], None] = meter.came_down if meter else _nothing
        self._piece = meter.piece if meter else None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._stays = False
        self._complete = False

    def answer(self, most: int, into: Taker | None = None) -> Answer:
        """The answer, with a body of at most `most` bytes; raises HttpFailure, OSError. To be asked for once.

        A part that was asked for (206) goes `into` that as it comes, and isn't in the answer.
        """
        try:
            return self._answer(most, into)
        finally:
            # The parser and this know each other: with the body, they would stay until such circles are looked for.
            del self._parser

    def _answer(self, most: int, into: Taker | None) -> Answer:
        status, rest = self.head()
        stays = self._stays
        limit = most if status < 300 else max(most, _REFUSAL)
        if status in (204, 304):
            stays = stays and not rest
        elif "transfer-encoding" in self._headers:
            self._receive_parts(rest, limit)
        elif "content-length" in self._headers:
            length = int(self._headers["content-length"])
            if length > limit:
                raise TooLong("it answers with more than was asked for")
            if into and status == 206 and "content-encoding" not in self._headers:
                self._hand_on(length, rest, into)
            else:
                self._receive_length(length, rest)
            stays = stays and len(rest) <= length
        else:
            self._receive_rest(rest, limit)
            stays = False
        body = self._body
        if body and self._headers.get("content-encoding", "").lower() == "gzip":
            body = _unpacked(body, limit)
        return Answer(status, self._headers, body, stays=stays)

    def head(self) -> tuple[int, memoryview]:
        """Receive the head, behind any that only say to go on: the status, and what came of the body with it.

        Raises HttpFailure, OSError.
        """
        buffer = bytearray(_FIRST)
        have = at = 0
        while True:
            end = buffer.find(b"\r\n\r\n", at, have)
            if end >= 0:
                self._feed(memoryview(buffer)[at : end + 4])
                at, status = end + 4, self._parser.get_status_code()
                if status >= 200:
                    return status, memoryview(buffer)[at:have]
                if status == 101:
                    raise HttpFailure("it answers in another protocol")
                self._parser = httptools.HttpResponseParser(self)
                self._headers.clear()
                continue
            if have == len(buffer):
                if have >= _HEAD:
                    raise HttpFailure("it answers with an endless head")
                buffer += bytes(len(buffer))
            got = self._socket.recv_into(memoryview(buffer)[have:])
            if not got:
                raise HttpFailure("it hung up without an answer")
            self.begun = True
            self._came(got)
            have += got

    def on_header(self, name: bytes, value: bytes) -> None:
        """For the parser."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """For the parser, which forgets it with an empty body."""
        self._stays = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """For the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """For the parser."""
        self._complete = True

    def _feed(self, content: memoryview) -> None:
        try:
            self._parser.feed_data(content)
        except httptools.HttpParserUpgrade:
            raise HttpFailure("it answers in another protocol") from None
        except httptools.HttpParserError as error:
            raise HttpFailure(f"it answers in no known way: {error}") from None

    def _receive_length(self, length: int, rest: memoryview) -> None:
        self._body = bytearray(length)
        have = min(length, len(rest))
        self._body[:have] = rest[:have]
        self._fill(memoryview(self._body)[have:])

    def _hand_on(self, length: int, rest: memoryview, into: Taker) -> None:
        left = length - min(length, len(rest))
        if rest:
            into(rest[:length])
        buffer = memoryview(bytearray(min(left, PIECE)))
        while left:
            piece = buffer[:left]
            self._fill(piece)
            into(piece)
            left -= len(piece)

    def _fill(self, view: memoryview) -> None:
        while view:
            got = self._socket.recv_into(view[: self._piece])
            if not got:
                raise HttpFailure("it hung up in the middle of an answer")
            self._came(got)
            view = view[got:]

    def _receive_parts(self, rest: memoryview, limit: int) -> None:
        self._complete = False
        self._feed(rest)
        buffer = bytearray(_PART)
        while not self._complete:
            _check(self._body, limit)
            got = self._socket.recv_into(buffer)
            if not got:
                raise HttpFailure("it hung up in the middle of an answer")
            self._came(got)
            self._feed(memoryview(buffer)[:got])
        _check(self._body, limit)

    def _receive_rest(self, rest: memoryview, limit: int) -> None:
        self._body += rest
        _check(self._body, limit)
        while got := self._socket.recv(_PART):
            self._came(len(got))
            self._body += got
            _check(self._body, limit)


def _check(body: bytearray, limit: int) -> None:
    if len(body) > limit:
        raise TooLong("it answers with more than was asked for")


def _unpacked(packed: bytearray, limit: int) -> bytearray:
    import zlib

    unpacking = zlib.decompressobj(31)
    try:
        # One more than there may be, so that the end is reached where there are not too many.
        body = bytearray(unpacking.decompress(packed, limit + 1))
    except zlib.error:
        raise HttpFailure("it answers with a damaged body") from None
    _check(body, limit)
    if not unpacking.eof:
        raise HttpFailure("it answers with a damaged body")
    return body


def _nothing(size: int) -> None:
    pass
