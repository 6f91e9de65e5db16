"""Bytes to frames and back (part 2 of the standard, section 2.3).

    size (4) | data offset in words (1) | type: 0 AMQP, 1 SASL (1) | channel (2) | performative | payload

A frame announces its size before it comes. That number is checked against the limit before a byte is kept for it, so
one connection holds at most one frame of the largest size.
"""

import struct
from dataclasses import dataclass

from tools.local.servicebus.amqp.values import Malformed

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
HEADER_SIZE = 8
AMQP_FRAME, SASL_FRAME = 0, 1
LARGEST_FRAME = 65_536
"""Bytes; what this server tells its clients in `open`. Azure's number."""

_HEAD = struct.Struct(">IBBH")
EMPTY_FRAME = _HEAD.pack(8, 2, AMQP_FRAME, 0)
"""Says only "I am alive"."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`body` is performative and payload together; it is empty for a sign of life."""

    kind: int
    channel: int
    body: bytes


def frame(kind: int, channel: int, body: bytes) -> bytes:
    """The bytes of a frame."""
    return _HEAD.pack(_HEAD.size + len(body), 2, kind, channel) + body


class FrameBuffer:
    """Collects what arrives and gives out what is complete."""

    def __init__(self, largest: int = LARGEST_FRAME) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._largest = largest

    def feed(self, octets: bytes) -> None:
        # Only here, once for all that was taken meanwhile: cutting off the front copies what is left.
        del self._buffer[: self._position]
        self._position = 0
        self._buffer += octets

    def header(self) -> bytes | None:
        """Take the protocol header off the front, once it is complete."""
        return self._take(HEADER_SIZE)

    def frame(self) -> Frame | None:
        """Take the next frame off the front, once it is complete. Raises Malformed; the buffer is useless then."""
        if len(self._buffer) - self._position < _HEAD.size:
            return None
        size, offset, kind, channel = _HEAD.unpack_from(self._buffer, self._position)
        if size < _HEAD.size or size > self._largest:
            raise Malformed(f"a frame of {size} bytes; 8 to {self._largest} are allowed")
        if offset < 2 or offset * 4 > size:
            raise Malformed("the data offset points outside of the frame")
        if kind not in (AMQP_FRAME, SASL_FRAME):
            raise Malformed(f"there is no frame type {kind}")
        octets = self._take(size)
        return None if octets is None else Frame(kind, channel, octets[offset * 4 :])

    def _take(self, size: int) -> bytes | None:
        end = self._position + size
        if len(self._buffer) < end:
            return None
        taken = bytes(self._buffer[self._position : end])
        self._position = end
        return taken
