"""Folders, moves and search: for callers with a token, in namespaces that they may write to (search: read)."""

import azure.functions as func

from functions._http import answer, caller_of, integer_of, json_of, namespace_of
from functions._routes import RouteTable
from functions._shapes import Target, show_entry, show_folder
from functions.http_files import FILE, PAGE, file_id_of, seen_of
from shared.container import Application
from shared.domain.errors import Malformed
from shared.domain.ids import NodeId, parse_id
from shared.domain.names import parse_path
from shared.ports.tables_files import NodeKind
from shared.usecases.repeating import parse_key

FOLDER = "api/folders/{folder_id:length(32)}"


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, "api/folders", "POST")
    async def make_folder(req: func.HttpRequest) -> func.HttpResponse:
        caller, path = caller_of(req, app), parse_path(json_of(req, Target).path)
        key = parse_key(req.headers.get("idempotency-key"))
        made = await app.change_folders.make(caller, namespace_of(req), path, key=key)
        return answer({"message": "Folder created", **made}, status=201)

    @served.route(bp, FOLDER, "PATCH")
    async def move_folder(req: func.HttpRequest) -> func.HttpResponse:
        return await _move(req, _folder_id_of(req), NodeKind.FOLDER)

    @served.route(bp, FILE, "PATCH")
    async def move_file(req: func.HttpRequest) -> func.HttpResponse:
        return await _move(req, file_id_of(req), NodeKind.FILE)

    @served.route(bp, FOLDER, "DELETE")
    async def delete_folder(req: func.HttpRequest) -> func.HttpResponse:
        key = parse_key(req.headers.get("idempotency-key"))
        caller = caller_of(req, app)
        seen = await seen_of(req, app, caller)
        done = await app.change_folders.delete(caller, _folder_id_of(req), seen=seen, key=key)
        return answer({"message": "Folder deleted successfully", "seq": done["seq"]})

    @served.route(bp, "api/search", "GET")
    async def search_files(req: func.HttpRequest) -> func.HttpResponse:
        caller, text = caller_of(req, app), req.params.get("q", "")
        if not 1 <= len(text) <= 255:
            raise Malformed("q must hold 1 to 255 characters of a name")
        limit = integer_of(req, "limit", default=PAGE, low=1, high=PAGE)
        found = await app.list_files.search(
            caller, namespace_of(req), text, cursor=req.params.get("cursor"), limit=limit
        )
        return answer(
            {
                "files": [show_entry(entry) for entry in found.files],
                "folders": [show_folder(entry) for entry in found.folders or []],
                "next_cursor": found.next_cursor,
            }
        )

    async def _move(req: func.HttpRequest, node_id: NodeId, kind: NodeKind) -> func.HttpResponse:
        caller, path = caller_of(req, app), parse_path(json_of(req, Target).path)
        key = parse_key(req.headers.get("idempotency-key"))
        moved = await app.change_folders.move(caller, node_id, kind, path, key=key)
        return answer({f"{kind.value}_id": moved["id"], "path": moved["path"], "seq": moved["seq"]})

    return bp


def _folder_id_of(req: func.HttpRequest) -> NodeId:
    return NodeId(parse_id(req.route_params.get("folder_id", ""), "folder_id"))
