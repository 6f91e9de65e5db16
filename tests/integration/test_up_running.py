"""The parts that other tests start by themselves: they are ready when they say so, and survive what they should."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest
import redis
from azure.storage.blob import BlobServiceClient

from tools.local import processes
from tools.local.running import AzuritePorts, running_azurite, running_host, running_redis

APP = """
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
@app.route(route="setting")
def setting(req):
    import os
    return os.environ["SETTING"]
"""


def test_azurite_stopped_in_order_loses_nothing(tmp_path: Path) -> None:
    ports = AzuritePorts.free()
    with (
        running_azurite(tmp_path, ports) as azurite,
        BlobServiceClient.from_connection_string(azurite.connection_string) as client,
    ):
        container = client.create_container("survivors")
        for number in range(20):
            container.upload_blob(str(number), bytes([number]))
    # At once: Azurite writes what it knows every five seconds, and when it is asked to stop.
    assert not processes.accepts(ports.blob)
    with (
        running_azurite(tmp_path, ports) as azurite,
        BlobServiceClient.from_connection_string(azurite.connection_string) as client,
    ):
        container = client.get_container_client("survivors")
        assert [container.download_blob(str(number)).readall() for number in range(20)] == [
            bytes([n]) for n in range(20)
        ]


def test_redis_answers_when_it_is_said_to_run(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("a", "b")
        assert client.get("a") == b"b"
        assert client.config_get("save") == {"save": ""}
    assert not processes.accepts(server.port)


def test_a_host_that_is_killed_can_be_started_again_on_its_port(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(APP)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    (port,) = processes.free_ports(1)
    with running_host(tmp_path, {"SETTING": "first"}, port) as host:
        assert urllib.request.urlopen(f"{host.url}/api/setting").read() == b"first"
        host.kill()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{host.url}/api/setting")
    with running_host(tmp_path, {"SETTING": "second"}, port) as host:
        assert urllib.request.urlopen(f"{host.url}/api/setting").read() == b"second"
    assert processes.is_free(port)
