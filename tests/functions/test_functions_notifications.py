"""The long poll over HTTP."""

import asyncio

import pytest

from tests.functions.serving import Site, User, json, refusal


async def cursor_of(user: User) -> str:
    return str(json(await user.call("list_changes", method="GET"))["cursor"])


async def test_news_are_told_at_once_or_as_soon_as_they_come(ann: User) -> None:
    cursor = await cursor_of(ann)
    asked = {"method": "GET", "params": {"cursor": cursor, "wait": "20"}}
    waiting = asyncio.create_task(ann.call("wait_for_changes", **asked))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    made = await ann.upload("/a", b"a")
    for answer in (await waiting, await ann.call("wait_for_changes", **asked)):
        told = json(answer)
        assert (told["changed"], told["superseded"], told["cursor"]) == (True, False, cursor)
        assert [event["seq"] for event in told["events"]] == [made["seq"]]


async def test_without_news_the_time_runs_out(ann: User) -> None:
    params = {"cursor": await cursor_of(ann), "wait": "0"}
    told = json(await ann.call("wait_for_changes", method="GET", params=params))
    assert (told["changed"], told["events"]) == (False, [])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, (400, "bad_request")),
        ({"cursor": ""}, (400, "bad_request")),
        ({"cursor": "nonsense"}, (400, "bad_request")),
        ({"cursor": "nonsense", "wait": "-1"}, (400, "bad_request")),
        ({"cursor": "nonsense", "wait": "1e3"}, (400, "bad_request")),
    ],
)
async def test_bad_questions(ann: User, params: dict[str, str], expected: tuple[int, str]) -> None:
    assert refusal(await ann.call("wait_for_changes", method="GET", params=params)) == expected


async def test_another_users_cursor_and_no_token(site: Site, ann: User, bob: User) -> None:
    params = {"cursor": await cursor_of(ann), "wait": "0"}
    assert refusal(await bob.call("wait_for_changes", method="GET", params=params)) == (410, "cursor_reset")
    assert refusal(await site.call("wait_for_changes", method="GET", params=params))[0] == 401
