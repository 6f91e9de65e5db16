"""Settings: the only place that reads the environment.

Every setting is an environment variable named like its field, in capitals. All mistakes are reported at once,
so that a deployment is mended in one round. Secrets come as values; in Azure, as Key Vault references that the
platform resolves before the application sees them.
"""

import base64
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

ROLES = frozenset({"api", "blocks", "poll", "workers"})

Count = Annotated[int, Meta(ge=1)]
# Azure's user delegation keys, which sign grants, live for seven days at most; a little of that is for clocks.
GrantMinutes = Annotated[int, Meta(ge=1, le=10_000)]
Address = Annotated[str, Meta(pattern=r"^https?://[^\s]+[^/\s]$")]
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*:[0-9]{1,5}$")]
BusConnection = Annotated[str, Meta(pattern=r"(?i)(?:^|;)\s*endpoint=sb://[^/;\s]")]

MIB = 1024 * 1024


class SettingsError(Exception):
    """The environment can't be used; the message has a line for each mistake, and no value of a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the application can be told from outside. Sizes are in bytes."""

    app_roles: str = "api,blocks,poll,workers"
    """Which blueprints this process serves, by comma."""

    public_url: Address = "http://127.0.0.1:7071"
    """Where clients reach the application: the issuer of its tokens and the start of every file_url."""

    metadata_db_url: str = field(default="sqlite:///.local/data/metadata.db", repr=False)
    """An SQLAlchemy URL: sqlite:///path, or mssql+pyodbc://server/database?driver=…; it may hold a password."""

    db_threads: Count = 8
    """Transactions that run at once in one process."""

    blob_connection_string: str | None = field(default=None, repr=False)
    """For Azurite, or an account with keys; either this or blob_account_url."""

    blob_account_url: Address | None = None
    """For Azure, where the application signs in by its identity."""

    redis_url: str | None = field(default=None, repr=False)
    """redis:// or rediss://, with the password if there is one; either this or redis_host.

    Without both, only this process's commits wake who waits, and nothing is cached."""

    redis_host: Host | None = None
    """For Azure Managed Redis, name.region.redis.azure.net:10000, where the application signs in by its identity."""

    cache_minutes: Count = 60
    """How long an entry of the cache in Redis lives after it was made."""

    cache_check_one_in: Count = 1000
    """Of so many answers from the cache, one is compared with the database; the count of differences is in health."""

    servicebus_connection_string: BusConnection | None = field(default=None, repr=False)
    """For the local Service Bus, or a namespace with keys; either this or servicebus_namespace.

    Without both, a device hears of changes all the same, and has no backlog; nothing is audited."""

    servicebus_namespace: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")] | None = None
    """For Azure, name.servicebus.windows.net, where the application signs in by its identity."""

    servicebus_trigger_connection: str = "SERVICEBUS_CONNECTION_STRING"
    """The app setting, or the prefix of app settings, that the Service Bus triggers' connection is in."""

    longest_wait_seconds: Annotated[int, Meta(ge=1, le=200)] = 25
    """How long a notification may be waited for: less than what stands in front of the application allows."""

    cors_origins: str = ""
    """Where pages come from that may speak to the store, by comma; by default, public_url.

    With blob_account_url they are set where the account is made: no role for blobs may change them."""

    azure_client_id: str | None = None
    """The user-assigned identity to sign in with, for blobs, for the database, for Redis and for Service Bus."""

    strata_secret: str = field(repr=False)
    """At least 32 random bytes, URL-safe base64: refresh tokens and cursors are derived from it."""

    token_signing_key: str = field(repr=False)
    """A PEM private RSA key; line ends may be written as \\n."""

    token_previous_keys: str = ""
    """PEM public keys, one after the other, whose tokens are still accepted."""

    max_upload_bytes: Count = 100 * MIB
    """The largest body of files/upload; Azure Functions takes no more than 100 MiB unless it is told to."""

    max_file_bytes: Count = 100 * 1024 * MIB
    """The largest file that a commit may make."""

    inline_limit_bytes: Count = 32 * MIB
    """The most that a download answers by itself; beyond it, it redirects to a read grant."""

    quota_bytes: Count = 100 * 1024 * MIB
    """What a new user may store."""

    access_token_minutes: Count = 15
    refresh_token_days: Count = 60
    read_grant_minutes: GrantMinutes = 60
    """How long the addresses in a manifest, and a file_url, can be used."""

    upload_grant_minutes: GrantMinutes = 15
    """How long the addresses of blocks/grants take a block."""

    blob_trigger_source: Literal["EventGrid", "LogsAndContainerScan"] = "LogsAndContainerScan"
    """How the host hears of staged blocks: Event Grid in Azure, looking by itself on one machine."""

    blob_trigger_connection: str = "BLOB_CONNECTION_STRING"
    """The app setting, or the prefix of app settings, that the blob trigger's connection is in."""

    staged_patience_seconds: Count = 60
    """How long the event of a staged block may take before the timer looks after the block itself."""

    relay_patience_seconds: Count = 10
    """How long an event may take to Service Bus before the timer brings it there."""

    job_lease_seconds: Count = 60
    """How long a timer's job that was killed keeps others from taking over."""

    sweep_staging_schedule: str = "0 */5 * * * *"
    """NCRONTAB, in UTC, as all schedules."""

    relay_events_schedule: str = "30 * * * * *"
    """For what no relay behind a commit has brought to Service Bus."""

    expire_tokens_schedule: str = "0 30 3 * * *"
    lease_hours: Count = 24
    """How long an uploaded block waits for its commit."""

    assembled_days: Count = 3
    idempotency_hours: Count = 24

    argon2_threads: Count = 2
    """Passwords that are hashed at once; each takes 19 MiB for about 20 ms."""

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(role.strip() for role in self.app_roles.split(","))

    @property
    def has_bus(self) -> bool:
        return self.servicebus_connection_string is not None or self.servicebus_namespace is not None

    @property
    def secret(self) -> bytes:
        return _decoded(self.strata_secret)

    @property
    def signing_key(self) -> str:
        return self.token_signing_key.replace("\\n", "\n")

    @property
    def previous_keys(self) -> tuple[str, ...]:
        end = "-----END PUBLIC KEY-----"
        parts = self.token_previous_keys.replace("\\n", "\n").split(end)[:-1]
        return tuple(part.strip() + "\n" + end for part in parts)

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(origin.strip() for origin in (self.cors_origins or self.public_url).split(","))

    @property
    def read_grant(self) -> timedelta:
        return timedelta(minutes=self.read_grant_minutes)


def load(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises SettingsError that names every mistake."""
    hints = get_type_hints(Settings, include_extras=True)
    values: dict[str, Any] = {}
    mistakes: dict[str, str] = {}
    for each in fields(Settings):
        name = each.name.upper()
        raw = environment.get(name, "").strip()
        if not raw:
            if each.default is MISSING:
                mistakes[name] = f"{name} is not set"
                values[each.name] = ""
            continue
        try:
            values[each.name] = msgspec.convert(raw, hints[each.name], strict=False)
        except msgspec.ValidationError as error:
            mistakes[name] = f"{name}: {error}"
            if each.default is MISSING:
                values[each.name] = ""
    settings = Settings(**values)
    for names, contradiction in _contradictions(settings):
        # What could not be read was reported, and stands there by its default now.
        if mistakes.keys().isdisjoint(names):
            mistakes[names[0]] = contradiction
    if mistakes:
        raise SettingsError("the settings can't be used:\n  " + "\n  ".join(mistakes.values()))
    return settings


def _contradictions(settings: Settings) -> list[tuple[tuple[str, ...], str]]:
    """What readable settings get wrong: the names of those involved, and what to do."""
    found: list[tuple[tuple[str, ...], str]] = []
    if not settings.roles or settings.roles - ROLES:
        found.append((("APP_ROLES",), f"APP_ROLES: must be some of {', '.join(sorted(ROLES))}"))
    if (settings.blob_connection_string is None) == (settings.blob_account_url is None):
        names = ("BLOB_CONNECTION_STRING", "BLOB_ACCOUNT_URL")
        found.append((names, "set either BLOB_CONNECTION_STRING or BLOB_ACCOUNT_URL"))
    if settings.redis_url is not None and settings.redis_host is not None:
        found.append((("REDIS_HOST", "REDIS_URL"), "set either REDIS_URL or REDIS_HOST"))
    if settings.servicebus_connection_string is not None and settings.servicebus_namespace is not None:
        names = ("SERVICEBUS_NAMESPACE", "SERVICEBUS_CONNECTION_STRING")
        found.append((names, "set either SERVICEBUS_CONNECTION_STRING or SERVICEBUS_NAMESPACE"))
    try:
        if len(settings.secret) < 32:
            found.append((("STRATA_SECRET",), "STRATA_SECRET: must hold at least 32 bytes"))
    except ValueError:
        found.append((("STRATA_SECRET",), "STRATA_SECRET: is not URL-safe base64"))
    if "PRIVATE KEY" not in settings.signing_key:
        found.append((("TOKEN_SIGNING_KEY",), "TOKEN_SIGNING_KEY: is not a PEM private key"))
    return found


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
