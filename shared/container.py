"""Settings in, application out: the one place that knows which adapter stands behind which port."""

from dataclasses import dataclass
from datetime import timedelta

from shared.adapters.azure_audit import AzureAuditLog
from shared.adapters.azure_blob import AzureBlockStore
from shared.adapters.memory.presence import MemoryPresence
from shared.adapters.memory.wakeups import MemoryWakeups
from shared.adapters.passwords import Argon2Passwords
from shared.adapters.redis_cache import RedisCache
from shared.adapters.redis_connection import RedisAddress, redis_address
from shared.adapters.redis_presence import RedisPresence
from shared.adapters.redis_wakeups import RedisWakeups
from shared.adapters.ringing import RingingMetadata
from shared.adapters.service_bus import ServiceBusEvents
from shared.adapters.service_bus_dead_letters import ServiceBusDeadLetters
from shared.adapters.service_bus_link import ServiceBusLink
from shared.adapters.sql.database import SqlMetadata
from shared.adapters.sql.engine import make_engine
from shared.adapters.sql.entra import sql_token_source
from shared.adapters.system import RandomIds, SystemClock
from shared.adapters.tokens import HmacSeals, JwtTokens
from shared.config import Settings
from shared.ports.audit_log import AuditLog
from shared.ports.block_store import BlockStore
from shared.ports.cache import Cache
from shared.ports.credentials import Tokens
from shared.ports.dead_letters import DeadLetters
from shared.ports.event_bus import EventBus
from shared.ports.metadata import Metadata
from shared.ports.presence import Presence
from shared.ports.system import Clock, Ids
from shared.ports.wakeups import Wakeups
from shared.usecases.admit_block import AdmitBlock, CheckBlocks
from shared.usecases.admit_blocks import AdmitBlocks
from shared.usecases.admit_staged_block import AdmitStagedBlock
from shared.usecases.audit_events import AuditEvents
from shared.usecases.change_folders import ChangeFolders
from shared.usecases.check_health import CheckHealth
from shared.usecases.collect_backlog import CollectBacklog
from shared.usecases.commit_batch import CommitBatch
from shared.usecases.commit_file import CommitFile
from shared.usecases.delete_file import DeleteFile
from shared.usecases.download_grants import DownloadGrants
from shared.usecases.expire_tokens import ExpireTokens
from shared.usecases.follow_changes import FollowChanges
from shared.usecases.get_file import GetFile, GetManifest
from shared.usecases.get_manifests import GetManifests
from shared.usecases.grant_blocks import GrantBlocks
from shared.usecases.leased_job import LeasedJob
from shared.usecases.list_files import ListFiles
from shared.usecases.notify_devices import NotifyDevices
from shared.usecases.read_content import ReadContent
from shared.usecases.reconcile_blobs import ReconcileBlobs
from shared.usecases.relay_events import RelayEvents, RelaySoon
from shared.usecases.remembering import Remembering
from shared.usecases.sign_in import Lifetimes, Register, SignIn
from shared.usecases.sweep_staging import SweepStaging
from shared.usecases.tree import TreeWriter
from shared.usecases.undo_changes import UndoChanges
from shared.usecases.upload_file import UploadFile
from shared.usecases.use_devices import UseDevices
from shared.usecases.use_trash import UseTrash
from shared.usecases.use_versions import UseVersions
from shared.usecases.wait_for_changes import WaitForChanges


@dataclass(frozen=True)
class Events:
    """What there is with a bus, and not without."""

    bus: EventBus
    relay_soon: RelaySoon
    notify_devices: NotifyDevices
    collect_backlog: CollectBacklog
    audit: AuditLog
    audit_events: AuditEvents
    dead_letters: DeadLetters

    async def close(self) -> None:
        await self.relay_soon.close()
        await self.bus.close()
        await self.audit.close()


@dataclass(frozen=True)
class Application:
    """All that a trigger may call."""

    settings: Settings
    clock: Clock
    ids: Ids
    tokens: Tokens
    metadata: Metadata
    store: BlockStore
    passwords: Argon2Passwords
    register: Register
    sign_in: SignIn
    admit_block: AdmitBlock
    admit_blocks: AdmitBlocks
    check_blocks: CheckBlocks
    commit_file: CommitFile
    commit_batch: CommitBatch
    upload_file: UploadFile
    list_files: ListFiles
    get_file: GetFile
    get_manifest: GetManifest
    get_manifests: GetManifests
    read_content: ReadContent
    delete_file: DeleteFile
    download_grants: DownloadGrants
    reconcile_blobs: ReconcileBlobs
    change_folders: ChangeFolders
    undo_changes: UndoChanges
    use_devices: UseDevices
    use_trash: UseTrash
    use_versions: UseVersions
    follow_changes: FollowChanges
    redis: RedisAddress | None
    cache: Cache | None
    remembering: Remembering
    wakeups: Wakeups
    presence: Presence
    events: Events | None
    relay_events: RelayEvents
    wait_for_changes: WaitForChanges
    grant_blocks: GrantBlocks
    admit_staged_block: AdmitStagedBlock
    sweep_staging: SweepStaging
    expire_tokens: ExpireTokens
    check_health: CheckHealth

    async def close(self) -> None:
        """Release threads and connections. A host that just ends its process may leave it out."""
        if self.events is not None:
            await self.events.close()
        await self.wakeups.close()
        if self.cache is not None:
            await self.cache.close()
        await self.presence.close()
        if self.redis is not None:
            await self.redis.close()
        await self.store.close()
        await self.metadata.close()
        await self.passwords.close()


def build(settings: Settings) -> Application:
    """Wire the application; opens no connection. Raises ValueError for keys that can't be used."""
    clock, ids = SystemClock(), RandomIds()
    engine = make_engine(
        settings.metadata_db_url,
        threads=settings.db_threads,
        sql_token=sql_token_source(settings.azure_client_id),
    )
    redis = redis_address(settings.redis_url, settings.redis_host, settings.azure_client_id)
    wakeups: Wakeups = RedisWakeups(redis) if redis else MemoryWakeups()
    presence: Presence = RedisPresence(redis) if redis else MemoryPresence()
    sql = SqlMetadata(engine, threads=settings.db_threads)
    events = _events(settings, sql, wakeups, presence, clock) if settings.has_bus else None
    metadata = RingingMetadata(sql, wakeups, events.relay_soon.note if events else None)
    cache: Cache | None = (
        RedisCache(redis, secret=settings.secret, seconds=60 * settings.cache_minutes) if redis else None
    )
    remembering = Remembering(metadata, cache, settings.cache_check_one_in)
    store = AzureBlockStore(
        clock=clock,
        connection_string=settings.blob_connection_string,
        account_url=settings.blob_account_url,
        client_id=settings.azure_client_id,
    )
    passwords = Argon2Passwords(threads=settings.argon2_threads)
    tokens = JwtTokens(
        signing_key=settings.signing_key,
        previous_keys=settings.previous_keys,
        issuer=settings.public_url,
        secret=settings.secret,
    )
    seals = HmacSeals(settings.secret)
    lease = timedelta(hours=settings.lease_hours)
    remember = timedelta(hours=settings.idempotency_hours)
    lifetimes = Lifetimes(
        access=timedelta(minutes=settings.access_token_minutes),
        refresh=timedelta(days=settings.refresh_token_days),
    )
    admit_block = AdmitBlock(metadata, store, clock, ids, lease)
    admit_staged_block = AdmitStagedBlock(metadata, store, admit_block)
    tree = TreeWriter(metadata, clock, remember)
    jobs = LeasedJob(metadata, clock, timedelta(seconds=settings.job_lease_seconds))
    check_blocks = CheckBlocks(metadata, clock, lease)
    commit_file = CommitFile(metadata, clock, ids, settings.max_file_bytes, remember)
    follow_changes = FollowChanges(metadata, seals)
    bus, collect_backlog = (events.bus, events.collect_backlog) if events else (None, None)
    return Application(
        settings=settings,
        clock=clock,
        ids=ids,
        tokens=tokens,
        metadata=metadata,
        store=store,
        passwords=passwords,
        register=Register(metadata, passwords, clock, ids, settings.quota_bytes),
        sign_in=SignIn(metadata, passwords, tokens, clock, ids, lifetimes),
        admit_block=admit_block,
        admit_blocks=AdmitBlocks(admit_block),
        check_blocks=check_blocks,
        commit_file=commit_file,
        commit_batch=CommitBatch(admit_block, commit_file),
        upload_file=UploadFile(admit_block, check_blocks, commit_file),
        list_files=ListFiles(metadata, seals),
        get_file=GetFile(metadata),
        get_manifest=GetManifest(remembering, store, clock, settings.read_grant),
        get_manifests=GetManifests(metadata, store, clock, settings.read_grant),
        read_content=ReadContent(
            metadata, store, clock, ids, settings.read_grant, timedelta(days=settings.assembled_days)
        ),
        delete_file=DeleteFile(tree),
        download_grants=DownloadGrants(seals, clock, settings.read_grant),
        reconcile_blobs=ReconcileBlobs(metadata, store, clock),
        change_folders=ChangeFolders(tree, ids),
        undo_changes=UndoChanges(tree, ids),
        use_devices=UseDevices(metadata, clock, presence, collect_backlog),
        use_trash=UseTrash(metadata, tree),
        use_versions=UseVersions(metadata, commit_file),
        follow_changes=follow_changes,
        redis=redis,
        cache=cache,
        remembering=remembering,
        wakeups=wakeups,
        presence=presence,
        events=events,
        relay_events=RelayEvents(
            metadata, bus, clock, jobs, timedelta(seconds=settings.relay_patience_seconds)
        ),
        wait_for_changes=WaitForChanges(metadata, wakeups, presence, follow_changes, ids, collect_backlog),
        grant_blocks=GrantBlocks(
            metadata, store, clock, ids, timedelta(minutes=settings.upload_grant_minutes)
        ),
        admit_staged_block=admit_staged_block,
        sweep_staging=SweepStaging(
            metadata,
            store,
            clock,
            jobs,
            admit_staged_block,
            timedelta(seconds=settings.staged_patience_seconds),
        ),
        expire_tokens=ExpireTokens(metadata, clock, jobs),
        check_health=CheckHealth(metadata, store, remembering, clock, bus),
    )


def _events(
    settings: Settings, metadata: Metadata, wakeups: Wakeups, presence: Presence, clock: Clock
) -> Events:
    link = ServiceBusLink(
        connection_string=settings.servicebus_connection_string,
        namespace=settings.servicebus_namespace,
        client_id=settings.azure_client_id,
    )
    bus = ServiceBusEvents(link)
    audit = AzureAuditLog(
        connection_string=settings.blob_connection_string,
        account_url=settings.blob_account_url,
        client_id=settings.azure_client_id,
    )
    returning = timedelta(days=settings.refresh_token_days)
    return Events(
        bus=bus,
        relay_soon=RelaySoon(metadata, bus),
        notify_devices=NotifyDevices(metadata, wakeups, presence, bus, clock, returning),
        collect_backlog=CollectBacklog(metadata, bus),
        audit=audit,
        audit_events=AuditEvents(audit, clock),
        dead_letters=ServiceBusDeadLetters(link),
    )
