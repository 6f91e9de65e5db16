"""Deleting as of a cursor: what another device has put there since is not deleted unseen."""

import pytest

from tests.functions.serving import Site, User, json, refusal
from tests.support.world import PASSWORD


@pytest.fixture
async def other(site: Site, ann: User) -> User:
    """Another device of ann's."""
    return User(site, json(await site.call("login", {"username": "ann", "password": PASSWORD})))


async def cursor_of(user: User) -> str:
    return str(json(await user.call("list_changes", method="GET"))["cursor"])


async def delete(user: User, entry: str, as_of: str, *, folder: bool = False) -> tuple[int, str]:
    name = "delete_folder" if folder else "delete_file"
    route = {"folder_id" if folder else "file_id": entry}
    answer = await user.call(name, method="DELETE", params={"as_of": as_of}, **route)
    return (200, "") if answer.status_code == 200 else refusal(answer)


async def folder_at(user: User, path: str) -> str:
    listed = json(await user.call("list_files", method="GET", params={"path": path}))
    return str(listed["folders"][0]["folder_id"])


async def test_a_file_that_another_device_edited_stays(ann: User, other: User) -> None:
    made = await ann.upload("/a", b"one")
    seen = await cursor_of(ann)
    await other.upload("/a", b"two")
    assert await delete(ann, made["file_id"], seen) == (412, "precondition_failed")
    assert await delete(ann, made["file_id"], await cursor_of(ann)) == (200, "")


async def test_a_folder_into_which_another_device_put_something_stays(ann: User, other: User) -> None:
    await ann.upload("/docs/deep/a", b"one")
    folder, seen = await folder_at(ann, "/docs"), await cursor_of(ann)
    await other.upload("/docs/deep/b", b"two")
    assert await delete(ann, folder, seen, folder=True) == (412, "precondition_failed")
    assert await delete(ann, folder, await cursor_of(ann), folder=True) == (200, "")


async def test_what_happened_elsewhere_is_no_obstacle(ann: User, other: User) -> None:
    await ann.upload("/docs/a", b"one")
    folder, seen = await folder_at(ann, "/docs"), await cursor_of(ann)
    await other.upload("/elsewhere", b"two")
    await ann.upload("/there", b"three")
    assert await delete(ann, folder, seen, folder=True) == (200, "")


async def test_another_program_of_the_same_device_counts_like_another_device(ann: User) -> None:
    await ann.upload("/docs/a", b"one")
    folder, seen = await folder_at(ann, "/docs"), await cursor_of(ann)
    await ann.upload("/docs/b", b"two")
    assert await delete(ann, folder, seen, folder=True) == (412, "precondition_failed")


async def test_a_cursor_of_a_journal_that_began_anew_deletes_nothing(site: Site, ann: User) -> None:
    made = await ann.upload("/a", b"one")
    seen = await cursor_of(ann)
    with site.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE namespaces SET epoch = epoch + 1")
    assert await delete(ann, made["file_id"], seen) == (410, "cursor_reset")


async def test_what_was_moved_out_meanwhile_is_no_obstacle(ann: User, other: User) -> None:
    made = await ann.upload("/docs/a", b"one")
    folder, seen = await folder_at(ann, "/docs"), await cursor_of(ann)
    await other.call("move_file", {"path": "/a"}, method="PATCH", file_id=made["file_id"])
    assert await delete(ann, folder, seen, folder=True) == (200, "")
    assert (await ann.download(made["file_id"])).get_body() == b"one"


async def test_cursors_that_are_none(ann: User, bob: User) -> None:
    made = await ann.upload("/a", b"one")
    assert await delete(ann, made["file_id"], "nonsense") == (400, "bad_request")
    assert await delete(ann, made["file_id"], await cursor_of(bob)) == (410, "cursor_reset")


async def test_after_very_much_it_has_to_be_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, ann: User
) -> None:
    monkeypatch.setattr("shared.usecases.tree.MOST_TOUCHED", 2)
    made = await ann.upload("/a", b"one")
    seen = await cursor_of(ann)
    for number in range(2):
        await ann.upload(f"/{number}", b"more")
    assert await delete(ann, made["file_id"], seen) == (412, "precondition_failed")
