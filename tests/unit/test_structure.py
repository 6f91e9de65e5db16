"""Rules about the project's own text, and the settings: what no type checker looks at."""

import ast
import base64
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from functions._http import STATUS, MethodNotAllowed, status_of
from shared.config import Settings, SettingsError, load
from shared.domain.errors import StrataError
from tests.support.world import private_key, public_key

ROOT = Path(__file__).parents[2]
SERVER = ("functions", "shared")

GOOD = {
    "BLOB_CONNECTION_STRING": "UseDevelopmentStorage=true",
    "STRATA_SECRET": base64.urlsafe_b64encode(bytes(range(40))).decode().rstrip("="),
    "TOKEN_SIGNING_KEY": private_key(),
}


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    files = [ROOT / "function_app.py", *(file for each in folders for file in (ROOT / each).rglob("*.py"))]
    for file in files:
        yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text())


def imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


# --- who may see what


def test_the_functions_sdk_stays_at_the_edge() -> None:
    users = {
        name
        for name, tree in sources("functions", "shared", "client", "tools")
        if "azure.functions" in imports(tree)
    }
    assert "function_app.py" in users
    strangers = {
        name for name in users if not name.startswith(("function_app.py", "functions/", "tools/local/"))
    }
    assert strangers == set()


def test_the_environment_is_read_in_one_place_and_handed_on() -> None:
    """`load` takes a mapping, so nothing below the start of a program needs to look for itself."""
    readers = {
        name
        for name, tree in sources(*SERVER)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "environb", "getenv", "putenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert readers == {"function_app.py"}
    assert not {name for name, tree in sources(*SERVER) if imports(tree) & {"os.environ", "os.getenv"}}


def test_modules_do_nothing_when_they_are_imported() -> None:
    """A blueprint is made by a call; a module that opened something could not be imported by a test."""
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.Assign,
        ast.AnnAssign,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
    )
    for name, tree in sources(*SERVER):
        if name == "function_app.py" or "/migrations/" in name:
            continue
        for node in tree.body:
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert text or isinstance(node, allowed), f"{name}, line {node.lineno}"


def test_every_source_says_what_it_is_for() -> None:
    silent = [name for name, tree in sources(*SERVER) if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_no_source_is_longer_than_a_reader_bears() -> None:
    long = {
        name: len((ROOT / name).read_text().splitlines())
        for name, _ in sources("functions", "shared", "client", "tools")
        if "/migrations/" not in name
    }
    assert {name: lines for name, lines in long.items() if lines > 350} == {}


# --- errors


def every_kind(base: type[StrataError] = StrataError) -> Iterator[type[StrataError]]:
    for kind in base.__subclasses__():
        if not kind.__module__.startswith("tests."):
            yield kind
        yield from every_kind(kind)


def test_every_kind_of_error_has_a_status() -> None:
    kinds = set(every_kind())
    assert MethodNotAllowed in kinds
    for kind in kinds:
        assert 400 <= status_of(kind) <= 599, kind
    assert set(STATUS) <= kinds
    with pytest.raises(KeyError):
        status_of(StrataError)


def test_codes_are_unique_in_the_whole_application() -> None:
    kinds = list(every_kind())
    assert len({kind.code for kind in kinds}) == len(kinds)


# --- settings


def test_good_settings_are_read_by_their_types() -> None:
    settings = load(
        GOOD | {"DB_THREADS": "3", "PUBLIC_URL": "https://files.example", "APP_ROLES": "api, blocks"}
    )
    assert (settings.db_threads, settings.public_url) == (3, "https://files.example")
    assert settings.roles == {"api", "blocks"}
    assert settings.secret == bytes(range(40))
    assert load(GOOD | {"DB_THREADS": "  "}).db_threads == 8, "an empty value is like none"


def test_keys_may_come_on_one_line() -> None:
    one_line = {"TOKEN_SIGNING_KEY": private_key().replace("\n", "\\n")}
    previous = {"TOKEN_PREVIOUS_KEYS": (public_key("a") + public_key("b")).replace("\n", "\\n")}
    settings = load(GOOD | one_line | previous)
    assert settings.signing_key == private_key()
    assert [key.strip() for key in settings.previous_keys] == [
        public_key("a").strip(),
        public_key("b").strip(),
    ]


MISTAKES = {
    "APP_ROLES": "api,cook",
    "PUBLIC_URL": "ftp://files.example",
    "DB_THREADS": "0",
    "BLOB_ACCOUNT_URL": "https://account.blob.core.windows.net",
    "REDIS_HOST": "https://name.region.redis.azure.net",
    "SERVICEBUS_NAMESPACE": "sb://name.servicebus.windows.net/",
    "STRATA_SECRET": "dG9vIHNob3J0IHRvIGJlIGEgc2VjcmV0",
    "TOKEN_SIGNING_KEY": "a key that is none at all",
    "MAX_FILE_BYTES": "much",
    "QUOTA_BYTES": "-1",
    "LEASE_HOURS": "1.5",
    "READ_GRANT_MINUTES": "10080",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(GOOD | {name: MISTAKES[name]})


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        load(GOOD | MISTAKES)
    lines = str(refused.value).splitlines()[1:]
    assert len(lines) == len(MISTAKES)
    assert all(any(name in line for line in lines) for name in MISTAKES)
    with pytest.raises(SettingsError) as empty:
        load({"DB_THREADS": "x"})
    for name in ("STRATA_SECRET", "TOKEN_SIGNING_KEY", "BLOB_CONNECTION_STRING", "DB_THREADS"):
        assert len(re.findall(name, str(empty.value))) == 1


def test_redis_has_one_address() -> None:
    host = {"REDIS_HOST": "name.region.redis.azure.net:10000"}
    assert load(GOOD | host).redis_host == "name.region.redis.azure.net:10000"
    with pytest.raises(SettingsError, match="either REDIS_URL or REDIS_HOST"):
        load(GOOD | host | {"REDIS_URL": "redis://127.0.0.1:6379/0"})


def test_service_bus_has_one_address_or_none() -> None:
    assert not load(GOOD).has_bus
    namespace = {"SERVICEBUS_NAMESPACE": "name.servicebus.windows.net"}
    assert load(GOOD | namespace).has_bus
    with pytest.raises(SettingsError, match="either SERVICEBUS_CONNECTION_STRING or SERVICEBUS_NAMESPACE"):
        load(GOOD | namespace | {"SERVICEBUS_CONNECTION_STRING": "Endpoint=sb://name/"})


def test_what_is_no_connection_string_is_refused_at_the_start_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="SERVICEBUS_CONNECTION_STRING") as refused:
        load(GOOD | {"SERVICEBUS_CONNECTION_STRING": "SharedAccessKey=YnVzIGtleQ"})
    assert "YnVzIGtleQ" not in str(refused.value)


SECRETS = {
    "STRATA_SECRET": GOOD["STRATA_SECRET"],
    "TOKEN_SIGNING_KEY": private_key(),
    "BLOB_CONNECTION_STRING": "AccountName=a;AccountKey=c3RvcmUga2V5",
    "METADATA_DB_URL": "mssql+pyodbc://sa:database-password@server/db",
    "SERVICEBUS_CONNECTION_STRING": "Endpoint=sb://n/;SharedAccessKeyName=n;SharedAccessKey=YnVzIGtleQ",
}


def test_nothing_secret_in_logs_settings_don_t_show_it() -> None:
    shown = repr(load(GOOD | SECRETS)) + str(load(GOOD | SECRETS))
    for word in (GOOD["STRATA_SECRET"], "PRIVATE KEY", "c3RvcmUga2V5", "database-password", "YnVzIGtleQ"):
        assert word not in shown


def test_nothing_secret_in_logs_mistakes_don_t_show_it() -> None:
    with pytest.raises(SettingsError) as refused:
        load(GOOD | SECRETS | MISTAKES)
    for name in ("STRATA_SECRET", "TOKEN_SIGNING_KEY"):
        assert MISTAKES[name] not in str(refused.value)
    assert "database-password" not in str(refused.value)
    assert "c3RvcmUga2V5" not in str(refused.value)
    assert "YnVzIGtleQ" not in str(refused.value)


HOSTS_OWN = re.compile(r"FUNCTIONS_[A-Z_]+|AzureWebJobs[A-Za-z_.]+|PYTHON_[A-Z_]+|WEBSITE_[A-Z_]+")
"""What Azure Functions itself is told by app settings."""


def test_the_sample_of_settings_is_complete_and_knows_no_others() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    ours = {each.name.upper() for each in fields(Settings)}
    assert ours - sample.keys() == set()
    assert {name for name in sample.keys() - ours if not HOSTS_OWN.fullmatch(name)} == set()
    assert {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME"} <= sample.keys()
    assert all(isinstance(value, str) for value in sample.values()), "app settings are text"


def test_the_sample_states_the_defaults_and_holds_no_secret() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    for name in ("STRATA_SECRET", "TOKEN_SIGNING_KEY"):
        assert sample[name] == ""
    settings = load({**sample, **{name: GOOD[name] for name in ("STRATA_SECRET", "TOKEN_SIGNING_KEY")}})
    for each in fields(Settings):
        if each.default is not MISSING and not each.name.startswith("blob_connection"):
            assert getattr(settings, each.name) == each.default, each.name
