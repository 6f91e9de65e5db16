"""Parts that die or go away: nothing half done is left, nothing acknowledged is lost, and it goes on."""

import os
import random
import time
from pathlib import Path

import httpx

from tests.support.system import Api, Strata, System


def test_the_host_is_killed_in_the_middle_of_an_upload(stopped_system: System, tmp_path: Path) -> None:
    system = stopped_system
    strata = Strata(tmp_path / "home", system.url)
    original = tmp_path / "large.bin"
    original.write_bytes(os.urandom(120_000_000))
    kept = tmp_path / "kept.txt"
    kept.write_text("acknowledged before")
    with system.azurite():
        with system.host() as host:
            strata.sign_up("killed")
            strata.json("up", kept, "/kept.txt")
            upload = strata.start("up", original, "/large.bin")
            _wait_for_blocks(system, 6)
            host.kill()
            upload.kill()
            upload.communicate()
        with system.host():
            paths = [file["path"] for file in strata.json("ls", "--recursive")["files"]]
            assert paths == ["/kept.txt"]
            again = strata.json("up", original, "/large.bin")
            assert again["totals"]["bytes_sent"] < original.stat().st_size, (
                "what was acknowledged is not sent again"
            )
            strata.json("down", "/large.bin", tmp_path / "back.bin")
            assert (tmp_path / "back.bin").read_bytes() == original.read_bytes()
        assert "0 found missing" in system.ops("reconcile")


def test_the_store_goes_away_and_comes_back(stopped_system: System) -> None:
    system = stopped_system
    content = random.Random(3).randbytes(50_000)
    with system.azurite() as azurite, system.host(), Api.sign_up(system.url, "patient") as api:
        done = api.upload("/there.bin", content)
        azurite.child.stop()
        for answer in (
            api.client.post("/api/upload", content=b"nowhere to put this"),
            api.client.get(f"/api/files/download/{done['file_id']}"),
            api.client.post("/api/files/upload", params={"path": "/lost.txt"}, content=b"nor this"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
        # The process lives, and says what it can't do; asking needs no login.
        health = httpx.get(f"{system.url}/api/health/ready")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["parts"] == {"database": "there", "store": "away"}
        assert health.json()["works"]["signing in"]
        assert not health.json()["works"]["downloading"]
        assert httpx.get(f"{system.url}/api/health/live").json() == {"status": "alive"}
        listed = api.client.get("/api/files/list")
        assert [file["path"] for file in listed.json()["files"]] == ["/there.bin"]
        with system.azurite():
            assert api.download(done["file_id"]) == content
            assert api.download(api.upload("/lost.txt", b"nor this")["file_id"]) == b"nor this"


def test_blobs_that_the_store_lost_are_found_and_healed(stopped_system: System) -> None:
    system = stopped_system
    content = random.Random(5).randbytes(700_000)
    with system.azurite() as azurite, system.host(), Api.sign_up(system.url, "healed") as api:
        # Azurite writes its index every five seconds; killed before, it forgets what came since.
        done = api.upload("/young.bin", content)
        azurite.child.kill()
        with system.azurite():
            system.ops("migrate")
            assert " 0 found missing" not in system.ops("reconcile")
            answer = api.client.get(f"/api/files/download/{done['file_id']}")
            assert (answer.status_code, answer.json()["code"]) == (503, "content_unavailable")
            again = api.upload("/healer.bin", content)
            assert api.download(again["file_id"]) == content
            assert api.download(done["file_id"]) == content
            assert "0 blocks of files can't be read" in system.ops("reconcile")


def _wait_for_blocks(system: System, count: int) -> None:
    """Wait until the host's log shows that blocks were admitted in `count` requests, bounded."""
    log = system.folder / "host.log"
    deadline = time.monotonic() + 60
    while log.read_text().count('"function": "upload_block') < count:
        assert time.monotonic() < deadline, "the upload does not begin"
        httpx.get(f"{system.url}/admin/host/status")
