"""Whole files in and out, for clients that don't speak blocks. Downloads also take a grant from a file_url."""

import azure.functions as func

from functions._conditions import Span, attachment, parse_range, parse_tags
from functions._forms import named_content
from functions._http import answer, body_of, caller_of, namespace_of
from functions._routes import RouteTable
from functions.http_files import file_id_of, version_of
from shared.container import Application
from shared.domain.errors import FileNotFound
from shared.domain.names import parse_path
from shared.domain.versions import OnHead
from shared.ports.block_store import Disposition
from shared.usecases.get_file import File
from shared.usecases.repeating import parse_key
from shared.usecases.upload_file import Upload

# User content is never shown as part of this site, whatever it claims to be.
_INERT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TYPE = "application/octet-stream"


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, "api/files/upload", "POST")
    async def upload_file(req: func.HttpRequest) -> func.HttpResponse:
        caller = caller_of(req, app)
        body = body_of(req, limit=app.settings.max_upload_bytes)
        name, content = named_content(req, body)
        now = app.clock.now()
        upload = Upload(
            content=content,
            path=parse_path(name or f"upload-{now:%Y%m%d-%H%M%S}-{app.ids.new()[:8]}.bin"),
            on_head=OnHead(
                parse_tags(req.headers.get("if-match"), strong=True),
                parse_tags(req.headers.get("if-none-match")),
            ),
            namespace=namespace_of(req),
            idempotency_key=parse_key(req.headers.get("idempotency-key")),
            named=bool(name),
        )
        done = await app.upload_file(caller, upload)
        grant = app.download_grants.issue(caller, done.version_id)
        return answer(
            {
                "message": "File uploaded successfully",
                "file_id": done.file_id,
                "file_url": f"{app.settings.public_url}/api/files/download/{done.file_id}?grant={grant}",
                "path": done.path,
                "version_id": done.version_id,
                "version": done.version,
                "seq": done.seq,
                "size_bytes": done.size,
                "unchanged": done.unchanged,
            },
            status=201,
            headers={"ETag": f'"{done.root_hash}"'},
        )

    @served.route(bp, "api/files/download/{file_id}", "GET", "HEAD")
    async def download_file(req: func.HttpRequest) -> func.HttpResponse:
        file = await _granted(app, req)
        tag, size = f'"{file.version.root_hash}"', file.version.size
        headers = {
            **_INERT,
            "ETag": tag,
            "Last-Modified": f"{file.version.created_at:%a, %d %b %Y %H:%M:%S} GMT",
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "Content-Disposition": attachment(file.node.name),
        }
        known = parse_tags(req.headers.get("if-none-match"))
        if known and known & {"*", file.version.root_hash}:
            return func.HttpResponse(status_code=304, headers=headers, mimetype=_TYPE)
        # Ranges mean something to GET alone (RFC 9110, 14.2).
        ranged = req.method == "GET" and req.headers.get("if-range", tag) == tag
        wanted = req.headers.get("range") if ranged else None
        span = parse_range(wanted, size=size)
        if span is not None:
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        else:
            span = Span(0, size)
        status = 206 if "Content-Range" in headers else 200
        if req.method == "HEAD":
            headers["Content-Length"] = str(span.stop - span.start)
            return func.HttpResponse(status_code=status, headers=headers, mimetype=_TYPE)
        if span.stop - span.start > app.settings.inline_limit_bytes:
            disposition = Disposition(headers["Content-Disposition"], _TYPE)
            location = await app.read_content.assembled(file, disposition)
            return func.HttpResponse(
                status_code=302, headers={"Location": location, "Cache-Control": "no-store"}, mimetype=_TYPE
            )
        content = await app.read_content.range(file, span.start, span.stop)
        return func.HttpResponse(content, status_code=status, headers=headers, mimetype=_TYPE)

    return bp


async def _granted(app: Application, req: func.HttpRequest) -> File:
    """The file and version that the caller may download, by access token or by the grant of a file_url."""
    grant = req.params.get("grant")
    if grant is None or "authorization" in req.headers:
        return await app.get_file(caller_of(req, app), file_id_of(req), version_of(req))
    caller, version = app.download_grants.verify(grant)
    asked = version_of(req)
    if asked is not None and asked != version:
        raise FileNotFound("this address is for another version")
    return await app.get_file(caller, file_id_of(req), version)
