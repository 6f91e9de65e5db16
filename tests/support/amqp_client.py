"""A client of AMQP for tests that have to do what the SDK never would: stop reading, lie, or say half of something."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tools.local.servicebus.amqp.encode import encode
from tools.local.servicebus.amqp.frames import (
    AMQP_FRAME,
    AMQP_HEADER,
    SASL_FRAME,
    SASL_HEADER,
    FrameBuffer,
    frame,
)
from tools.local.servicebus.amqp.message import Message, read_message
from tools.local.servicebus.amqp.performatives import (
    RECEIVER,
    SENDER,
    Attach,
    Begin,
    Disposition,
    Flow,
    Open,
    Performative,
    SaslInit,
    Source,
    Target,
    Transfer,
    read_performative,
    write_performative,
)
from tools.local.servicebus.amqp.values import Described, Symbol, ULong

T = TypeVar("T", bound=Performative)


def section(code: int, value: object) -> bytes:
    return encode(Described(ULong(code), value))


def message(
    body: bytes = b"x", *, session: str | None = None, message_id: object = None, **properties: Any
) -> bytes:
    """The bytes of a message."""
    named = section(0x73, [message_id, *[None] * 9, session])
    return named + (section(0x74, properties) if properties else b"") + section(0x75, body)


class RawClient:
    """One connection with one session, on channel 0."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._buffer = FrameBuffer(1 << 20)
        self._handles = 0
        self._deliveries = 0
        self.heard: list[tuple[Performative, bytes]] = []

    # --- the stages of a connection

    async def sasl(self) -> None:
        self.writer.write(SASL_HEADER)
        assert await self._header() == SASL_HEADER
        await self.next_body()
        self.say(SaslInit("ANONYMOUS"), kind=SASL_FRAME)
        await self.next_body()

    async def open(self, *, idle_timeout: int | None = None, max_frame_size: int = 65_536) -> Open:
        self.writer.write(AMQP_HEADER)
        assert await self._header() == AMQP_HEADER
        self.say(Open("raw", hostname="h", idle_timeout=idle_timeout, max_frame_size=max_frame_size))
        return await self.wait_for(Open)

    async def begin(self, window: int = 100_000) -> None:
        self.say(Begin(incoming_window=window, outgoing_window=window))
        await self.wait_for(Begin)

    async def put_token(self) -> None:
        sender, _ = await self.sender("$cbs"), await self.receiver("$cbs", credit=10)
        put = (
            section(0x73, [uuid.uuid4()]) + section(0x74, {"operation": "put-token"}) + section(0x77, "token")
        )
        self.send(sender, put)
        await self.wait_for(Transfer)

    # --- links

    async def sender(self, address: str) -> Attach:
        attach = Attach(
            name=f"s{self._handles}",
            handle=self._handles,
            role=SENDER,
            source=Source(address).described(),
            target=Target(f"amqps://h/{address}").described(),
            initial_delivery_count=0,
        )
        return await self._attach(attach)

    async def receiver(
        self,
        address: str,
        *,
        credit: int = 0,
        filters: Mapping[str, object] | None = None,
        settled: bool = False,
        answered: bool = True,
    ) -> Attach:
        named: dict[object, object] = {Symbol(key): value for key, value in (filters or {}).items()}
        attach = Attach(
            name=f"r{self._handles}",
            handle=self._handles,
            role=RECEIVER,
            snd_settle_mode=1 if settled else 0,
            rcv_settle_mode=1,
            source=Source(f"amqps://h/{address}", filter=named or None).described(),
            target=Target("here").described(),
        )
        if not answered:
            self._handles += 1
            self.say(attach)
            return attach
        answer = await self._attach(attach)
        if credit:
            self.flow(answer, credit)
        return answer

    async def _attach(self, attach: Attach) -> Attach:
        self._handles += 1
        self.say(attach)
        return await self.wait_for(Attach)

    def flow(self, link: Attach, credit: int, *, drain: bool = False, delivery_count: int = 0) -> None:
        self.say(
            Flow(
                next_incoming_id=0,
                incoming_window=100_000,
                next_outgoing_id=0,
                outgoing_window=100_000,
                handle=link.handle,
                delivery_count=delivery_count,
                link_credit=credit,
                drain=drain,
            )
        )

    def send(self, link: Attach, payload: bytes, *, more: bool = False, settled: bool = False) -> int:
        number = self._deliveries
        self._deliveries += 1
        transfer = Transfer(
            handle=link.handle,
            delivery_id=number,
            delivery_tag=number.to_bytes(4, "big"),
            message_format=0,
            settled=settled,
            more=more,
        )
        self.say(transfer, payload)
        return number

    def more(self, link: Attach, payload: bytes, *, more: bool = True) -> None:
        self.say(Transfer(handle=link.handle, more=more), payload)

    def settle(self, transfer: Transfer, state: Performative) -> None:
        assert transfer.delivery_id is not None
        self.say(
            Disposition(role=RECEIVER, first=transfer.delivery_id, settled=False, state=state.described())
        )

    # --- bytes

    def say(self, performative: Performative, payload: bytes = b"", *, kind: int = AMQP_FRAME) -> None:
        self.writer.write(frame(kind, 0, write_performative(performative, payload)))

    async def next_body(self) -> bytes:
        """The next frame's body; raises EOFError when the server has closed."""
        while (received := self._buffer.frame()) is None:
            octets = await self.reader.read(1 << 16)
            if not octets:
                raise EOFError
            self._buffer.feed(octets)
        return received.body

    async def wait_for(self, kind: type[T]) -> T:
        """The next performative of that kind; what comes before it is kept in `heard`."""
        return (await self.wait_with_payload(kind))[0]

    async def wait_with_payload(self, kind: type[T]) -> tuple[T, bytes]:
        async with asyncio.timeout(20):
            while True:
                body = await self.next_body()
                if not body:
                    continue
                performative, payload = read_performative(body)
                if isinstance(performative, kind):
                    return performative, payload
                self.heard.append((performative, payload))

    async def message(self) -> tuple[Transfer, Message]:
        """The next message, from however many frames."""
        first, payload = await self.wait_with_payload(Transfer)
        more = first.more
        while more:
            following, part = await self.wait_with_payload(Transfer)
            payload, more = payload + part, following.more
        return first, read_message(payload)

    async def ended(self) -> None:
        """Return when the server has closed the connection."""
        async with asyncio.timeout(20):
            try:
                while await self.reader.read(1 << 16):
                    pass
            except ConnectionError:
                # Closed with something unread: that is an end, too.
                return

    async def _header(self) -> bytes:
        while (header := self._buffer.header()) is None:
            octets = await self.reader.read(1 << 16)
            if not octets:
                raise EOFError
            self._buffer.feed(octets)
        return header


@asynccontextmanager
async def raw_client(port: int, *, ready: bool = True, **options: Any) -> AsyncIterator[RawClient]:
    """A connection; `ready` takes it through everything up to its token."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = RawClient(reader, writer)
    try:
        if ready:
            await client.sasl()
            await client.open(**options)
            await client.begin()
            await client.put_token()
        yield client
    finally:
        writer.close()


def error_of(value: object) -> tuple[str, str]:
    """Condition and description of an error on the wire."""
    assert isinstance(value, Described)
    assert isinstance(value.value, list)
    return str(value.value[0]), str(value.value[1])
