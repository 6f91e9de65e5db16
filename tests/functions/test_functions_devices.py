"""Devices over HTTP: one's own, and nobody else's."""

from datetime import timedelta

import pytest

from tests.functions.serving import Site, User, json, refusal
from tests.support.world import PASSWORD


async def log_in(site: Site, username: str, name: str) -> User:
    login = {"username": username, "password": PASSWORD, "device_name": name, "platform": "linux"}
    return User(site, json(await site.call("login", login)))


async def names(user: User) -> list[str]:
    return [each["name"] for each in json(await user.call("list_devices", method="GET"))["devices"]]


async def test_the_one_seen_last_comes_first_and_this_one_is_marked(site: Site, ann: User) -> None:
    site.clock.advance(timedelta(minutes=5))
    phone = await log_in(site, "ann", "phone")
    listed = json(await ann.call("list_devices", method="GET"))["devices"]
    assert [(each["name"], each["current"]) for each in listed] == [("phone", False), ("unnamed", True)]
    assert listed[0]["device_id"] == phone.tokens["device_id"]
    assert listed[0]["last_seen_at"] > listed[1]["last_seen_at"]
    site.clock.advance(timedelta(minutes=5))
    await site.call("refresh_token", {"refresh_token": ann.tokens["refresh_token"]})
    assert await names(phone) == ["unnamed", "phone"]


async def test_a_device_is_renamed(site: Site, ann: User) -> None:
    device = ann.tokens["device_id"]
    done = await ann.call("rename_device", {"name": "big\x00 one"}, method="PATCH", device_id=device)
    assert json(done) == {"device_id": device, "name": "big\ufffd one"}
    assert await names(ann) == ["big\ufffd one"]


async def test_a_revoked_device_can_do_nothing_more(site: Site, ann: User) -> None:
    phone = await log_in(site, "ann", "phone")
    done = await ann.call("revoke_device", method="DELETE", device_id=phone.tokens["device_id"])
    assert done.status_code == 200
    assert refusal(await phone.call("list_files", method="GET")) == (401, "invalid_token")
    again = await site.call("refresh_token", {"refresh_token": phone.tokens["refresh_token"]})
    assert refusal(again) == (401, "invalid_token")
    assert await names(ann) == ["unnamed"]
    for function, method in (("revoke_device", "DELETE"), ("rename_device", "PATCH")):
        gone = await ann.call(function, {"name": "x"}, method=method, device_id=phone.tokens["device_id"])
        assert refusal(gone) == (404, "not_found")


async def test_tenant_isolation_anothers_device_is_answered_like_a_random_one(
    site: Site, ann: User, bob: User
) -> None:
    for device in (ann.tokens["device_id"], "1" * 32):
        for function, method in (("revoke_device", "DELETE"), ("rename_device", "PATCH")):
            answer = await bob.call(function, {"name": "x"}, method=method, device_id=device)
            assert refusal(answer) == (404, "not_found")
    assert await names(ann) == ["unnamed"]


@pytest.mark.parametrize("function", ["list_devices", "rename_device", "revoke_device"])
async def test_without_a_valid_token_nothing(site: Site, ann: User, function: str) -> None:
    assert refusal(await site.call(function, {"name": "x"}, device_id="1" * 32))[0] == 401
    await ann.call("logout")
    assert refusal(await ann.call(function, {"name": "x"}, device_id="1" * 32)) == (401, "invalid_token")
