"""Versions, trash and journal: for callers with a token, in their namespaces; purging is the owner's."""

from typing import Any

import azure.functions as func

from functions._commits import show_committed
from functions._http import answer, caller_of, integer_of, json_of, namespace_of
from functions._routes import RouteTable
from functions._shapes import RestoreTarget, RestoreVersion, Undo, parse_moment, show_version, stamp
from functions.http_files import FILE, PAGE, file_id_of
from shared.container import Application
from shared.domain.ids import DeviceId, NodeId, VersionId, parse_id
from shared.domain.names import parse_path
from shared.usecases.follow_changes import Told
from shared.usecases.repeating import parse_key
from shared.usecases.undoing import UndoRequest

TRASHED = "api/trash/{node_id:length(32)}"


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, f"{FILE}/versions", "GET")
    async def list_versions(req: func.HttpRequest) -> func.HttpResponse:
        limit = integer_of(req, "limit", default=PAGE, low=1, high=PAGE)
        before = integer_of(req, "before", default=0, low=1, high=2**31) or None
        page = await app.use_versions.page(caller_of(req, app), file_id_of(req), before=before, limit=limit)
        return answer(
            {
                "versions": [show_version(version) for version in page],
                "next_before": page[-1].number if len(page) == limit else None,
            }
        )

    @served.route(bp, f"{FILE}/restore", "POST")
    async def restore_version(req: func.HttpRequest) -> func.HttpResponse:
        caller, wanted = caller_of(req, app), json_of(req, RestoreVersion)
        done = await app.use_versions.restore(
            caller,
            file_id_of(req),
            VersionId(parse_id(wanted.version_id, "version_id")),
            idempotency_key=parse_key(req.headers.get("idempotency-key")),
        )
        status, body = show_committed(done)
        return answer(body, status=status)

    @served.route(bp, "api/trash", "GET")
    async def list_trash(req: func.HttpRequest) -> func.HttpResponse:
        limit = integer_of(req, "limit", default=PAGE, low=1, high=PAGE)
        before = integer_of(req, "before", default=0, low=1, high=2**62) or None
        page = await app.use_trash.page(caller_of(req, app), namespace_of(req), before=before, limit=limit)
        return answer(
            {
                "trash": [
                    {
                        "id": trashed.node.id,
                        "kind": trashed.node.kind.value,
                        "name": trashed.node.name,
                        "size_bytes": trashed.node.head.size if trashed.node.head else None,
                        "deleted_at": stamp(trashed.deleted_at),
                        "deleted_seq": trashed.deleted_seq,
                    }
                    for trashed in page
                ],
                "next_before": page[-1].deleted_seq if len(page) == limit else None,
            }
        )

    @served.route(bp, f"{TRASHED}/restore", "POST")
    async def restore_trashed(req: func.HttpRequest) -> func.HttpResponse:
        caller, wanted = caller_of(req, app), json_of(req, RestoreTarget)
        path = parse_path(wanted.path) if wanted.path is not None else None
        key = parse_key(req.headers.get("idempotency-key"))
        return answer(await app.use_trash.restore(caller, _node_id_of(req), path=path, key=key))

    @served.route(bp, TRASHED, "DELETE")
    async def purge_trashed(req: func.HttpRequest) -> func.HttpResponse:
        key = parse_key(req.headers.get("idempotency-key"))
        return answer(await app.use_trash.purge(caller_of(req, app), _node_id_of(req), key=key))

    @served.route(bp, "api/undo", "POST")
    async def undo_changes(req: func.HttpRequest) -> func.HttpResponse:
        caller, wanted = caller_of(req, app), json_of(req, Undo)
        request = UndoRequest(
            device=DeviceId(parse_id(wanted.device, "device")),
            since=parse_moment(wanted.since, "from"),
            until=parse_moment(wanted.until, "to") if wanted.until is not None else app.clock.now(),
            dry_run=wanted.dry_run,
            namespace=namespace_of(req),
            idempotency_key=parse_key(req.headers.get("idempotency-key")),
        )
        return answer({**await app.undo_changes(caller, request), "dry_run": wanted.dry_run})

    @served.route(bp, "api/changes", "GET")
    async def list_changes(req: func.HttpRequest) -> func.HttpResponse:
        limit = integer_of(req, "limit", default=500, low=1, high=PAGE)
        page = await app.follow_changes(
            caller_of(req, app), cursor=req.params.get("cursor") or None, limit=limit
        )
        return answer(
            {
                "changes": [_show(told) for told in page.entries],
                "cursor": page.cursor,
                "has_more": page.has_more,
            }
        )

    return bp


def _node_id_of(req: func.HttpRequest) -> NodeId:
    return NodeId(parse_id(req.route_params.get("node_id", ""), "id"))


def _show(told: Told) -> dict[str, Any]:
    node = told.node
    head = node.head if node else None
    return {
        "namespace": told.namespace,
        "seq": told.seq,
        "kind": told.kind.value,
        "file_id": told.node_id,
        "type": node.kind.value if node else None,
        "parent_id": node.parent if node else None,
        "name": node.name if node else None,
        "path": told.path,
        "version_id": head.id if head else None,
        "version": head.number if head else None,
        "size": head.size if head else None,
        "root_hash": head.root_hash if head else None,
        "modified_at": head.modified_at.isoformat() if head else None,
        "device_id": told.device,
    }
