"""From bytes on a connection to the `HttpRequest` that a function gets.

The whole body is in memory before the function starts, as in Azure: the host hands it to the worker in one
message. So everything that protects memory happens here, before any function runs: the limit, which is checked against
Content-Length before a byte is read and again while reading, since a chunked body announces nothing; and
the minimum rate, which frees the place of a sender that trickles.

A body that ends early leaves nothing behind: the function is only called with a complete one.

One difference is deliberate. Microsoft's host gives a Python function an *empty* body for a request with
`Transfer-Encoding: chunked` (azure-functions-host #7930, and `ToRpcHttp`, which asks for `ContentLength > 0`). Here
the body is read, and a warning says what would happen in Azure.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import azure.functions as func
from aiohttp import web

_log = logging.getLogger("host.http")

DEFAULT_BODY_LIMIT = 104_857_600
"""Bytes; `ScriptConstants.DefaultMaxRequestBodySize` of Microsoft's host, 100 MiB."""


class BodyRefused(Exception):
    """The body can't be had; `status` is the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ClientGone(Exception):
    """The connection ended before the body did: there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """`largest` in bytes; a body must arrive at `rate` bytes a second on average, after `grace` seconds.

    Rate and grace are the defaults of Kestrel's MinRequestBodyDataRate.
    """

    largest: int = DEFAULT_BODY_LIMIT
    rate: float = 240.0
    grace: float = 5.0


async def read_body(request: web.BaseRequest, limits: BodyLimits) -> bytes:
    """Return the complete body; raises BodyRefused (400, 408, 413) or ClientGone.

    A client that waits for `100 Continue` is sent it only after the announced length has been found acceptable.
    """
    announced = request.content_length
    if announced is not None and announced > limits.largest:
        raise BodyRefused(413, f"body of {announced} bytes announced, {limits.largest} allowed")
    if not request.body_exists:
        return b""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Otherwise the interim answer would count as the beginning of the real one.
        request.writer.output_size = 0
    if announced is None:
        _log.warning("a chunked body: in Azure a Python function gets an empty one; send Content-Length")
    chunks: list[bytes] = []
    received = 0
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(None) as patience:
            while not request.content.at_eof():
                patience.reschedule(started + limits.grace + received / limits.rate)
                chunk = await request.content.readany()
                received += len(chunk)
                if received > limits.largest:
                    raise BodyRefused(413, f"body longer than {limits.largest} bytes")
                chunks.append(chunk)
    except TimeoutError:
        raise BodyRefused(408, f"body slower than {limits.rate:g} bytes a second") from None
    except web.RequestPayloadError as error:
        if request.transport is None:
            raise ClientGone from error
        raise BodyRefused(400, "body is not framed as HTTP wants it") from error
    except ConnectionError as error:
        raise ClientGone from error
    return b"".join(chunks)


def to_function_request(
    request: web.BaseRequest, route_params: Mapping[str, str], body: bytes
) -> func.HttpRequest:
    """Build what Microsoft's worker would hand to the function.

    Repeated headers are joined with a comma. So are repeated query values, whose names are compared without
    case, the first spelling staying; a parameter without a value is left out (`ToRpcHttp` and .NET's StringValues).
    """
    url = request.rel_url
    return func.HttpRequest(
        method=request.method,
        url=f"http://{request.headers.get('Host', '')}{url.raw_path_qs}",
        headers=_joined_headers(request),
        params=joined_query(url.raw_query_string),
        route_params=route_params,
        body=body,
    )


def joined_query(raw: str) -> dict[str, str]:
    """Return the query's parameters as a function sees them."""
    values: dict[str, list[str]] = {}
    spelling: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True, errors="replace"):
        values.setdefault(spelling.setdefault(name.lower(), name), []).append(value)
    joined = {name: ",".join(several) for name, several in values.items()}
    return {name: value for name, value in joined.items() if value}


def query_value(raw: str, name: str) -> str | None:
    """Return one parameter of the query, None when it is absent or empty."""
    return next((value for key, value in joined_query(raw).items() if key.lower() == name), None)


def _joined_headers(request: web.BaseRequest) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        name = name.lower()
        if not value.isascii():
            # Bytes that aren't UTF-8 arrive as lone surrogates, which no JSON, log or database takes.
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers
