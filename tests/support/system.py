"""The whole system as processes, for tests that use it as people do: over HTTP and by the command."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tools.local.processes import free_ports
from tools.local.running import (
    Azurite,
    AzuritePorts,
    FunctionsHost,
    running_azurite,
    running_host,
)
from tools.local.up.secrets import load_secrets

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery staple"


@dataclass
class System:
    """Where the parts of one system are; each part is started by the test that needs it."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    azurite_ports: AzuritePorts = field(default_factory=AzuritePorts.free)
    port: int = field(default_factory=lambda: free_ports(1)[0])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "METADATA_DB_URL": f"sqlite:///{self.folder / 'metadata.db'}",
            "BLOB_CONNECTION_STRING": self.azurite_ports.connection_string,
            "AzureWebJobsStorage": self.azurite_ports.connection_string,
            "PUBLIC_URL": self.url,
            "FUNCTIONS_WORKER_RUNTIME": "python",
            **load_secrets(self.folder / "secrets.json"),
            **self.settings,
        }

    @contextmanager
    def azurite(self) -> Iterator[Azurite]:
        with running_azurite(self.folder, self.azurite_ports) as azurite:
            yield azurite

    @contextmanager
    def host(self) -> Iterator[FunctionsHost]:
        """The host over a database and a store that are up to date, as `make start` leaves them."""
        self.ops("migrate")
        with running_host(ROOT, self.environment, self.port, folder=self.folder) as host:
            yield host

    def ops(self, module: str) -> str:
        """Run an operator's command; returns what it printed."""
        return subprocess.run(
            [sys.executable, "-m", f"tools.ops.{module}"],
            cwd=ROOT,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout


@dataclass(frozen=True)
class Strata:
    """The command `strata` with a home of its own: one device."""

    home: Path
    url: str

    @staticmethod
    def program() -> Path:
        return Path(sys.executable).with_name("strata")

    @property
    def environment(self) -> dict[str, str]:
        return {"STRATA_HOME": str(self.home), "STRATA_URL": self.url}

    def run(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program(), *arguments],
            env=os.environ | self.environment,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program(), *arguments],
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def json(self, *arguments: str | Path, stdin: str | None = None) -> Any:
        """Run it with --json and return the document; fails with what it said when it did."""
        done = self.run("--json", *arguments, stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def sign_up(self, username: str) -> None:
        self.json("register", "--username", username, "--password-stdin", stdin=PASSWORD)
        self.log_in(username)

    def log_in(self, username: str) -> str:
        """Become a device of the user's; returns its id."""
        login = self.json("login", "--username", username, "--password-stdin", stdin=PASSWORD)
        return str(login["device_id"])


@dataclass(frozen=True)
class Api:
    """Plain HTTP as one signed-in user."""

    client: httpx.Client
    user_id: str

    @classmethod
    @contextmanager
    def sign_up(cls, url: str, username: str) -> "Iterator[Api]":
        user = httpx.post(f"{url}/api/register", json={"username": username, "password": PASSWORD})
        assert user.status_code == 201, user.text
        with cls.log_in(url, username) as api:
            yield api

    @classmethod
    @contextmanager
    def log_in(cls, url: str, username: str) -> "Iterator[Api]":
        with httpx.Client(base_url=url, timeout=60) as client:
            login = client.post("/api/login", json={"username": username, "password": PASSWORD})
            assert login.status_code == 200, login.text
            client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
            yield cls(client, login.json()["user_id"])

    def upload(self, path: str, content: bytes) -> dict[str, Any]:
        answer = self.client.post("/api/files/upload", params={"path": path}, content=content)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def download(self, file_id: str) -> bytes:
        answer = self.client.get(f"/api/files/download/{file_id}", follow_redirects=True)
        assert answer.status_code == 200, answer.text
        return answer.content
