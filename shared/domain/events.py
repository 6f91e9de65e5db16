"""What the world outside of a transaction is told of a change, and how it looks on the wire.

An event says that a namespace's journal reached a seq; a hint says the same to one device that was away. Neither is the
truth, which is the journal: both may be lost, doubled or late. Messages live longer than the program that wrote
them, so each has a version, and a reader says of what it can't understand why: that is what an operator needs who
finds it among the dead letters.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, NewType, TypeVar

import msgspec
from msgspec import Meta

from shared.domain.ids import DeviceId, NamespaceId

WIRE = 1
"""The version of both forms that this program writes, and the newest that it reads."""

CHANGED = "changed"
"""The kind of the one event that there is."""

MessageId = NewType("MessageId", str)

F = TypeVar("F", bound=msgspec.Struct)
_Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
_Seq = Annotated[int, Meta(ge=1)]


class Unreadable(Exception):
    """A message that this program can't understand.

    `reason` is a word for programs, of at most 64 characters; the message is for people and quotes no content.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FileEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One seq of a namespace's journal: which device made it when, and how many changes of each kind it has."""

    namespace: NamespaceId
    epoch: int
    seq: int
    device: DeviceId
    at: datetime
    kinds: Mapping[str, int]

    @property
    def message_id(self) -> MessageId:
        """The same for the same event, however often it is sent; at most 128 characters."""
        return MessageId(f"{self.namespace}:{self.epoch}:{self.seq}")


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """For a device that was away: this namespace has changed, up to this seq at least."""

    device: DeviceId
    namespace: NamespaceId
    seq: int

    @property
    def message_id(self) -> MessageId:
        return MessageId(f"{self.device}:{self.namespace}:{self.seq}")


class _Version(msgspec.Struct):
    version: Annotated[int, Meta(ge=1)]


class _EventForm(msgspec.Struct, kw_only=True):
    version: int
    kind: str
    namespace: _Id
    epoch: _Seq
    seq: _Seq
    device: _Id
    at: Annotated[datetime, Meta(tz=True)]
    # Bounded, so that what is recorded of a message is: anybody who may send could write 256 KiB.
    kinds: Annotated[dict[Annotated[str, Meta(max_length=32)], _Seq], Meta(max_length=64)]


class _HintForm(msgspec.Struct, kw_only=True):
    version: int
    namespace: _Id
    seq: _Seq


def write_event(event: FileEvent) -> bytes:
    """JSON, a few hundred bytes."""
    return msgspec.json.encode({"version": WIRE, "kind": CHANGED, **msgspec.structs.asdict(event)})


def read_event(body: bytes) -> FileEvent:
    """Raises Unreadable."""
    form = _read(body, _EventForm)
    if form.kind != CHANGED:
        raise Unreadable("UnknownKind", f"the event is of the kind {form.kind[:40]!r}, not {CHANGED!r}")
    return FileEvent(
        namespace=NamespaceId(form.namespace),
        epoch=form.epoch,
        seq=form.seq,
        device=DeviceId(form.device),
        at=form.at,
        kinds=form.kinds,
    )


def write_hint(hint: Hint) -> bytes:
    """JSON; whose hint it is stands outside of it, in the session's id."""
    return msgspec.json.encode({"version": WIRE, "namespace": hint.namespace, "seq": hint.seq})


def read_hint(device: DeviceId, body: bytes) -> Hint:
    """Raises Unreadable."""
    form = _read(body, _HintForm)
    return Hint(device=device, namespace=NamespaceId(form.namespace), seq=form.seq)


def _read(body: bytes, form: type[F]) -> F:
    try:
        version = msgspec.json.decode(body, type=_Version).version
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable("Malformed", f"the message has no version: {error}") from error
    if version > WIRE:
        # Another version may look different in all other respects, so nothing else of it is looked at.
        raise Unreadable(
            "FutureVersion", f"the message has version {version}; {WIRE} is the newest known here"
        )
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable("Malformed", f"the message is not what its version says: {error}") from error
