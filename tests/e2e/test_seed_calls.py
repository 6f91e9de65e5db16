"""The specification's calls, over plain HTTP, with exactly its bodies."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.support.system import PASSWORD, Api, System


@pytest.fixture(scope="module")
def api(system: System) -> Iterator[Api]:
    with Api.sign_up(system.url, "seed-user") as api:
        yield api


def test_register(system: System) -> None:
    answer = httpx.post(
        f"{system.url}/api/register", json={"username": "user123", "password": "secure_password"}
    )
    assert answer.status_code == 201
    assert answer.json()["message"] == "Registration successful"
    assert answer.json()["user_id"]
    again = httpx.post(
        f"{system.url}/api/register", json={"username": "USER123", "password": "other_password"}
    )
    assert (again.status_code, again.json()["code"]) == (409, "username_taken")


def test_health_and_version_are_open_to_anybody(system: System) -> None:
    health = httpx.get(f"{system.url}/api/health/ready")
    assert (health.status_code, health.json()["status"]) == (200, "ready")
    assert set(health.json()["timers"]) == {"sweep_staging", "expire_tokens", "relay_events"}
    assert httpx.head(f"{system.url}/api/health/live").status_code == 200
    assert httpx.get(f"{system.url}/api/version").json()["name"] == "strata"


def test_login(system: System, api: Api) -> None:
    answer = httpx.post(f"{system.url}/api/login", json={"username": "seed-user", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json()["message"] == "Login successful"
    assert answer.json()["access_token"]


@pytest.mark.parametrize(
    "credentials",
    [
        {"username": "seed-user", "password": "wrong password"},
        {"username": "nobody-at-all", "password": PASSWORD},
        {"username": "\x00", "password": PASSWORD},
    ],
)
def test_login_refused(system: System, api: Api, credentials: dict[str, str]) -> None:
    answer = httpx.post(f"{system.url}/api/login", json=credentials)
    assert answer.status_code == 401
    assert answer.json()["error"] == "Invalid credentials"


def test_upload_a_block(api: Api) -> None:
    answer = api.client.post("/api/upload", content=b"a block of bytes")
    assert answer.status_code == 201
    assert answer.json()["message"] == "Block uploaded successfully"
    assert answer.json()["block_id"]


def test_upload_list_download_delete(api: Api) -> None:
    content = b"x" * 1025
    done = api.upload("/example.txt", content)
    assert done["message"] == "File uploaded successfully"

    listed = api.client.get("/api/files/list").json()["files"]
    (entry,) = [file for file in listed if file["file_id"] == done["file_id"]]
    assert entry["file_name"] == "example.txt"
    assert entry["file_size"] == "2 KB"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["upload_date"])

    assert api.download(done["file_id"]) == content

    deleted = api.client.delete(f"/api/files/delete/{done['file_id']}")
    assert (deleted.status_code, deleted.json()) == (200, {"message": "File deleted successfully"})
    gone = api.client.get(f"/api/files/download/{done['file_id']}")
    assert (gone.status_code, gone.json()["error"]) == (404, "File not found")
    assert api.client.delete(f"/api/files/delete/{done['file_id']}").status_code == 404


def test_file_url_works_when_it_is_opened(api: Api) -> None:
    done = api.upload("/opened.txt", b"by address alone")
    opened = httpx.get(done["file_url"], follow_redirects=True)
    assert (opened.status_code, opened.content) == (200, b"by address alone")
    assert opened.headers["content-disposition"].startswith("attachment;")
    changed = done["file_url"][:-1] + ("A" if done["file_url"][-1] != "A" else "B")
    assert httpx.get(changed).status_code == 401


def test_multipart_upload(api: Api) -> None:
    answer = api.client.post(
        "/api/files/upload", files={"file": ("formular.txt", b"from a form", "text/html")}
    )
    assert answer.status_code == 201
    assert answer.json()["path"] == "/formular.txt"
    back = api.client.get(f"/api/files/download/{answer.json()['file_id']}")
    assert back.content == b"from a form"
    assert back.headers["content-type"] == "application/octet-stream"


def test_a_large_download_is_redirected_to_storage(api: Api) -> None:
    content = bytes(range(256)) * 4096 * 40  # 40 MiB
    done = api.upload("/large.bin", content)
    first = api.client.get(f"/api/files/download/{done['file_id']}")
    assert first.status_code == 302
    # The address needs no token, and is good for this one blob.
    fetched = httpx.get(first.headers["location"], timeout=60)
    assert fetched.content == content
    assert fetched.headers["content-disposition"].startswith("attachment;")
    some = api.client.get(
        f"/api/files/download/{done['file_id']}", headers={"Range": "bytes=41943030-41943039"}
    )
    assert (some.status_code, some.content) == (206, content[41943030:])
