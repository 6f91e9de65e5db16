"""Files as metadata: committing, listing, looking up, deleting; for callers with a token, in their namespaces."""

import azure.functions as func

from functions._batches import batch_of
from functions._commits import commit_of, show_committed
from functions._http import (
    COMMIT_JSON,
    answer,
    attempted,
    caller_of,
    integer_of,
    json_of,
    namespace_of,
    problem_document,
    status_of_code,
)
from functions._routes import RouteTable
from functions._shapes import Commit, show_entry, show_file, show_folder
from shared.container import Application
from shared.domain.errors import Malformed
from shared.domain.ids import NodeId, VersionId, parse_id
from shared.domain.names import parse_path
from shared.usecases.commit_batch import Batch, Refusal, Result
from shared.usecases.repeating import parse_key

PAGE = 1000

# The length keeps this apart from api/files/list: Azure tries routes in the order of function names, whatever
# their literals are.
FILE = "api/files/{file_id:length(32)}"


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, "api/files/commit", "POST")
    async def commit_file(req: func.HttpRequest) -> func.HttpResponse:
        caller, wanted = caller_of(req, app), json_of(req, Commit, limit=COMMIT_JSON)
        key = parse_key(req.headers.get("idempotency-key"))
        done = await app.commit_file(caller, commit_of(wanted, namespace_of(req), key))
        status, body = show_committed(done)
        return answer(body, status=status)

    @served.route(bp, "api/files/batch", "POST")
    async def commit_batch(req: func.HttpRequest) -> func.HttpResponse:
        caller, namespace = caller_of(req, app), namespace_of(req)
        key = parse_key(req.headers.get("idempotency-key"))
        wanted, contents = batch_of(req)
        commits = [attempted(commit_of, one, namespace) for one in wanted.files]
        results = await app.commit_batch(caller, Batch(commits, contents, namespace, key))
        return answer({"results": [_show_result(result) for result in results]})

    @served.route(bp, "api/files/list", "GET")
    async def list_files(req: func.HttpRequest) -> func.HttpResponse:
        caller, namespace = caller_of(req, app), namespace_of(req)
        limit = integer_of(req, "limit", default=PAGE, low=1, high=PAGE)
        cursor, folder, path = req.params.get("cursor"), req.params.get("folder"), req.params.get("path")
        if folder is not None and path is not None:
            raise Malformed("give either folder or path")
        if path is not None:
            listing = await app.list_files.one(caller, namespace, parse_path(path))
        elif folder is not None:
            names = parse_path(folder.removesuffix("/"))
            listing = await app.list_files.folder(caller, namespace, names, cursor=cursor, limit=limit)
        else:
            listing = await app.list_files.whole_tree(caller, namespace, cursor=cursor, limit=limit)
        body: dict[str, object] = {"files": [show_entry(entry) for entry in listing.files]}
        if listing.folders is not None:
            body["folders"] = [show_folder(entry) for entry in listing.folders]
        return answer({**body, "next_cursor": listing.next_cursor})

    @served.route(bp, FILE, "GET")
    async def get_file(req: func.HttpRequest) -> func.HttpResponse:
        file = await app.get_file(caller_of(req, app), file_id_of(req), version_of(req))
        return answer(show_file(file.node, file.path, file.version))

    @served.route(bp, f"{FILE}/manifest", "GET")
    async def get_manifest(req: func.HttpRequest) -> func.HttpResponse:
        manifest = await app.get_manifest(caller_of(req, app), file_id_of(req), version_of(req))
        file = manifest.file
        return answer(
            {
                "file_id": file.node.id,
                "path": file.path,
                "version_id": file.version.id,
                "version": file.version.number,
                "size": file.version.size,
                "root_hash": file.version.root_hash,
                "modified_at": file.version.modified_at.isoformat(),
                "expires_at": manifest.expires_at.isoformat(),
                "blocks": [
                    {
                        "sha256": block.sha256,
                        "size": block.size,
                        "url": url,
                        "offset": block.placement.offset,
                        "stored_size": block.placement.stored_size,
                        "codec": block.placement.codec.value,
                    }
                    for block, url in manifest.blocks
                ],
            }
        )

    @served.route(bp, "api/files/delete/{file_id}", "DELETE")
    async def delete_file(req: func.HttpRequest) -> func.HttpResponse:
        key = parse_key(req.headers.get("idempotency-key"))
        await app.delete_file(caller_of(req, app), file_id_of(req), idempotency_key=key)
        return answer({"message": "File deleted successfully"})

    return bp


def _show_result(result: Result) -> dict[str, object]:
    if isinstance(result, Refusal):
        return problem_document(
            status_of_code(result.code), result.code, result.title, result.detail, result.members
        )
    status, body = show_committed(result)
    return {"status": status, **body}


def file_id_of(req: func.HttpRequest) -> NodeId:
    """The file that the route names; raises Malformed."""
    return NodeId(parse_id(req.route_params.get("file_id", ""), "file_id"))


def version_of(req: func.HttpRequest) -> VersionId | None:
    """The version that the query names, None for the head; raises Malformed."""
    raw = req.params.get("version")
    return VersionId(parse_id(raw, "version")) if raw else None
