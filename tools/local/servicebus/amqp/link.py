"""Links: one direction of messages between the client and one address (part 2 of the standard, section 2.6).

Here are credit, delivery counts, drain, messages in many frames and refusals; what the messages mean is the
handler's. A link is named after what *this* side does: a client's sender ends in an IncomingLink, a client's receiver
in an OutgoingLink.
"""

from collections.abc import Mapping
from typing import Protocol

from tools.local.servicebus.amqp.performatives import (
    RECEIVER,
    SENDER,
    Attach,
    Detach,
    Disposition,
    Flow,
    Performative,
    Rejected,
    Source,
    Target,
    Transfer,
    as_performative,
    refusal,
)
from tools.local.servicebus.amqp.values import Described, Malformed

CREDIT = 1_000
"""Messages that a client may send ahead of their acknowledgement, per link."""

_SETTLED = 1
"""snd-settle-mode: all is sent settled, which is how a client asks to receive and delete."""


class Channel(Protocol):
    """What a link needs of its session."""

    @property
    def is_open(self) -> bool:
        """Whether another message may be sent now: the window is open and the connection takes bytes."""

    def say(self, performative: Performative) -> None: ...

    def flow(self, link: "Link", *, drain: bool | None = None) -> None:
        """Tell the client the link's credit and delivery count."""

    def transfer(self, link: "OutgoingLink", payload: bytes, tag: bytes, *, settled: bool) -> int:
        """Send a message, in as many frames as it needs; returns its delivery id."""

    def forget(self, link: "Link") -> None:
        """The link has ended: neither it nor its deliveries exist any more."""


class IncomingHandler(Protocol):
    """Who takes what a client sends."""

    def received(self, delivery_id: int, payload: bytes, message_format: int, *, settled: bool) -> None: ...

    def closed(self) -> None:
        """The link is gone, for whatever reason; called once."""


class OutgoingHandler(Protocol):
    """Who sends to a client, and hears what became of it."""

    def ready(self) -> None:
        """There may be credit again: send what there is, as long as `can_send`."""

    def disposed(self, delivery_id: int, tag: bytes, state: object, *, settled: bool) -> None: ...

    def closed(self) -> None:
        """The link is gone, for whatever reason; called once."""


class Link:
    """What both directions share. `address` is the path of the client's address, without scheme and host."""

    def __init__(self, channel: Channel, attach: Attach) -> None:
        self.channel, self.attach = channel, attach
        self.name, self.handle = attach.name, attach.handle
        self.is_attached = self.is_gone = False
        self.credit = self.delivery_count = 0
        self.source, self.target = _terminus(attach.source, Source), _terminus(attach.target, Target)

    def refuse(self, condition: str, description: str) -> None:
        """Answer the attach with an error.

        Both ends of the answer are null: with the addresses echoed, the client would believe that the link is open.
        """
        role = not self.attach.role
        first = 0 if role is SENDER else None
        self.channel.say(Attach(name=self.name, handle=self.handle, role=role, initial_delivery_count=first))
        self.detach(condition, description)

    def detach(self, condition: str, description: str) -> None:
        """End the link from this side with an error. `closed` is not called for it."""
        if self.is_gone:
            return
        self.channel.say(Detach(self.handle, closed=True, error=refusal(condition, description)))
        self._end()

    def ended(self, detach: Detach) -> None:
        """The client has detached."""
        self.channel.say(Detach(self.handle, closed=detach.closed))
        self._end()
        self.lost()

    def lost(self) -> None:
        """The link is gone without a word."""

    def _end(self) -> None:
        self.is_attached, self.is_gone = False, True
        self.channel.forget(self)


class IncomingLink(Link):
    """The client sends. `handler` is set by whoever accepts the link."""

    handler: IncomingHandler | None = None

    def __init__(self, channel: Channel, attach: Attach) -> None:
        super().__init__(channel, attach)
        self.delivery_count = attach.initial_delivery_count or 0
        self.address = path_of(self.target.address if isinstance(self.target, Target) else None)
        self._largest = 0
        self._parts = bytearray()
        self._first: Transfer | None = None
        self._size = 0

    def accept(
        self, handler: IncomingHandler, *, largest: int, properties: dict[object, object] | None = None
    ) -> None:
        """Answer the attach. `largest` is the size of a message, in bytes."""
        self.handler, self._largest, self.is_attached = handler, largest, True
        self.channel.say(
            Attach(
                name=self.name,
                handle=self.handle,
                role=RECEIVER,
                snd_settle_mode=self.attach.snd_settle_mode,
                rcv_settle_mode=self.attach.rcv_settle_mode,
                source=self.attach.source,
                target=self.attach.target,
                max_message_size=largest,
                properties=properties,
            )
        )
        self._replenish()

    @property
    def held(self) -> int:
        """Bytes of a message that isn't complete."""
        return len(self._parts)

    def transferred(self, transfer: Transfer, payload: bytes) -> None:
        """Take a frame. Raises Malformed."""
        if not self.is_attached or self.handler is None:
            return
        if self._first is None:
            if transfer.delivery_id is None:
                raise Malformed("the first frame of a message needs a delivery id")
            self._first = transfer
        first = self._first
        self._size += len(payload)
        if self._size <= self._largest:
            self._parts += payload
        else:
            # The rest of it still comes: it is let through unread, and the refusal follows its last frame.
            self._parts.clear()
        if transfer.more and not transfer.aborted:
            return
        octets, size, self._first = bytes(self._parts), self._size, None
        self._parts, self._size = bytearray(), 0
        self.delivery_count = (self.delivery_count + 1) & 0xFFFFFFFF
        self.credit -= 1
        if not transfer.aborted and first.delivery_id is not None:
            settled = bool(transfer.settled or first.settled)
            if size > self._largest:
                self._refuse_size(first.delivery_id, size)
            else:
                self.handler.received(first.delivery_id, octets, first.message_format or 0, settled=settled)
        if self.credit < CREDIT // 2 and self.is_attached:
            self._replenish()

    def settle(self, delivery_id: int, outcome: Performative) -> None:
        """Tell the client what became of a message."""
        self.channel.say(
            Disposition(
                role=RECEIVER, first=delivery_id, last=delivery_id, settled=True, state=outcome.described()
            )
        )

    def lost(self) -> None:
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.closed()

    def _refuse_size(self, delivery_id: int, size: int) -> None:
        text = f"the message of {size} bytes exceeds the limit of {self._largest} bytes on this link"
        self.settle(delivery_id, Rejected(refusal("amqp:link:message-size-exceeded", text)))

    def _replenish(self) -> None:
        self.credit = CREDIT
        self.channel.flow(self)


class OutgoingLink(Link):
    """The client receives. `handler` is set by whoever takes the link, before or when it is accepted."""

    handler: OutgoingHandler | None = None

    def __init__(self, channel: Channel, attach: Attach) -> None:
        super().__init__(channel, attach)
        self.address = path_of(self.source.address if isinstance(self.source, Source) else None)
        self.settles = attach.snd_settle_mode != _SETTLED
        self._draining = False

    @property
    def filter(self) -> Mapping[str, object]:
        """The filters of the source by name, without their descriptors."""
        given = self.source.filter if isinstance(self.source, Source) else None
        return {str(key): _bare(value) for key, value in (given or {}).items()}

    @property
    def can_send(self) -> bool:
        return self.is_attached and self.credit > 0 and self.channel.is_open

    def accept(
        self,
        handler: OutgoingHandler,
        *,
        filters: dict[object, object] | None = None,
        properties: dict[object, object] | None = None,
    ) -> None:
        """Answer the attach, source and target echoed; `filters` replace those of the source."""
        self.handler, self.is_attached = handler, True
        source = self.attach.source
        if filters is not None and source is not None and isinstance(source.value, list):
            values = source.value + [None] * (8 - len(source.value))
            values[7] = filters
            source = Described(source.descriptor, values)
        self.channel.say(
            Attach(
                name=self.name,
                handle=self.handle,
                role=SENDER,
                snd_settle_mode=self.attach.snd_settle_mode,
                rcv_settle_mode=self.attach.rcv_settle_mode,
                source=source,
                target=self.attach.target,
                initial_delivery_count=0,
                properties=properties,
            )
        )

    def flowed(self, flow: Flow) -> None:
        """The client grants credit, or takes it back."""
        if flow.link_credit is not None:
            # What it had counted when it wrote this may be less than what has been sent meanwhile.
            seen = self.delivery_count if flow.delivery_count is None else flow.delivery_count
            behind = (self.delivery_count - seen) & 0xFFFFFFFF
            self.credit = max(flow.link_credit - (behind if behind < 0x80000000 else 0), 0)
        self._draining = bool(flow.drain)
        self.wake()
        if flow.echo and not self._draining and self.is_attached:
            self.channel.flow(self)

    def wake(self) -> None:
        """Let the handler send what it can; if the client drains, give back the credit that is left."""
        if not self.is_attached or self.handler is None:
            return
        self.handler.ready()
        # A message that waits for the window is not what a drain may skip.
        if self._draining and self.is_attached and (self.credit == 0 or self.channel.is_open):
            self.delivery_count = (self.delivery_count + self.credit) & 0xFFFFFFFF
            self.credit, self._draining = 0, False
            self.channel.flow(self, drain=True)

    def send(self, payload: bytes, tag: bytes) -> int:
        """Send a message, taking one credit; returns the delivery id. Only when `can_send`."""
        self.credit -= 1
        self.delivery_count = (self.delivery_count + 1) & 0xFFFFFFFF
        return self.channel.transfer(self, payload, tag, settled=not self.settles)

    def confirm(self, delivery_id: int, state: object) -> None:
        """Settle a delivery from this side, with the outcome that the client awaits."""
        self.channel.say(
            Disposition(role=SENDER, first=delivery_id, last=delivery_id, settled=True, state=state)
        )

    def lost(self) -> None:
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.closed()


def path_of(address: object) -> str:
    """`amqps://host:port/topic/Subscriptions/name` as `topic/Subscriptions/name`; a bare path as it is."""
    text = address if isinstance(address, str) else ""
    _, scheme, rest = text.partition("://")
    return (rest.partition("/")[2] if scheme else text).strip("/")


def _terminus(described: Described | None, kind: type[Performative]) -> Performative | None:
    if described is None:
        return None
    terminus = as_performative(described)
    # Another kind (a transaction coordinator, say) has no address, and is refused for that.
    return terminus if isinstance(terminus, kind) else None


def _bare(value: object) -> object:
    return value.value if isinstance(value, Described) else value
