"""Between HTTP and the use cases: who calls, what they sent, and how an answer or a refusal looks.

Every refusal is a problem document (RFC 9457) that also has the member `error`, so one body serves programs and
people. What the application did not foresee is logged with its trace and answered with 500 and nothing of its text.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import azure.functions as func
import msgspec

from functions._conditions import parse_tags
from shared.container import Application
from shared.domain import errors
from shared.domain.accounts import Caller
from shared.domain.codecs import Codec
from shared.domain.ids import NamespaceId, parse_id
from shared.usecases.remembering import Known

T = TypeVar("T")
P = ParamSpec("P")

_log = logging.getLogger(__name__)

SMALL_JSON = 128 * 1024
"""Bytes of a JSON body: a check of 1,000 hashes needs half of it, and the open routes far less."""

COMMIT_JSON = 16 * 1024 * 1024
"""Bytes: a commit of 100,000 blocks needs about 10 MiB."""

_CODECS = {"": Codec.NONE, "identity": Codec.NONE, "zstd": Codec.ZSTD}

MAX_TOKEN = 8192
"""Characters: ten times what our tokens have, and far below what a parser would mind."""


class MethodNotAllowed(errors.StrataError):
    """A known address was asked with a method that it doesn't take; `methods` are those that it does."""

    code = "method_not_allowed"
    title = "Method not allowed"

    def __init__(self, methods: frozenset[str]) -> None:
        self.allowed = ", ".join(sorted(methods))
        super().__init__(f"this address takes {self.allowed}")


class LengthRequired(errors.StrataError):
    """A body came in chunks. Azure hands such a body to Python functions as an empty one, so it must not be taken."""

    code = "length_required"
    title = "Length required"


STATUS: Mapping[type[errors.StrataError], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    MethodNotAllowed: 405,
    LengthRequired: 411,
    errors.Conflict: 409,
    errors.CursorReset: 410,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.UnsatisfiableRange: 416,
    errors.Unacceptable: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.QuotaExceeded: 507,
}
"""The status of each branch of the tree of errors; the nearest ancestor counts."""

Handler = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]
Trigger = Callable[[func.HttpRequest, func.Context], Awaitable[func.HttpResponse]]


def answers(handler: Handler) -> Trigger:
    """Make a trigger of a handler: what it raises becomes a problem document, and every answer names its request."""

    @wraps(handler)
    async def trigger(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        request_id = str(context.invocation_id)
        try:
            response = await handler(req)
        except errors.StrataError as error:
            response = problem(error, request_id)
        except Exception:  # noqa: BLE001 (logged with its trace, answered with 500)
            # The last line of defence: whatever it is, the caller gets an answer and the log gets the trace.
            _log.exception("unforeseen failure in %s", handler.__name__)
            response = problem_body(
                500,
                "internal_error",
                "Internal error",
                "something went wrong here; it was logged",
                {},
                request_id,
            )
        response.headers.setdefault("X-Request-Id", request_id)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    # The worker reads the parameters of what it calls, not of what was wrapped.
    del trigger.__wrapped__
    trigger.__annotations__ = {"req": func.HttpRequest, "context": func.Context, "return": func.HttpResponse}
    return trigger


def problem(error: errors.StrataError, request_id: str) -> func.HttpResponse:
    """The problem document of a refusal."""
    status = status_of(type(error))
    response = problem_body(status, error.code, error.title, str(error), error.members(), request_id)
    match error:
        case errors.InvalidToken():
            response.headers["WWW-Authenticate"] = 'Bearer realm="strata", error="invalid_token"'
        case errors.Unauthenticated():
            response.headers["WWW-Authenticate"] = 'Bearer realm="strata"'
        case MethodNotAllowed(allowed=allowed):
            response.headers["Allow"] = allowed
        case errors.Unavailable(retry_after=seconds) | errors.TooManyRequests(retry_after=seconds):
            response.headers["Retry-After"] = str(seconds)
        case errors.UnsatisfiableRange(size=size):
            response.headers["Content-Range"] = f"bytes */{size}"
        case _:
            pass
    return response


def status_of(kind: type[errors.StrataError]) -> int:
    """The HTTP status for a kind of error; raises KeyError for one that no branch covers."""
    for ancestor in kind.__mro__:
        if ancestor in STATUS:
            return STATUS[ancestor]
    raise KeyError(kind)


def status_of_code(code: str) -> int:
    """The HTTP status of the kind of error that has this code; raises KeyError for a code that no kind has."""
    waiting = [errors.StrataError]
    while waiting:
        kind = waiting.pop()
        if kind.__dict__.get("code") == code:
            return status_of(kind)
        waiting += kind.__subclasses__()
    raise KeyError(code)


def answer(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """A JSON answer."""
    return answered(encoded(body), status=status, headers=headers)


def encoded(body: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON answer."""
    return msgspec.json.encode(body)


def answered(
    body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """A JSON answer that is encoded already."""
    return func.HttpResponse(body, status_code=status, headers=headers, mimetype="application/json")


def held_by(req: func.HttpRequest) -> frozenset[str]:
    """The tags of what the caller holds already (If-None-Match); raises Malformed."""
    return parse_tags(req.headers.get("if-none-match")) or frozenset()


def remembered(known: Known[bytes]) -> func.HttpResponse:
    """An answer that its caller may keep, and has to ask about before each use: 304 when it is still the same."""
    headers = {"Cache-Control": "private, no-cache"}
    if known.tag is not None:
        headers["ETag"] = f'"{known.tag}"'
    if known.value is None:
        return func.HttpResponse(status_code=304, headers=headers, mimetype="application/json")
    return answered(known.value, headers=headers)


def body_of(req: func.HttpRequest, *, limit: int) -> bytes:
    """The whole body; raises TooLarge when it, or what Content-Length says of it, is over `limit` bytes.

    Raises LengthRequired for a body without a stated length.
    """
    length = req.headers.get("content-length", "")
    if "transfer-encoding" in req.headers and not length:
        raise LengthRequired("state the body's Content-Length; bodies in chunks are not taken")
    if length.isdigit() and len(length) < 20 and int(length) > limit:
        raise errors.TooLarge(f"the body may have at most {limit} bytes", limit=limit)
    body: bytes = req.get_body()
    if len(body) > limit:
        raise errors.TooLarge(f"the body may have at most {limit} bytes", limit=limit)
    return body


def codec_of(req: func.HttpRequest) -> Codec:
    """How the body is encoded; raises UnsupportedMedia."""
    codec = _CODECS.get(req.headers.get("content-encoding", "").strip().lower())
    if codec is None:
        raise errors.UnsupportedMedia("Content-Encoding may be zstd, or left out")
    return codec


def attempted(make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | errors.StrataError:
    """What `make` returns, or the error that it raises: where one mistake must not hide the others."""
    try:
        return make(*args, **kwargs)
    except errors.StrataError as error:
        return error


def json_of(req: func.HttpRequest, kind: type[T], *, limit: int = SMALL_JSON) -> T:
    """The JSON body as `kind`; raises UnsupportedMedia, TooLarge, Malformed with the place of the mistake."""
    media = req.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json":
        raise errors.UnsupportedMedia("the body must be application/json")
    body = body_of(req, limit=limit)
    if not body.strip():
        raise errors.Malformed("the body is empty; a JSON object is expected")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise errors.Malformed(f"the body can't be read: {error}") from error
    except RecursionError as error:
        raise errors.Malformed("the body can't be read: it is nested too deeply") from error


def caller_of(req: func.HttpRequest, app: Application) -> Caller:
    """Who the access token speaks for; raises Unauthenticated, Malformed for a header that can't be one."""
    header = req.headers.get("authorization")
    if header is None:
        raise errors.Unauthenticated("send an access token: Authorization: Bearer …")
    if "," in header:
        raise errors.Malformed("there must be one Authorization header")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise errors.Unauthenticated("the Authorization header must be: Bearer, a space, the access token")
    if len(token) > MAX_TOKEN:
        raise errors.InvalidToken("the token is far too long")
    return app.tokens.verify_access(token.strip(), now=app.clock.now())


def namespace_of(req: func.HttpRequest) -> NamespaceId | None:
    """The namespace that the request names, None for the caller's own."""
    raw = req.params.get("namespace")
    return NamespaceId(parse_id(raw, "namespace")) if raw else None


def integer_of(req: func.HttpRequest, name: str, *, default: int, low: int, high: int) -> int:
    """A whole number from the query, capped at `high`; raises Malformed below `low` or for anything else."""
    raw = req.params.get(name)
    if raw is None:
        return default
    if not raw.isascii() or not raw.isdigit() or len(raw) > 18 or int(raw) < low:
        raise errors.Malformed(f"{name} must be a whole number of at least {low}")
    return min(int(raw), high)


def problem_body(
    status: int, code: str, title: str, detail: str, members: Mapping[str, Any], request_id: str
) -> func.HttpResponse:
    """A problem document as an answer."""
    body = {**problem_document(status, code, title, detail, members), "request_id": request_id}
    return func.HttpResponse(
        msgspec.json.encode(body), status_code=status, mimetype="application/problem+json"
    )


def problem_document(
    status: int, code: str, title: str, detail: str, members: Mapping[str, Any]
) -> dict[str, Any]:
    """What a problem says; `members` can't change what every problem has."""
    return {
        **members,
        "type": f"urn:strata:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        "error": title,
    }
