"""nothing_secret_in_logs: what secrets pass through the host, in good requests and bad ones, its log never shows."""

import httpx

from tests.hostile.raw import Target, head
from tests.support.samples import noise
from tests.support.system import Api

WORDS = {
    "password": "Tr0ub4dor-and-a-log-file",
    "wrong password": "n0t-Tr0ub4dor-but-close",
    "new password": "a-whole-new-Tr0ub4dor",
    "query": "t0ken-in-a-query",
    "header": "t0ken-in-a-broken-header",
    "path": "passw0rd-in-a-path",
}


def test_nothing_secret_in_logs(target: Target, ann: Api, eve: Api) -> None:
    url, secrets = target.url, dict(WORDS)
    user = {"username": "discreet", "password": WORDS["password"]}
    httpx.post(f"{url}/api/register", json=user).raise_for_status()
    login = httpx.post(f"{url}/api/login", json=user).json()
    refreshed = httpx.post(f"{url}/api/token/refresh", json={"refresh_token": login["refresh_token"]}).json()
    bearer = {"Authorization": f"Bearer {refreshed['access_token']}"}
    secrets |= {
        f"{name} {n}": each[name]
        for n, each in enumerate((login, refreshed))
        for name in ("access_token", "refresh_token")
    }

    content = noise("discreet", 40 * 2**20)
    done = httpx.post(
        f"{url}/api/files/upload?path=/large", content=content, headers=bearer, timeout=60
    ).json()
    secrets["download grant"] = done["file_url"].partition("?grant=")[2]
    large = httpx.get(done["file_url"])
    secrets["assembled address"] = large.headers["location"].partition("sig=")[2].partition("&")[0]
    manifest = httpx.get(f"{url}/api/files/{done['file_id']}/manifest", headers=bearer).json()
    secrets["block address"] = manifest["blocks"][0]["url"].partition("sig=")[2].partition("&")[0]
    wanted = {"blocks": [{"sha256": "e" * 64, "size": 10}]}
    grants = httpx.post(f"{url}/api/blocks/grants", json=wanted, headers=bearer).json()["grants"]
    secrets["upload address"] = grants[0]["url"].partition("sig=")[2].partition("&")[0]

    # Now everything goes wrong, with the secrets in it.
    for body in (
        {**user, "password": WORDS["wrong password"]},
        {"username": WORDS["password"]},
        [WORDS["password"]],
    ):
        for route in ("login", "register"):
            httpx.post(f"{url}/api/{route}", json=body)
    httpx.get(
        f"{url}/api/files/list?access_token={WORDS['query']}&code={WORDS['query']}&cursor=x", headers=bearer
    )
    httpx.get(f"{url}/api/nothing/{WORDS['path']}")
    httpx.get(done["file_url"][:-4])
    for bad in (
        f"Bearer {WORDS['header']}",
        f"Basic {WORDS['header']}",
        f"Bearer {login['access_token'][:-4]}",
    ):
        httpx.get(f"{url}/api/files/list", headers={"Authorization": bad})
    for line in (
        f"Authorization: Bearer {WORDS['header']}\x00",
        f"Authorization {WORDS['header']}",
        f"{WORDS['header']}",
    ):
        target.exchange(head("GET", "/api/files/list", line))
    target.exchange(f"GET /api/files/list?grant={WORDS['query']} HTTP/7 {WORDS['header']}\r\n\r\n".encode())
    changed = {"password": WORDS["password"], "new_password": WORDS["new password"]}
    assert httpx.post(f"{url}/api/password", json=changed, headers=bearer).status_code == 200
    httpx.post(f"{url}/api/token/refresh", json={"refresh_token": refreshed["refresh_token"]})

    # And what the other tests of this host left there, with the keys that it was started with.
    secrets |= {
        f"token of {n}": each.client.headers["Authorization"][7:] for n, each in enumerate((ann, eve))
    }
    environment = target.system.environment
    secrets["the application's own"] = environment["STRATA_SECRET"]
    secrets["the store's"] = (
        environment["BLOB_CONNECTION_STRING"].partition("AccountKey=")[2].partition(";")[0]
    )
    assert all(len(secret) > 15 for secret in secrets.values()), "a short one could be there by chance"
    log = target.process.child.log.read_text()
    assert "upload_file" in log, "this is the log of what was asked"
    shown = [name for name, secret in secrets.items() if secret in log or secret[-40:] in log]
    assert shown == []
    assert "PRIVATE KEY" not in log
    assert "sig=" not in log


def test_no_attack_was_a_mistake_of_ours(target: Target, ann: Api) -> None:
    """A 500 that a test did not look at is in the log."""
    ann.client.get("/api/files/list")
    log = target.process.child.log.read_text()
    assert "unforeseen failure" not in log
    assert '"status": 500' not in log
    assert "the host failed to answer" not in log
