"""Refusals: each kind of error with its status, its document and its headers, and the addresses that nothing takes."""

import logging

import azure.functions as func
import pytest

from functions._http import LengthRequired, MethodNotAllowed, answers
from shared.domain import errors
from tests.functions.serving import Invocation, Site, User, json, refusal
from tests.support.world import PASSWORD

BEARER = 'Bearer realm="strata"'

CASES: list[tuple[errors.StrataError, int, str, dict[str, str]]] = [
    (errors.Malformed("m"), 400, "bad_request", {}),
    (errors.Unacceptable("m"), 422, "unacceptable", {}),
    (errors.NameRefused("m"), 422, "name_refused", {}),
    (errors.HashMismatch("m"), 422, "hash_mismatch", {}),
    (errors.KeyReused("m"), 422, "idempotency_key_reused", {}),
    (errors.Unauthenticated("m"), 401, "unauthenticated", {"www-authenticate": BEARER}),
    (errors.InvalidCredentials("m"), 401, "invalid_credentials", {"www-authenticate": BEARER}),
    (
        errors.InvalidToken("m"),
        401,
        "invalid_token",
        {"www-authenticate": f'{BEARER}, error="invalid_token"'},
    ),
    (errors.Forbidden("m"), 403, "forbidden", {}),
    (errors.NotFound("m"), 404, "not_found", {}),
    (errors.FileNotFound("m"), 404, "file_not_found", {}),
    (MethodNotAllowed(frozenset({"GET", "DELETE"})), 405, "method_not_allowed", {"allow": "DELETE, GET"}),
    (errors.UsernameTaken("m"), 409, "username_taken", {}),
    (errors.NameExists("m", entry="A", kind="file"), 409, "name_exists", {}),
    (errors.VersionConflict("m", head=None), 409, "version_conflict", {}),
    (errors.MissingBlocks(["0" * 64]), 409, "missing_blocks", {}),
    (LengthRequired("m"), 411, "length_required", {}),
    (errors.PreconditionFailed("m"), 412, "precondition_failed", {}),
    (errors.TooLarge("m", limit=7), 413, "too_large", {}),
    (errors.UnsupportedMedia("m"), 415, "unsupported_media_type", {}),
    (errors.UnsatisfiableRange("m", size=7), 416, "range_not_satisfiable", {"content-range": "bytes */7"}),
    (errors.TooManyRequests("m", retry_after=9), 429, "too_many_requests", {"retry-after": "9"}),
    (errors.Unavailable("m"), 503, "unavailable", {"retry-after": "5"}),
    (errors.Busy("m", retry_after=3), 503, "busy", {"retry-after": "3"}),
    (errors.ContentUnavailable("m"), 503, "content_unavailable", {"retry-after": "5"}),
    (errors.QuotaExceeded("m", quota=7, used=6), 507, "quota_exceeded", {}),
]


async def answer_to(error: Exception) -> func.HttpResponse:
    async def handler(req: func.HttpRequest) -> func.HttpResponse:
        raise error

    context: func.Context = Invocation()  # type: ignore[assignment] # the one member that is read
    return await answers(handler)(func.HttpRequest("GET", "/", body=b""), context)


@pytest.mark.parametrize(("error", "status", "code", "headers"), CASES, ids=lambda case: str(case)[:30])
async def test_each_kind(error: errors.StrataError, status: int, code: str, headers: dict[str, str]) -> None:
    response = await answer_to(error)
    assert refusal(response) == (status, code)
    document = json(response)
    assert document["detail"] == str(error)
    assert document["error"] == error.title
    assert {name: document[name] for name in error.members()} == error.members()
    for name in ("www-authenticate", "allow", "content-range", "retry-after"):
        assert response.headers.get(name) == headers.get(name)
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_what_nobody_foresaw_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = await answer_to(ZeroDivisionError("the text of it"))
    assert refusal(response) == (500, "internal_error")
    assert b"the text of it" not in response.get_body()
    assert "the text of it" in caplog.text


async def test_the_specifications_word_for_wrong_credentials(site: Site, ann: User) -> None:
    answers = [
        await site.call("login", {"username": name, "password": word})
        for name, word in (("ann", "wrong password"), ("nobody", PASSWORD), ("\x00", PASSWORD), ("", ""))
    ]
    assert {refusal(each) for each in answers} == {(401, "invalid_credentials")}
    assert len({each.get_body() for each in answers}) == 1, (
        "nothing tells an unknown user from a wrong password"
    )
    assert json(answers[0])["error"] == "Invalid credentials"


@pytest.mark.parametrize(
    ("method", "rest", "allow"),
    [
        ("GET", "register", "POST"),
        ("GET", "files/upload", "POST"),
        ("PUT", "files/upload", "POST"),
        ("GET", "files/commit", "POST"),
        ("POST", "files/list", "GET"),
        ("DELETE", "FILES/LIST", "GET"),
        ("PUT", f"files/{'a' * 32}", "GET, PATCH"),
        ("POST", f"files/{'a' * 32}/manifest", "GET"),
        ("GET", "files/delete/anything", "DELETE"),
        ("DELETE", "files/download/anything", "GET, HEAD"),
        ("POST", "health/live", "GET, HEAD"),
    ],
)
async def test_a_known_address_names_its_methods(site: Site, method: str, rest: str, allow: str) -> None:
    response = await site.call("zz_unmatched", method=method, rest=rest)
    assert refusal(response) == (405, "method_not_allowed")
    assert response.headers["allow"] == allow


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "nothing",
        "files",
        "files/",
        "files/x",
        "files//list",
        "files/delete/",
        "files/list/more",
        "a/b/c/d/e",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_address_is_not_there(site: Site, method: str, rest: str) -> None:
    assert refusal(await site.call("zz_unmatched", method=method, rest=rest)) == (404, "not_found")
