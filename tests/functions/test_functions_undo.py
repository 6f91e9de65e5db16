"""`undo` over HTTP: the form of its body and of its answer."""

from datetime import timedelta
from typing import Any

import pytest

from tests.functions.serving import Site, User, json, refusal


async def test_what_a_device_did_is_listed_then_undone(site: Site, ann: User) -> None:
    made = await ann.upload("/docs/a", b"content")
    document = {"device": ann.tokens["device_id"], "from": "2000-01-01T00:00:00Z"}
    planned = json(await ann.call("undo_changes", {**document, "dry_run": True}))
    assert (planned["dry_run"], planned["undone_count"], planned["kept"]) == (True, 2, [])
    assert {one["was"] for one in planned["undone"]} == {"/docs", "/docs/a"}
    assert (await ann.download(made["file_id"])).status_code == 200
    until = (site.clock.now() + timedelta(seconds=1)).isoformat()
    done = json(await ann.call("undo_changes", {**document, "to": until}))
    assert {**planned, "dry_run": False} == done
    assert (await ann.download(made["file_id"])).status_code == 404


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"device": "x"}, (400, "bad_request")),
        ({"from": "yesterday"}, (400, "bad_request")),
        ({"from": "2026-01-01T00:00:00"}, (400, "bad_request")),
        ({"to": "0000-00-00T00:00:00Z"}, (400, "bad_request")),
        ({"to": "1999-01-01T00:00:00Z"}, (422, "unacceptable")),
        ({"dry_run": "perhaps"}, (400, "bad_request")),
        ({"from": None}, (400, "bad_request")),
    ],
)
async def test_bad_requests(ann: User, changed: dict[str, Any], expected: tuple[int, str]) -> None:
    document = {"device": "0" * 32, "from": "2000-01-01T00:00:00Z", **changed}
    assert refusal(await ann.call("undo_changes", document)) == expected


async def test_without_a_token_nothing(site: Site) -> None:
    assert refusal(await site.call("undo_changes", {}))[0] == 401


async def test_an_unknown_device_did_nothing(ann: User) -> None:
    await ann.upload("/a", b"content")
    told = json(await ann.call("undo_changes", {"device": "0" * 32, "from": "2000-01-01T00:00:00Z"}))
    assert (told["undone"], told["kept"]) == ([], [])
