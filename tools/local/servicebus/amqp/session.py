"""Sessions: the windows that bound how many frames are on their way, and the links by their handles.

(Part 2 of the standard, section 2.5. They have nothing to do with the sessions of Service Bus.)
"""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from tools.local.servicebus.amqp.link import IncomingLink, Link, OutgoingLink
from tools.local.servicebus.amqp.performatives import (
    RECEIVER,
    SENDER,
    Attach,
    Begin,
    Detach,
    Disposition,
    Flow,
    Performative,
    Transfer,
)
from tools.local.servicebus.amqp.values import Malformed

WINDOW = 5_000
"""Frames that a client may send before it hears from this side."""

MOST_LINKS = 256
"""Links per session at most; the SDK uses four."""

_TRANSFER_OVERHEAD = 128
"""More bytes than the frame's head and a transfer with a tag of 16 bytes ever take."""

_LEAST_FRAME = 512
"""The smallest limit that a client may set (part 2, section 2.7.1)."""


class Wire(Protocol):
    """What a session needs of its connection."""

    @property
    def is_writable(self) -> bool: ...

    @property
    def largest_frame(self) -> int: ...

    def write(self, channel: int, performative: Performative, payload: bytes = b"") -> None: ...

    def attach(self, link: IncomingLink | OutgoingLink) -> None:
        """Find out what the link's address means: accept, refuse or keep it waiting."""


class Session:
    """One session of a connection; `channel` is the client's number for it, and ours."""

    def __init__(self, wire: Wire, channel: int, begin: Begin) -> None:
        self._wire, self._channel = wire, channel
        self._links: dict[int, IncomingLink | OutgoingLink] = {}
        self._next_incoming = begin.next_outgoing_id
        self._incoming_left = WINDOW
        self._next_outgoing = 0
        self._outgoing_left = begin.incoming_window
        self._next_delivery = 0
        self._unsettled: dict[int, tuple[OutgoingLink, bytes]] = {}
        self._waiting: deque[tuple[Transfer, bytes]] = deque()
        wire.write(
            channel,
            Begin(
                remote_channel=channel,
                next_outgoing_id=0,
                incoming_window=WINDOW,
                outgoing_window=WINDOW,
                handle_max=MOST_LINKS - 1,
            ),
        )

    # --- what a link needs

    @property
    def is_open(self) -> bool:
        return self._wire.is_writable and not self._waiting and self._outgoing_left > 0

    def say(self, performative: Performative) -> None:
        self._wire.write(self._channel, performative)

    def flow(self, link: Link | None = None, *, drain: bool | None = None) -> None:
        self._incoming_left = WINDOW
        self.say(
            Flow(
                next_incoming_id=self._next_incoming,
                incoming_window=WINDOW,
                next_outgoing_id=self._next_outgoing,
                outgoing_window=WINDOW,
                handle=None if link is None else link.handle,
                delivery_count=None if link is None else link.delivery_count,
                link_credit=None if link is None else link.credit,
                drain=drain,
            )
        )

    def transfer(self, link: OutgoingLink, payload: bytes, tag: bytes, *, settled: bool) -> int:
        delivery_id = self._next_delivery
        self._next_delivery = (delivery_id + 1) & 0xFFFFFFFF
        if not settled:
            self._unsettled[delivery_id] = (link, tag)
        room = max(self._wire.largest_frame, _LEAST_FRAME) - _TRANSFER_OVERHEAD
        for start in range(0, len(payload), room) or (0,):
            more = start + room < len(payload)
            first = start == 0
            transfer = Transfer(
                handle=link.handle,
                delivery_id=delivery_id if first else None,
                delivery_tag=tag if first else None,
                message_format=0 if first else None,
                settled=settled if first else None,
                more=more,
            )
            self._waiting.append((transfer, payload[start : start + room]))
        self._flush()
        return delivery_id

    def forget(self, link: Link) -> None:
        self._links.pop(link.handle, None)
        for delivery_id in [each for each, (owner, _) in self._unsettled.items() if owner is link]:
            del self._unsettled[delivery_id]

    # --- what the client says

    def heard(self, performative: Performative, payload: bytes) -> None:
        """Handle what belongs to a session. Raises Malformed for what doesn't."""
        match performative:
            case Transfer():
                self._transferred(performative, payload)
            case Disposition():
                self._disposed(performative)
            case Flow():
                self._flowed(performative)
            case Attach():
                self._attached(performative)
            case Detach():
                self._link(performative.handle).ended(performative)
            case _:
                raise Malformed(f"{type(performative).__name__} does not belong into a session")

    @property
    def held(self) -> int:
        """Bytes of messages whose frames have come only in part."""
        return sum(link.held for link in self._links.values() if isinstance(link, IncomingLink))

    def links(self) -> Iterator[IncomingLink | OutgoingLink]:
        yield from tuple(self._links.values())

    def lost(self) -> None:
        """The session is gone, and its links with it."""
        self._waiting.clear()
        for link in self.links():
            link.is_attached, link.is_gone = False, True
            link.lost()
        self._links.clear()
        self._unsettled.clear()

    def _attached(self, attach: Attach) -> None:
        if attach.handle >= MOST_LINKS:
            raise Malformed(f"a session has {MOST_LINKS} handles, counted from 0")
        if attach.handle in self._links:
            raise Malformed(f"the handle {attach.handle} is in use")
        link = IncomingLink(self, attach) if attach.role is SENDER else OutgoingLink(self, attach)
        self._links[attach.handle] = link
        self._wire.attach(link)

    def _link(self, handle: int) -> IncomingLink | OutgoingLink:
        link = self._links.get(handle)
        return _Nobody(self, handle) if link is None else link

    def _transferred(self, transfer: Transfer, payload: bytes) -> None:
        self._next_incoming = (self._next_incoming + 1) & 0xFFFFFFFF
        self._incoming_left -= 1
        link = self._links.get(transfer.handle)
        if isinstance(link, IncomingLink):
            link.transferred(transfer, payload)
        # Else it was on its way when this side ended the link: nobody waits for it.
        if self._incoming_left < WINDOW // 2:
            self.flow()

    def _disposed(self, disposition: Disposition) -> None:
        if disposition.role is not RECEIVER:
            return
        first, last = disposition.first, disposition.last
        last = first if last is None else last
        # The numbers are the client's: walk through what is unsettled, not through the range.
        chosen = [first] if first == last else [each for each in self._unsettled if first <= each <= last]
        for delivery_id in chosen:
            link, tag = self._unsettled.get(delivery_id, (None, b""))
            if link is None or link.handler is None:
                continue
            if disposition.settled or disposition.state is not None:
                del self._unsettled[delivery_id]
                link.handler.disposed(delivery_id, tag, disposition.state, settled=bool(disposition.settled))

    def _flowed(self, flow: Flow) -> None:
        seen = 0 if flow.next_incoming_id is None else flow.next_incoming_id
        self._outgoing_left = seen + flow.incoming_window - self._next_outgoing
        self._flush()
        if flow.handle is not None:
            link = self._links.get(flow.handle)
            if isinstance(link, OutgoingLink):
                link.flowed(flow)
            return
        if flow.echo:
            self.flow()
        self.wake()

    def wake(self) -> None:
        """The window or the connection is open again."""
        for link in self.links():
            if isinstance(link, OutgoingLink):
                link.wake()

    def _flush(self) -> None:
        while self._waiting and self._outgoing_left > 0:
            transfer, payload = self._waiting.popleft()
            self._outgoing_left -= 1
            self._next_outgoing = (self._next_outgoing + 1) & 0xFFFFFFFF
            self._wire.write(self._channel, transfer, payload)


class _Nobody(IncomingLink):
    """Stands for a link that this side has ended already, when the client's own detach arrives."""

    def __init__(self, session: Session, handle: int) -> None:
        super().__init__(session, Attach(name="", handle=handle, role=SENDER))

    def ended(self, detach: Detach) -> None:
        return
