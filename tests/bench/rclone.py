"""The peer for trees of files: rclone, straight into the same Azurite (Debian package `rclone`)."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from tests.bench.measuring import Spent, run

CONTAINER = "rclone"


@dataclass(frozen=True)
class Rclone:
    """rclone with its settings from the environment, nothing kept on disk; `az:rclone/path` is in the storage."""

    program: str
    environment: dict[str, str]

    @classmethod
    def to(cls, connection_string: str) -> "Rclone":
        """Raises FileNotFoundError where rclone isn't installed."""
        program = shutil.which("rclone")
        if program is None:
            raise FileNotFoundError("this benchmark needs rclone beside us: apt-get install rclone")
        with BlobServiceClient.from_connection_string(connection_string) as store:
            store.create_container(CONTAINER)
            # Its own way to an emulator knows one port only; a signed URL goes to any.
            signature = generate_container_sas(
                str(store.account_name),
                CONTAINER,
                account_key=store.credential.account_key,
                permission=ContainerSasPermissions(
                    read=True, write=True, delete=True, list=True, create=True
                ),
                expiry=datetime.now(UTC) + timedelta(days=1),
            )
            url = f"{store.url}{CONTAINER}?{signature}"
        remote = {"CONFIG": "/dev/null", "CONFIG_AZ_TYPE": "azureblob", "CONFIG_AZ_SAS_URL": url}
        return cls(program, {f"RCLONE_{name}": value for name, value in remote.items()})

    def sync(self, source: Path | str, target: Path | str) -> Spent:
        """Make `target` equal to `source`."""
        return run([self.program, "sync", str(source), str(target)], self.environment)
