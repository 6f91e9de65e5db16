"""The local stack's settings, secrets and the environment that it gives to the application."""

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tools.local.up.secrets import SecretsUnreadable, load_secrets
from tools.local.up.settings import SettingsError, application_environment, read_settings


def test_everything_has_a_default() -> None:
    settings = read_settings({})
    assert settings.folder.name == ".local"
    assert settings.url == "http://127.0.0.1:7071"
    assert settings.redis_address == "redis://127.0.0.1:6379/0"
    assert sorted(settings.ports.values()) == [5672, 6379, 7071, 10000, 10001, 10002]


def test_a_redis_of_somebody_else_needs_no_port() -> None:
    settings = read_settings({"REDIS_URL": "rediss://elsewhere:1", "REDIS_PORT": "7071"})
    assert settings.redis_address == "rediss://elsewhere:1"
    assert "REDIS_PORT" not in settings.ports


def test_a_service_bus_of_somebody_else_needs_no_port(tmp_path: Path) -> None:
    theirs = "Endpoint=sb://elsewhere;SharedAccessKeyName=n;SharedAccessKey=k"
    settings = read_settings({"SERVICEBUS_CONNECTION_STRING": theirs, "SERVICEBUS_PORT": "7071"})
    assert "SERVICEBUS_PORT" not in settings.ports
    assert theirs not in repr(settings)
    ours = read_settings({"SERVICEBUS_PORT": "5999"})
    environment = application_environment(ours, {}, {"SERVICEBUS_CONNECTION_STRING": ""})
    assert "sb://127.0.0.1:5999" in environment["SERVICEBUS_CONNECTION_STRING"]
    assert "UseDevelopmentEmulator=true" in environment["SERVICEBUS_CONNECTION_STRING"]
    environment = application_environment(settings, {}, {"SERVICEBUS_CONNECTION_STRING": theirs})
    assert environment["SERVICEBUS_CONNECTION_STRING"] == theirs


@pytest.mark.parametrize("value", ["0", "65536", "-1", "x", "1.5"])
def test_what_is_no_port(value: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_PORT must be a port"):
        read_settings({"REDIS_PORT": value})


def test_one_port_for_two_servers() -> None:
    with pytest.raises(SettingsError, match="STRATA_PORT and AZURITE_TABLE_PORT are both 9"):
        read_settings({"STRATA_PORT": "9", "AZURITE_TABLE_PORT": "9"})


def test_what_the_caller_sets_wins_and_what_is_empty_is_not_set(tmp_path: Path) -> None:
    settings = read_settings({"STRATA_LOCAL_DIR": str(tmp_path)})
    caller = {"PUBLIC_URL": "https://example.test", "REDIS_URL": "", "OTHER": ""}
    environment = application_environment(settings, {"STRATA_SECRET": "s"}, caller)
    assert environment["PUBLIC_URL"] == "https://example.test"
    assert environment["REDIS_URL"] == settings.redis_address
    assert environment["METADATA_DB_URL"] == f"sqlite:///{tmp_path}/data/metadata.db"
    assert environment["STRATA_SECRET"] == "s"
    assert environment["OTHER"] == ""
    assert "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;" in environment["AzureWebJobsStorage"]


def test_secrets_are_made_once_and_are_what_the_application_wants(tmp_path: Path) -> None:
    path = tmp_path / "state" / "secrets.json"
    made = load_secrets(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.urlsafe_b64decode(made["STRATA_SECRET"])) == 32
    key = load_pem_private_key(made["TOKEN_SIGNING_KEY"].encode(), None)
    assert isinstance(key, RSAPrivateKey)
    assert key.key_size == 2048
    assert load_secrets(path) == made


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_secrets_that_can_not_be_read_are_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(text)
    with pytest.raises(SecretsUnreadable):
        load_secrets(path)
    assert path.read_text() == text
