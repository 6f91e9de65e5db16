"""The JSON that requests carry and answers show."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared.domain.blocks import BLOCK_SIZE
from shared.domain.errors import Malformed
from shared.domain.versions import Version
from shared.ports.tables_blocks import PlacedBlock
from shared.ports.tables_files import Node
from shared.usecases.list_files import Entry, Listing

Text = Annotated[str, Meta(max_length=4096)]
Label = Annotated[str, Meta(max_length=100)]
MAX_HASHES = 1000
MAX_GRANTS = 100
MAX_MANIFESTS = 1000


class Credentials(msgspec.Struct):
    username: Text
    password: Text


class Login(Credentials):
    """`device_id` is what an earlier login on this device gave."""

    device_name: Label = "unnamed"
    platform: Annotated[str, Meta(max_length=50)] = "unknown"
    device_id: str | None = None


class Refresh(msgspec.Struct):
    refresh_token: Text


class DeviceName(msgspec.Struct):
    name: Label


class PasswordChange(msgspec.Struct):
    password: Text
    new_password: Text


class Hashes(msgspec.Struct):
    hashes: list[str]


class Block(msgspec.Struct):
    sha256: str
    size: Annotated[int, Meta(ge=1, le=BLOCK_SIZE)]


class Wanted(msgspec.Struct):
    """Blocks that the client wants to put into storage itself."""

    blocks: list[Block]


class Commit(msgspec.Struct):
    """`base_version` is null for a file that is new; either `path` or `file_id` is given."""

    blocks: list[Block]
    path: Text | None = None
    file_id: str | None = None
    base_version: str | None = None
    modified_at: str | None = None


class Batch(msgspec.Struct):
    """Commits, and the sizes in bytes of the blocks that follow: their hashes say which they are."""

    files: list[Commit]
    sizes: list[Annotated[int, Meta(ge=1, le=BLOCK_SIZE)]] = []


class SentBlock(msgspec.Struct):
    """`size` bytes follow, which hold the block in `codec`."""

    sha256: str
    size: Annotated[int, Meta(ge=1, le=BLOCK_SIZE)]
    codec: Literal["none", "zstd"] = "none"


class SentBlocks(msgspec.Struct):
    blocks: Annotated[list[SentBlock], Meta(min_length=1)]


class OneVersion(msgspec.Struct):
    file_id: str
    version_id: str


class ManyVersions(msgspec.Struct):
    """Versions of files whose manifests are wanted."""

    files: list[OneVersion]


class Target(msgspec.Struct):
    """The complete path that something is to have."""

    path: Text


class RestoreTarget(msgspec.Struct):
    """Where to, None for where it was."""

    path: Text | None = None


class Undo(msgspec.Struct):
    """Which device's changes to take back, from when to when (now, without `to`); `dry_run` only tells."""

    device: str
    since: str = msgspec.field(name="from")
    until: str | None = msgspec.field(name="to", default=None)
    dry_run: bool = False


class RestoreVersion(msgspec.Struct):
    version_id: str


def clean_label(text: str, room: int) -> str:
    """A device's label without characters that could disturb the lists that it is shown in.

    It is cut at `room` UTF-16 units, in which SQL Server counts what a column holds.
    """
    printable = "".join(c if c.isprintable() else "�" for c in text)
    return printable.encode("utf-16-le")[: 2 * room].decode("utf-16-le", "ignore").strip() or "unnamed"


def parse_time(raw: str | None) -> datetime | None:
    """When content was made, None where that isn't said; raises Malformed."""
    return parse_moment(raw, "modified_at") if raw is not None else None


def parse_moment(raw: str, name: str) -> datetime:
    """A time with its zone (RFC 3339); raises Malformed, naming the member."""
    try:
        moment = msgspec.convert(raw, datetime)
        if moment.tzinfo is None:
            raise Malformed(f"{name} must name its zone: end it with Z for UTC")
        # In the first and the last hours of the calendar, other zones' times have no date in UTC.
        return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Malformed(f"{name} must be a time such as 2026-01-31T12:00:00Z") from error


def stamp(moment: datetime) -> str:
    """A time to the second, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show_file(node: Node, path: str, version: Version) -> dict[str, Any]:
    """A file as listings show it; `file_size` is in whole KB, rounded up."""
    return {
        "file_id": node.id,
        "file_name": node.name,
        "file_size": f"{-(-version.size // 1024)} KB",
        "upload_date": stamp(version.created_at),
        "size_bytes": version.size,
        "path": path,
        "version_id": version.id,
        "version": version.number,
        "root_hash": version.root_hash,
        "modified_at": version.modified_at.isoformat(),
    }


def show_entry(entry: Entry) -> dict[str, Any]:
    """A file of a listing, at its head."""
    if entry.node.head is None:
        raise ValueError("a listed file has a head")
    return show_file(entry.node, entry.path, entry.node.head)


def show_folder(entry: Entry) -> dict[str, Any]:
    """A folder of a listing."""
    return {"folder_id": entry.node.id, "name": entry.node.name, "path": entry.path}


def show_listing(listing: Listing) -> bytes:
    """A page of files and folders, encoded: whoever remembers it has no more work with it."""
    body: dict[str, Any] = {"files": [show_entry(entry) for entry in listing.files]}
    if listing.folders is not None:
        body["folders"] = [show_folder(entry) for entry in listing.folders]
    return msgspec.json.encode({**body, "next_cursor": listing.next_cursor})


def show_block(block: PlacedBlock) -> dict[str, Any]:
    """A block of a manifest, without its address: `stored_size` bytes at `offset` of a blob, in `codec`."""
    return {
        "sha256": block.sha256,
        "size": block.size,
        "offset": block.placement.offset,
        "stored_size": block.placement.stored_size,
        "codec": block.placement.codec.value,
    }


def show_version(version: Version) -> dict[str, Any]:
    """A version as a file's history shows it."""
    return {
        "version_id": version.id,
        "version": version.number,
        "size_bytes": version.size,
        "root_hash": version.root_hash,
        "created_at": stamp(version.created_at),
        "modified_at": version.modified_at.isoformat(),
    }
