"""Files as metadata: committing, listing, looking up, deleting; for callers with a token, in their namespaces."""

from collections.abc import Mapping

import azure.functions as func

from functions._batches import batch_of
from functions._commits import commit_of, show_committed
from functions._http import (
    COMMIT_JSON,
    answer,
    answered,
    attempted,
    caller_of,
    encoded,
    held_by,
    integer_of,
    json_of,
    namespace_of,
    problem_document,
    remembered,
    status_of_code,
)
from functions._routes import RouteTable
from functions._shapes import (
    MAX_MANIFESTS,
    Commit,
    ManyVersions,
    show_block,
    show_file,
    show_listing,
)
from shared.container import Application
from shared.domain.accounts import Caller
from shared.domain.errors import Malformed, StrataError, TooLarge
from shared.domain.ids import BlobId, NamespaceId, NodeId, VersionId, parse_id
from shared.domain.names import parse_path
from shared.usecases.commit_batch import Batch, Refusal, Result
from shared.usecases.get_file import File
from shared.usecases.get_manifests import VersionBlocks
from shared.usecases.remembering import AS_IT_IS
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
            return answered(show_listing(await app.list_files.one(caller, namespace, parse_path(path))))
        if folder is not None:
            names = parse_path(folder.removesuffix("/"))
            page = app.list_files.folder(caller, namespace, names, cursor=cursor, limit=limit)
        else:
            page = app.list_files.whole_tree(caller, namespace, cursor=cursor, limit=limit)
        return remembered(await app.remembering(page.then(show_listing), AS_IT_IS, held=held_by(req)))

    @served.route(bp, FILE, "GET")
    async def get_file(req: func.HttpRequest) -> func.HttpResponse:
        asked = app.get_file.question(caller_of(req, app), file_id_of(req), version_of(req))
        return remembered(await app.remembering(asked.then(_shown), AS_IT_IS, held=held_by(req)))

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
                    {**show_block(block), "blake3": block.blake3, "url": url}
                    for block, url in manifest.blocks
                ],
            }
        )

    @served.route(bp, "api/files/manifests", "POST")
    async def get_manifests(req: func.HttpRequest) -> func.HttpResponse:
        caller, wanted = caller_of(req, app), json_of(req, ManyVersions)
        if len(wanted.files) > MAX_MANIFESTS:
            raise TooLarge(f"ask for at most {MAX_MANIFESTS} manifests at once", limit=MAX_MANIFESTS)
        asked = [
            (NodeId(parse_id(one.file_id, "file_id")), VersionId(parse_id(one.version_id, "version_id")))
            for one in wanted.files
        ]
        manifests = await app.get_manifests(caller, namespace_of(req), asked)
        at = {blob: number for number, blob in enumerate(manifests.urls)}
        return answer(
            {
                "manifests": [_show_found(found, at) for found in manifests.found],
                "urls": list(manifests.urls.values()),
                "expires_at": manifests.expires_at.isoformat(),
            }
        )

    @served.route(bp, "api/files/delete/{file_id}", "DELETE")
    async def delete_file(req: func.HttpRequest) -> func.HttpResponse:
        key = parse_key(req.headers.get("idempotency-key"))
        caller = caller_of(req, app)
        await app.delete_file(
            caller, file_id_of(req), seen=await seen_of(req, app, caller), idempotency_key=key
        )
        return answer({"message": "File deleted successfully"})

    return bp


def _shown(file: File) -> bytes:
    return encoded(show_file(file.node, file.path, file.version))


def _show_refusal(refusal: Refusal) -> dict[str, object]:
    status = status_of_code(refusal.code)
    return problem_document(status, refusal.code, refusal.title, refusal.detail, refusal.members)


def _show_found(found: VersionBlocks | StrataError, at: Mapping[BlobId, int]) -> dict[str, object]:
    if isinstance(found, StrataError):
        return _show_refusal(Refusal.of(found))
    return {
        "status": 200,
        "file_id": found.file_id,
        "version_id": found.version.id,
        "size": found.version.size,
        "root_hash": found.version.root_hash,
        "modified_at": found.version.modified_at.isoformat(),
        "blocks": [{**show_block(block), "at": at[block.placement.blob]} for block in found.blocks],
    }


def _show_result(result: Result) -> dict[str, object]:
    if isinstance(result, Refusal):
        return _show_refusal(result)
    status, body = show_committed(result)
    return {"status": status, **body}


def file_id_of(req: func.HttpRequest) -> NodeId:
    """The file that the route names; raises Malformed."""
    return NodeId(parse_id(req.route_params.get("file_id", ""), "file_id"))


async def seen_of(
    req: func.HttpRequest, app: Application, caller: Caller
) -> Mapping[NamespaceId, int] | None:
    """What the cursor in `as_of` says that the caller has seen, None without one; raises Malformed, CursorReset."""
    cursor = req.params.get("as_of")
    return await app.follow_changes.seen(caller, cursor) if cursor else None


def version_of(req: func.HttpRequest) -> VersionId | None:
    """The version that the query names, None for the head; raises Malformed."""
    raw = req.params.get("version")
    return VersionId(parse_id(raw, "version")) if raw else None
