"""Lists: pages, their limits and their cursors."""

import pytest

from tests.functions.serving import Site, User, json, refusal


@pytest.fixture
async def full(ann: User) -> User:
    for number in range(5):
        await ann.upload(f"/f/{number}", b"x")
    return ann


@pytest.mark.parametrize("limit", ["0", "-1", "abc", "1.5", "1e3", "+5", " 5", "٥", "0x10", "9" * 19])
async def test_limits_that_are_none(ann: User, limit: str) -> None:
    assert refusal(await ann.call("list_files", method="GET", params={"limit": limit})) == (
        400,
        "bad_request",
    )


async def test_limits_are_kept_and_capped(full: User) -> None:
    for limit, count in (("1", 1), ("3", 3), ("0005", 5), ("1000", 5), ("1000000000", 5), ("9" * 18, 5)):
        for folder in ({}, {"folder": "/f"}):
            listed = json(await full.call("list_files", method="GET", params={"limit": limit, **folder}))
            assert len(listed["files"]) == count
            assert (listed["next_cursor"] is None) == (count == 5)


@pytest.mark.parametrize("listing", [{}, {"folder": "/f"}, {"folder": "f/"}])
async def test_pages_are_the_whole(full: User, listing: dict[str, str]) -> None:
    seen: list[str] = []
    params = {**listing, "limit": "2"}
    for _ in range(3):
        page = json(await full.call("list_files", method="GET", params=params))
        seen += [file["path"] for file in page["files"]]
        params["cursor"] = page["next_cursor"]
    assert page["next_cursor"] is None
    assert seen == [f"/f/{number}" for number in range(5)]


async def test_cursors_belong_to_one_listing_of_one_user(site: Site, full: User, bob: User) -> None:
    async def listed(user: User, **params: str) -> tuple[int, str]:
        return refusal(await user.call("list_files", method="GET", params=params))

    cursor = json(await full.call("list_files", method="GET", params={"limit": "1"}))["next_cursor"]
    grant = (await full.upload("/g", b"x"))["file_url"].partition("?grant=")[2]
    assert await listed(bob, cursor=cursor) == (400, "bad_request")
    assert await listed(full, cursor=cursor, folder="/f") == (400, "bad_request")
    for forged in (cursor[:-1], cursor + "A", "A" + cursor, cursor.swapcase(), "é", "!", "A" * 60_000, grant):
        assert await listed(full, cursor=forged) == (400, "bad_request"), forged[:100]


async def test_what_can_be_listed(full: User) -> None:
    for params, answer in (
        ({"folder": "/f", "path": "/f/1"}, (400, "bad_request")),
        ({"folder": "/none"}, (404, "not_found")),
        ({"folder": "/f/1"}, (404, "not_found")),
        ({"folder": "/../f"}, (422, "name_refused")),
        ({"path": "/a\\b"}, (422, "name_refused")),
        ({"namespace": "mine"}, (400, "bad_request")),
        ({"namespace": "0" * 32}, (404, "not_found")),
    ):
        assert refusal(await full.call("list_files", method="GET", params=params)) == answer, params
    for path, count in (("/f/1", 1), ("/F/1", 1), ("/f", 0), ("/none", 0), ("/", 0)):
        assert len(json(await full.call("list_files", method="GET", params={"path": path}))["files"]) == count
    root = json(await full.call("list_files", method="GET", params={"folder": "/"}))
    assert ([folder["path"] for folder in root["folders"]], root["files"]) == (["/f"], [])
