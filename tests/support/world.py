"""The whole application without Azure: SQLite in a file, a block store in memory, time and ids in hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Engine, text

from shared.adapters.memory.block_store import MemoryBlockStore
from shared.adapters.memory.cache import MemoryCache
from shared.adapters.sql.database import SqlMetadata
from shared.adapters.tokens import HmacSeals, JwtTokens
from shared.domain.accounts import Caller, Role
from shared.domain.blocks import BlockRef
from shared.domain.ids import NO_VERSION, DeviceId, NamespaceId, NodeId, UserId, VersionId
from shared.domain.names import Name, parse_path
from shared.domain.versions import OnHead, OnVersion
from shared.ports.block_store import BlockStore
from shared.ports.cache import Cache
from shared.ports.credentials import Passwords
from shared.ports.metadata import Metadata
from shared.usecases.admit_block import AdmitBlock, CheckBlocks
from shared.usecases.change_folders import ChangeFolders
from shared.usecases.commit_batch import Batch, CommitBatch, Result
from shared.usecases.commit_file import CommitFile
from shared.usecases.delete_file import DeleteFile
from shared.usecases.download_grants import DownloadGrants
from shared.usecases.drafting import CommitRequest, Committed
from shared.usecases.follow_changes import FollowChanges
from shared.usecases.get_file import GetFile, GetManifest
from shared.usecases.list_files import ListFiles, Listing
from shared.usecases.read_content import ReadContent
from shared.usecases.reconcile_blobs import ReconcileBlobs
from shared.usecases.remembering import Form, Question, Remembering
from shared.usecases.sign_in import DeviceClaim, Lifetimes, Register, SignIn
from shared.usecases.tree import TreeWriter
from shared.usecases.upload_file import Upload, UploadFile
from shared.usecases.use_trash import UseTrash
from shared.usecases.use_versions import UseVersions
from tests.support.databases import watched_engine
from tests.support.doubles import CountedIds, FixedClock, PlainPasswords
from tests.support.samples import ref_of

ISSUER = "http://127.0.0.1:7071"
SECRET = b"a secret of thirty-two bytes ..."
QUOTA = 1_000_000_000
PASSWORD = "correct horse battery"


def private_key(name: str = "current") -> str:
    """A PEM private RSA key, one for each name."""
    return _private_key(name)


@cache
def _private_key(name: str) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_key(name: str = "current") -> str:
    """The PEM public key that belongs to `private_key(name)`."""
    private = serialization.load_pem_private_key(private_key(name).encode(), password=None)
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@dataclass(frozen=True)
class RememberedLists:
    """Lists as they are asked for over HTTP, through the cache, and given back as what they show."""

    lists: ListFiles
    remembering: Remembering

    async def whole_tree(self, caller: Caller, namespace: NamespaceId | None, **page: Any) -> Listing:
        return await self._ask(self.lists.whole_tree(caller, namespace, **page))

    async def folder(
        self, caller: Caller, namespace: NamespaceId | None, path: tuple[Name, ...], **page: Any
    ) -> Listing:
        return await self._ask(self.lists.folder(caller, namespace, path, **page))

    async def one(self, caller: Caller, namespace: NamespaceId | None, path: tuple[Name, ...]) -> Listing:
        return await self.lists.one(caller, namespace, path)

    async def search(self, caller: Caller, namespace: NamespaceId | None, words: str, **page: Any) -> Listing:
        return await self.lists.search(caller, namespace, words, **page)

    async def _ask(self, question: Question[Listing]) -> Listing:
        found = (await self.remembering(question, _LISTING)).value
        assert found is not None
        return found


_LISTING = Form(msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Listing).decode)


@dataclass
class World:
    """The application's use cases over two ports that a test may replace; `quota` in bytes, of each new user."""

    metadata: Metadata
    store: BlockStore
    engine: Engine
    memory: MemoryBlockStore
    clock: FixedClock = field(default_factory=FixedClock)
    ids: CountedIds = field(default_factory=CountedIds)
    passwords: Passwords = field(default_factory=PlainPasswords)
    quota: int = QUOTA
    cache: Cache | None = field(default_factory=MemoryCache)

    def __post_init__(self) -> None:
        hour, day = timedelta(hours=1), timedelta(days=1)
        metadata, store, clock, ids = self.metadata, self.store, self.clock, self.ids
        self.tokens = JwtTokens(signing_key=private_key(), issuer=ISSUER, secret=SECRET)
        self.seals = HmacSeals(SECRET)
        self.register = Register(metadata, self.passwords, clock, ids, self.quota)
        lifetimes = Lifetimes(access=timedelta(minutes=15), refresh=60 * day)
        self.sign_in = SignIn(metadata, self.passwords, self.tokens, clock, ids, lifetimes)
        self.admit_block = AdmitBlock(metadata, store, clock, ids, day)
        self.check_blocks = CheckBlocks(metadata, clock, day)
        self.commit_file = CommitFile(metadata, clock, ids, 100 * 2**30, day)
        self.upload_file = UploadFile(self.admit_block, self.check_blocks, self.commit_file)
        self.commit_batch = CommitBatch(self.admit_block, self.commit_file)
        self.remembering = Remembering(metadata, self.cache, check_one_in=2)
        self.list_files = RememberedLists(ListFiles(metadata, self.seals), self.remembering)
        self.get_file = GetFile(metadata)
        self.get_manifest = GetManifest(self.remembering, store, clock, hour)
        self.read_content = ReadContent(metadata, store, clock, ids, hour, 3 * day)
        self.tree = TreeWriter(metadata, clock, day)
        self.delete_file = DeleteFile(self.tree)
        self.change_folders = ChangeFolders(self.tree, ids)
        self.use_trash = UseTrash(metadata, self.tree)
        self.use_versions = UseVersions(metadata, self.commit_file)
        self.follow_changes = FollowChanges(metadata, self.seals)
        self.download_grants = DownloadGrants(self.seals, clock, hour)
        self.reconcile_blobs = ReconcileBlobs(metadata, store, clock)

    def with_ports(self, **changed: Any) -> "World":
        """The same world seen through other ports."""
        mine = {
            name: getattr(self, name)
            for name in (
                "metadata",
                "store",
                "engine",
                "memory",
                "clock",
                "ids",
                "passwords",
                "quota",
                "cache",
            )
        }
        return World(**{**mine, **changed})

    async def caller(self, username: str, *, quota: int | None = None) -> Caller:
        """A new user, logged in."""
        maker = self if quota is None else self.with_ports(quota=quota)
        await maker.register(username, PASSWORD)
        return await self.log_in(username)

    async def log_in(self, username: str) -> Caller:
        signed = await self.sign_in.log_in(username, PASSWORD, DeviceClaim("laptop", "linux"))
        return self.tokens.verify_access(signed.access_token, now=self.clock.now())

    async def namespace_of(self, caller: Caller) -> NamespaceId:
        found = await self.metadata.read(lambda tx: tx.namespaces.personal_of(caller.user_id))
        assert found is not None
        return found

    async def admit(self, caller: Caller, *blocks: bytes) -> list[BlockRef]:
        return [await self.admit_block(caller, None, block) for block in blocks]

    async def commit(
        self, caller: Caller, path: str, blocks: Sequence[bytes], base: VersionId | None = None, **more: Any
    ) -> Committed:
        """Commit blocks that were admitted, on the version `base`, or on whatever is there."""
        basis = OnHead() if base is None else OnVersion(base)
        refs = [ref_of(block) for block in blocks]
        return await self.commit_file(
            caller, CommitRequest(basis=basis, blocks=refs, path=parse_path(path), **more)
        )

    async def upload(self, caller: Caller, path: str, content: bytes, **more: Any) -> Committed:
        return await self.upload_file(caller, Upload(content, parse_path(path), OnHead(), **more))

    async def batch(
        self, caller: Caller, files: Mapping[str, Sequence[bytes]], *brought: bytes, **more: Any
    ) -> Sequence[Result]:
        """Commit new files of these blocks, bringing all of them, or those that are named."""
        requests = [
            CommitRequest(OnVersion(NO_VERSION), list(map(ref_of, blocks)), parse_path(path))
            for path, blocks in files.items()
        ]
        contents = brought or [block for blocks in files.values() for block in blocks]
        return await self.commit_batch(caller, Batch(requests, contents, **more))

    async def read(self, caller: Caller, file_id: NodeId, version: VersionId | None = None) -> bytes:
        """The whole content, verified as a download is."""
        file = await self.get_file(caller, file_id, version)
        return await self.read_content.range(file, 0, file.version.size)

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """What a test changes or asks behind the application's back."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    async def add_member(self, namespace: NamespaceId, caller: Caller, role: Role) -> None:
        self.sql(
            "INSERT INTO members (ns_id, user_id, role) VALUES (:ns, :user, :role)",
            ns=namespace,
            user=caller.user_id,
            role=role.value,
        )


def make_world(url: str, **more: Any) -> World:
    """A world on the database at `url`; close its `metadata` afterwards."""
    engine = watched_engine(url)
    memory = MemoryBlockStore()
    return World(SqlMetadata(engine, threads=8), memory, engine, memory, **more)


def nobody() -> Caller:
    """A caller whose token was never given out by this database."""
    ids = CountedIds("nobody")
    return Caller(UserId(ids.new()), DeviceId(ids.new()), 1)
