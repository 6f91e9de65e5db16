"""From what a function returns to an answer on the wire.

The rules are those of azure-functions' own converter (`HttpResponseConverter` in `azure/functions/http.py`) and of
Kestrel behind it: a str is a 200 with text/plain; an HttpResponse gets a Content-Type from mimetype and charset
unless its headers have one; of a repeated header the last value counts, except for Set-Cookie. The host owns the
framing: lengths are computed and hop-by-hop headers are dropped. A header that could split the answer in two makes it
a 500.

Set-Cookie is passed on as it is written; Microsoft's host takes it apart and writes it anew.
"""

import re

import azure.functions as func
from aiohttp import web
from multidict import CIMultiDict

SERVER_NAME = "local-functions-host"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What Kestrel lets through: printable ASCII and the tab.
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OURS = frozenset(("connection", "keep-alive", "transfer-encoding", "upgrade", "trailer", "server", "date"))
_BODILESS = frozenset((204, 205, 304))


class UnusableResult(Exception):
    """What the function returned can't be sent."""


def to_web_response(result: object, method: str) -> web.Response:
    """Return the answer; raises UnusableResult, saying why, for anything that isn't one."""
    if isinstance(result, str):
        result = func.HttpResponse(result)
    if not isinstance(result, func.HttpResponse):
        raise UnusableResult(f"the function returned {type(result).__name__}, not HttpResponse or str")
    status = result.status_code
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise UnusableResult(f"status {status!r} is none that ends an exchange")
    headers = _headers(result)
    body = b"" if status in _BODILESS else result.get_body()
    # The length of what GET would send may be stated by the answer to HEAD; any other is computed.
    if method != "HEAD" or body:
        headers.popall("Content-Length", None)
    if "Content-Type" not in headers and status not in _BODILESS:
        textual = result.mimetype.startswith("text/")
        headers["Content-Type"] = (
            f"{result.mimetype}; charset={result.charset}" if textual else result.mimetype
        )
    return web.Response(status=status, headers=headers, body=body)


def bare(status: int) -> web.Response:
    """An answer without a body, as Microsoft's host gives it for what never reaches a function."""
    return web.Response(status=status, headers={"Server": SERVER_NAME, "Content-Length": "0"})


def _headers(result: func.HttpResponse) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in result.headers.items():
        if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise UnusableResult(f"the header {name!r} has a name or value that HTTP can't carry")
        if name.lower() in _OURS:
            continue
        if name.lower() == "set-cookie":
            headers.add(name, value)
        else:
            headers[name] = value
    headers["Server"] = SERVER_NAME
    return headers
