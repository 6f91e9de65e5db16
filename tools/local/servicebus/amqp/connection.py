"""A connection: SASL, open, sessions, signs of life, and the ways in which it ends (part 2, section 2.4).

What one client does wrong ends its connection and nothing else:

* bytes that aren't AMQP, or frames that don't belong here: an error is said and the connection closed
* nobody speaks: the handshake has ten seconds, and an open connection is given up after IDLE_TIMEOUT
* a client that doesn't read: nothing more is sent to it, and nothing more is read from it, until it does
* a client that sends faster than the disk writes: it isn't read from while PENDING messages wait
"""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from tools.local.servicebus.amqp.frames import (
    AMQP_FRAME,
    AMQP_HEADER,
    EMPTY_FRAME,
    LARGEST_FRAME,
    SASL_FRAME,
    SASL_HEADER,
    Frame,
    FrameBuffer,
    frame,
)
from tools.local.servicebus.amqp.link import IncomingLink, OutgoingLink
from tools.local.servicebus.amqp.performatives import (
    Begin,
    Close,
    End,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Transfer,
    read_performative,
    refusal,
    write_performative,
)
from tools.local.servicebus.amqp.session import Session
from tools.local.servicebus.amqp.values import Array, Malformed, Symbol

_log = logging.getLogger("servicebus.amqp")

HANDSHAKE_WITHIN = 10.0
"""Seconds from the connection to the client's `open`."""

IDLE_TIMEOUT = 240.0
"""Seconds without a byte after which a client is taken for gone. It is told half of it, as the standard advises."""

PENDING = 512
"""Messages of one connection that may wait for the disk before it isn't read from."""

MOST_SESSIONS = 256
MOST_HELD = 4 * 1024 * 1024
"""Bytes of incomplete messages per connection."""

_MECHANISMS = ("ANONYMOUS", "MSSBCBS")
_OK, _AUTHENTICATION_FAILED = 0, 1


class Peer(Protocol):
    """What stands behind the protocol: it knows what addresses mean."""

    def attach(self, connection: "Connection", link: IncomingLink | OutgoingLink) -> None:
        """Accept the link, refuse it, or keep it and do so later."""

    def disconnected(self, connection: "Connection") -> None: ...


class _Stage(Enum):
    HEADER = auto()
    SASL = auto()
    AMQP_HEADER = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSED = auto()


class Connection(asyncio.Protocol):
    """One client. Everything happens on the event loop, and nothing in here waits."""

    def __init__(
        self,
        peer: Peer,
        *,
        idle_timeout: float = IDLE_TIMEOUT,
        handshake_within: float = HANDSHAKE_WITHIN,
        pending: int = PENDING,
    ) -> None:
        self._peer, self._idle_timeout, self._handshake_within = peer, idle_timeout, handshake_within
        self._pending_limit, self._pending = pending, 0
        self._buffer = FrameBuffer()
        self._stage = _Stage.HEADER
        self._sessions: dict[int, Session] = {}
        self._ended: set[int] = set()
        self._transport: asyncio.Transport | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._heard = False
        self._paused: set[str] = set()
        self.largest_frame = LARGEST_FRAME
        self.is_writable = True
        self.is_authorized = False
        """Whether a token was put; set by whoever serves `$cbs`."""

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("AMQP needs a stream")
        self._transport = transport
        transport.set_write_buffer_limits(high=1024 * 1024)
        self._later("handshake", self._handshake_within, self._give_up_handshake)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._stage is _Stage.CLOSED:
            return
        self._buffer.feed(data)
        try:
            self._advance()
        except Malformed as error:
            _log.warning("a client sent what isn't AMQP: %s", error)
            self.close("amqp:decode-error", str(error))
        except Exception:  # noqa: BLE001 (one client's connection, whatever the mistake)
            # A mistake of this broker: its log gets the traceback, the client an error, the other clients nothing.
            _log.exception("a connection failed")
            self.close("amqp:internal-error", "the local Service Bus has failed here; its log says why")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage = _Stage.CLOSED
        for timer in self._timers.values():
            timer.cancel()
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.lost()
        self._peer.disconnected(self)

    def pause_writing(self) -> None:
        self.is_writable = False
        self._pause("writing")

    def resume_writing(self) -> None:
        self.is_writable = True
        self._resume("writing")
        for session in tuple(self._sessions.values()):
            session.wake()

    # --- what sessions and handlers need

    def write(self, channel: int, performative: Performative, payload: bytes = b"") -> None:
        if self._transport is not None and self._stage is not _Stage.CLOSED:
            body = write_performative(performative, payload)
            self._transport.write(frame(AMQP_FRAME, channel, body))

    def attach(self, link: IncomingLink | OutgoingLink) -> None:
        self._peer.attach(self, link)

    def taken(self) -> None:
        """A message waits for the disk."""
        self._pending += 1
        if self._pending >= self._pending_limit:
            self._pause("pending")

    def done(self) -> None:
        """A message that waited is written."""
        self._pending -= 1
        if self._pending <= self._pending_limit // 2:
            self._resume("pending")

    def close(self, condition: str | None = None, description: str = "") -> None:
        """Say the end and end it, once what was written before has gone out."""
        if self._stage is _Stage.CLOSED or self._transport is None:
            return
        if self._stage in (_Stage.OPENING, _Stage.OPEN):
            error = None if condition is None else refusal(condition, description)
            self.write(0, Close(error))
        self._stage = _Stage.CLOSED
        self._transport.close()
        # A client that doesn't read would keep the socket open for ever.
        self._later("end", self._handshake_within, self._transport.abort)

    # --- the stages

    def _advance(self) -> None:
        while self._step():
            pass

    def _step(self) -> bool:
        """Handle the next thing in the buffer; False when there is nothing complete, or nobody to handle it."""
        if self._stage is _Stage.CLOSED:
            return False
        if self._stage in (_Stage.HEADER, _Stage.AMQP_HEADER):
            header = self._buffer.header()
            if header is not None:
                self._negotiate(header)
            return header is not None
        received = self._buffer.frame()
        if received is not None:
            self._handle(received)
        return received is not None

    def _negotiate(self, header: bytes) -> None:
        if header == SASL_HEADER and self._stage is _Stage.HEADER:
            self._raw(SASL_HEADER)
            mechanisms = SaslMechanisms(Array(Symbol, [Symbol(each) for each in _MECHANISMS]))
            self._raw(frame(SASL_FRAME, 0, write_performative(mechanisms)))
            self._stage = _Stage.SASL
        elif header == AMQP_HEADER:
            self._raw(AMQP_HEADER)
            self._stage = _Stage.OPENING
        else:
            # The standard's answer to a header that isn't understood: ours, and the end.
            self._raw(SASL_HEADER)
            raise Malformed("no protocol header of AMQP 1.0; TLS and web sockets are not spoken here")

    def _handle(self, received: Frame) -> None:
        if self._stage is _Stage.SASL:
            if received.kind != SASL_FRAME:
                raise Malformed("a SASL frame was expected")
            self._sasl(read_performative(received.body)[0])
            return
        if received.kind != AMQP_FRAME:
            raise Malformed("an AMQP frame was expected")
        if not received.body:
            return
        performative, payload = read_performative(received.body)
        match performative:
            case Open():
                self._opened(performative)
            case Close():
                self.close()
            case _ if self._stage is not _Stage.OPEN:
                raise Malformed(f"{type(performative).__name__} before open")
            case Begin():
                self._begun(received.channel, performative)
            case End():
                session = self._sessions.pop(received.channel, None)
                if session is not None:
                    self._ended.add(received.channel)
                    session.lost()
                    self.write(received.channel, End())
            case _:
                self._of_session(received.channel, performative, payload)

    def _sasl(self, performative: Performative) -> None:
        if not isinstance(performative, SaslInit):
            raise Malformed("sasl-init was expected")
        known = performative.mechanism in _MECHANISMS
        outcome = SaslOutcome(_OK if known else _AUTHENTICATION_FAILED)
        self._raw(frame(SASL_FRAME, 0, write_performative(outcome)))
        if not known:
            raise Malformed(f"the SASL mechanism {performative.mechanism} is not spoken here")
        self._stage = _Stage.AMQP_HEADER

    def _opened(self, opened: Open) -> None:
        if self._stage is not _Stage.OPENING:
            raise Malformed("open comes once, after the header")
        self._stage = _Stage.OPEN
        self.largest_frame = min(opened.max_frame_size, LARGEST_FRAME)
        told = int(self._idle_timeout * 1000 / 2)
        self.write(
            0,
            Open(
                container_id="local-service-bus",
                max_frame_size=LARGEST_FRAME,
                channel_max=MOST_SESSIONS - 1,
                idle_timeout=told,
            ),
        )
        self._later("idle", self._idle_timeout, self._check_idle)
        if opened.idle_timeout:
            self._sign_of_life(max(opened.idle_timeout / 1000 / 2, 0.05))

    def _begun(self, channel: int, begin: Begin) -> None:
        if channel >= MOST_SESSIONS or channel in self._sessions:
            raise Malformed(f"the channel {channel} is in use, or beyond {MOST_SESSIONS - 1}")
        self._ended.discard(channel)
        self._sessions[channel] = Session(self, channel, begin)

    def _of_session(self, channel: int, performative: Performative, payload: bytes) -> None:
        session = self._sessions.get(channel)
        if session is None:
            # The SDK ends a session first and detaches its links afterwards.
            if channel in self._ended:
                return
            raise Malformed(f"no session has begun on channel {channel}")
        session.heard(performative, payload)
        part = isinstance(performative, Transfer) and performative.more
        if part and sum(each.held for each in self._sessions.values()) > MOST_HELD:
            raise Malformed(f"more than {MOST_HELD} bytes of messages that aren't complete")

    # --- time

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        due = self._timers.get(name)
        if due is not None:
            due.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, call)

    def _give_up_handshake(self) -> None:
        if self._stage not in (_Stage.OPEN, _Stage.CLOSED) and self._transport is not None:
            _log.info("a client said nothing that opens a connection, and was dropped")
            self._stage = _Stage.CLOSED
            self._transport.abort()

    def _check_idle(self) -> None:
        if self._stage is not _Stage.OPEN or self._transport is None:
            return
        # While its messages wait for the disk it isn't read from, and can't be heard.
        if not self._heard and "pending" not in self._paused:
            _log.info(
                "a client was neither heard nor taking anything for %g s, and is dropped", self._idle_timeout
            )
            self._transport.abort()
            return
        self._heard = False
        self._later("idle", self._idle_timeout, self._check_idle)

    def _sign_of_life(self, every: float) -> None:
        if self._stage is _Stage.OPEN:
            self._raw(EMPTY_FRAME)
            self._later("alive", every, lambda: self._sign_of_life(every))

    def _raw(self, octets: bytes) -> None:
        if self._transport is not None:
            self._transport.write(octets)

    def _pause(self, reason: str) -> None:
        if not self._paused and self._transport is not None:
            self._transport.pause_reading()
        self._paused.add(reason)

    def _resume(self, reason: str) -> None:
        self._paused.discard(reason)
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
