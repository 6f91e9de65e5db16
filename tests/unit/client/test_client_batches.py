"""`strata up` of small files: many in one request, and what happens when a request fails for some of them."""

import json
from pathlib import Path

from client.batch_sending import ENOUGH
from client.batches import MOST_FILES
from tests.unit.client.fake_server import FakeServer, Reply, Request, problem
from tests.unit.client.running import KIB, Command, noise

BATCH = "/api/files/batch"


def tree(count: int, size: int) -> dict[str, bytes]:
    """A folder `tree` with so many files of noise; returns what the server should have."""
    Path("tree").mkdir(exist_ok=True)
    contents = {}
    for number in range(count):
        contents[f"/tree/{number}"] = noise(size)
        Path("tree", str(number)).write_bytes(contents[f"/tree/{number}"])
    return contents


def check_contents(server: FakeServer, contents: dict[str, bytes]) -> None:
    assert {path: server.content(path) for path in server.nodes} == contents


def at_batch(server: FakeServer, act: object) -> None:
    """Have `act(request, times)` called at each batch."""
    times = 0

    def intercept(request: Request) -> Reply | None:
        nonlocal times
        if request.path != BATCH:
            return None
        times += 1
        assert callable(act)
        answer = act(request, times)
        return answer if isinstance(answer, Reply) else None

    server.intercept = intercept


def test_small_files_share_requests_of_bounded_size(ann: Command, server: FakeServer) -> None:
    contents = tree(300, 60 * KIB)
    assert ann("up", "tree").code == 0
    check_contents(server, contents)
    assert sum(server.batched) == 300
    assert all(count * 60 * KIB <= ENOUGH for count in server.batched)
    assert 5 <= len(server.batched) <= 7
    assert server.calls["POST upload"] == server.calls["POST files/commit"] == 0


def test_at_most_a_thousand_files_share_a_request(ann: Command, server: FakeServer) -> None:
    contents = tree(MOST_FILES + 1, 3)
    assert ann("up", "tree").code == 0
    check_contents(server, contents)
    assert sorted(server.batched) == [1, MOST_FILES]


def test_empty_files_and_equal_ones(ann: Command, server: FakeServer) -> None:
    Path("tree").mkdir()
    for name, content in {"empty": b"", "void": b"", "one": b"same", "two": b"same"}.items():
        Path("tree", name).write_bytes(content)
    assert ann("up", "tree").code == 0
    check_contents(
        server, {"/tree/empty": b"", "/tree/void": b"", "/tree/one": b"same", "/tree/two": b"same"}
    )
    assert len(server.blocks) == 1


def test_sent_again_nothing_travels(ann: Command, server: FakeServer) -> None:
    tree(20, 1000)
    assert ann("up", "tree").code == 0
    result = ann("up", "tree", "--json")
    assert result.json["totals"]["unchanged"] == 20
    assert result.json["totals"]["bytes_sent"] == 0
    assert len(server.batched) == 1


def test_of_a_changed_tree_only_what_changed_travels(ann: Command, server: FakeServer) -> None:
    contents = tree(50, 1000)
    assert ann("up", "tree").code == 0
    Path("tree/7").write_bytes(b"seven")
    result = ann("up", "tree", "--json")
    assert (result.json["totals"]["committed"], result.json["totals"]["unchanged"]) == (1, 49)
    assert 0 < result.json["totals"]["bytes_sent"] < 1000
    check_contents(server, contents | {"/tree/7": b"seven"})
    assert server.nodes["/tree/7"].versions[-1].number == 2


def test_text_is_compressed_unless_it_must_not_be(ann: Command, server: FakeServer) -> None:
    Path("text").write_bytes(b"all work and no play\n" * 5_000)
    sizes: list[int] = []
    at_batch(server, lambda request, _: sizes.append(len(request.body)))
    assert ann("up", "text").code == 0
    assert ann("up", "--no-compress", "text", "/other").code == 0
    assert sizes[0] < 5_000
    Path("text").write_bytes(b"all play and no work\n" * 5_000)
    assert ann("up", "--no-compress", "text").code == 0
    assert sizes[-1] > 100_000


def test_one_file_that_is_refused_hurts_no_other(ann: Command, server: FakeServer) -> None:
    tree(3, 100)
    server.put("/tree/1/in the way", b"a folder where a file should be")
    result = ann("up", "--to", "/tree/", "tree/0", "tree/1", "tree/2", "--json")
    assert (result.code, result.json["error"]["code"]) == (5, "name_exists")
    assert sorted(server.nodes) == ["/tree/0", "/tree/1/in the way", "/tree/2"]


def test_blocks_that_got_lost_between_question_and_commit_are_sent_again(
    ann: Command, server: FakeServer
) -> None:
    contents = tree(3, 100)
    assert ann("up", "tree", "/first").code == 0
    at_batch(server, lambda request, times: server.blocks.clear())
    assert ann("up", "tree", "/second").code == 0
    assert [server.content(f"/second/{number}") for number in range(3)] == list(contents.values())
    assert server.calls["POST upload"] == 3


def test_somebody_elses_version_is_not_buried_and_the_rest_goes_on(ann: Command, server: FakeServer) -> None:
    contents = tree(3, 100)
    at_batch(server, lambda request, times: server.put("/tree/1", b"theirs"))
    result = ann("up", "tree", "--json")
    assert (result.code, result.json["error"]["code"]) == (5, "version_conflict")
    check_contents(server, contents | {"/tree/1": b"theirs"})


def test_force_puts_a_version_on_top(ann: Command, server: FakeServer) -> None:
    contents = tree(3, 100)
    at_batch(server, lambda request, times: server.put("/tree/1", b"theirs"))
    assert ann("up", "tree", "--force").code == 0
    check_contents(server, contents)
    assert len(server.nodes["/tree/1"].versions) == 2


def test_a_batch_whose_answer_is_lost_is_carried_out_once(ann: Command, server: FakeServer) -> None:
    contents = tree(5, 100)
    keys: list[str] = []

    def lose(request: Request, times: int) -> Reply | None:
        keys.append(request.headers["idempotency-key"])
        if times > 1:
            return None
        here, server.intercept = server.intercept, None
        server.answer(request)
        server.intercept = here
        return Reply(0)

    at_batch(server, lose)
    result = ann("up", "tree", "--json")
    assert result.json["totals"]["committed"] == 5
    assert (len(keys), len(set(keys))) == (2, 1)
    check_contents(server, contents)


def test_a_full_quota_ends_the_run(ann: Command, server: FakeServer) -> None:
    tree(200, 100 * KIB)
    at_batch(server, lambda request, times: problem(507, "quota_exceeded"))
    result = ann("up", "tree", "--jobs", "1", "--json")
    assert (result.code, result.json["error"]["code"]) == (6, "quota_exceeded")
    assert server.nodes == {}
    assert len(server.batched) == 0


def test_a_batch_that_is_refused_as_a_whole_fails_each_file(ann: Command, server: FakeServer) -> None:
    tree(3, 100)
    at_batch(server, lambda request, times: problem(422, "unacceptable"))
    result = ann("up", "tree", "--json")
    assert result.code == 6
    assert result.json["totals"]["failed"] == 3


def test_an_answer_for_another_number_of_files_is_not_believed(ann: Command, server: FakeServer) -> None:
    tree(3, 100)
    body = json.dumps({"results": [{"status": 201, "file_id": "x", "version_id": "y", "version": 1}]})
    at_batch(server, lambda request, times: Reply(200, body.encode()))
    result = ann("up", "tree", "--json")
    assert (result.code, result.json["error"]["code"]) == (1, "bad_answer")


def test_a_server_that_is_away(ann: Command, server: FakeServer) -> None:
    tree(3, 100)
    at_batch(server, lambda request, times: problem(503, "unavailable", headers={"Retry-After": "0"}))
    assert ann("up", "tree").code == 7
