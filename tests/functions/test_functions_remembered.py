"""Answers that a caller may keep, and ask about by their tag; and what health says of the cache."""

import pytest

from tests.functions.serving import Site, User, json, refusal


async def listed(user: User, tag: str | None = None, **params: str) -> tuple[int, str, bytes]:
    headers = {"if-none-match": tag} if tag is not None else {}
    answer = await user.call("list_files", method="GET", headers=headers, params=params)
    assert answer.headers["cache-control"] == "private, no-cache"
    return answer.status_code, answer.headers["etag"], answer.get_body()


@pytest.mark.parametrize("params", [{}, {"folder": "/"}, {"folder": "/", "limit": "1"}])
async def test_a_listing_that_is_still_the_same_is_not_sent_again(ann: User, params: dict[str, str]) -> None:
    await ann.upload("/a", b"x")
    status, tag, body = await listed(ann, **params)
    assert status == 200
    assert body
    for held in (tag, f"W/{tag}", f'"other", {tag}'):
        assert await listed(ann, held, **params) == (304, tag, b"")
    for other in ('"other"', "*"):
        assert await listed(ann, other, **params) == (200, tag, body)
    await ann.upload("/b", b"x")
    status, later, _ = await listed(ann, tag, **params)
    assert (status, later != tag) == (200, True)


async def test_a_tag_is_of_one_question_and_one_namespace(ann: User, bob: User) -> None:
    for user in (ann, bob):
        await user.upload("/f/a", b"x")
    tags = [
        (await listed(ann))[1],
        (await listed(ann, folder="/"))[1],
        (await listed(ann, folder="/f"))[1],
        (await listed(ann, folder="/f", limit="1"))[1],
        (await listed(bob))[1],
    ]
    assert len(set(tags)) == len(tags)
    assert (await listed(bob, ", ".join(tags[:-1])))[0] == 200


async def test_a_file_that_is_still_the_same_is_not_sent_again(ann: User) -> None:
    made = await ann.upload("/a", b"x")

    async def got(tag: str) -> tuple[int, str]:
        answer = await ann.call(
            "get_file", method="GET", headers={"if-none-match": tag}, file_id=made["file_id"]
        )
        return answer.status_code, answer.headers["etag"]

    status, tag = await got('"none"')
    assert status == 200
    assert await got(tag) == (304, tag)
    await ann.upload("/a", b"y")
    assert (await got(tag))[0] == 200


async def test_a_tag_opens_nothing(site: Site, ann: User, bob: User) -> None:
    made = await ann.upload("/a", b"x")
    answer = await ann.call("get_file", method="GET", file_id=made["file_id"])
    held = {"if-none-match": answer.headers["etag"]}
    stranger = await bob.call("get_file", method="GET", headers=held, file_id=made["file_id"])
    assert refusal(stranger) == (404, "file_not_found")
    nobody = await site.call("get_file", method="GET", headers=held, file_id=made["file_id"])
    assert nobody.status_code == 401
    await ann.call("delete_file", method="DELETE", file_id=made["file_id"])
    deleted = await ann.call("get_file", method="GET", headers=held, file_id=made["file_id"])
    assert refusal(deleted) == (404, "file_not_found")


async def test_what_is_no_list_of_tags_is_refused(ann: User) -> None:
    answer = await ann.call("list_files", method="GET", headers={"if-none-match": "no quotes"})
    assert refusal(answer) == (400, "bad_request")


async def test_health_counts_what_the_cache_does(site: Site) -> None:
    health = json(await site.call("health_ready", method="GET"))
    assert health["cache"] == {"state": "off", "hits": 0, "misses": 0, "checked": 0, "mismatches": 0}
