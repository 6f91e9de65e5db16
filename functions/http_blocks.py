"""Blocks in: for callers with a token, into namespaces that they may write to."""

import azure.functions as func

from functions._batches import blocks_of
from functions._http import answer, body_of, caller_of, codec_of, json_of, namespace_of
from functions._routes import RouteTable
from functions._shapes import MAX_GRANTS, MAX_HASHES, Hashes, Wanted
from shared.container import Application
from shared.domain.blocks import BLOCK_SIZE, BlockRef, parse_sha256
from shared.domain.errors import TooLarge


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, "api/upload", "POST")
    async def upload_block(req: func.HttpRequest) -> func.HttpResponse:
        caller = caller_of(req, app)
        codec = codec_of(req)
        stated = req.headers.get("x-content-sha256")
        block = await app.admit_block(
            caller,
            namespace_of(req),
            body_of(req, limit=BLOCK_SIZE),
            codec=codec,
            stated=parse_sha256(stated) if stated is not None else None,
        )
        return answer(
            {"message": "Block uploaded successfully", "block_id": block.sha256, "size": block.size},
            status=201,
        )

    @served.route(bp, "api/blocks/batch", "POST")
    async def upload_blocks(req: func.HttpRequest) -> func.HttpResponse:
        caller = caller_of(req, app)
        admitted = await app.admit_blocks(caller, namespace_of(req), blocks_of(req))
        return answer(
            {"blocks": [{"block_id": block.sha256, "size": block.size} for block in admitted]}, status=201
        )

    @served.route(bp, "api/blocks/check", "POST")
    async def check_blocks(req: func.HttpRequest) -> func.HttpResponse:
        caller, wanted = caller_of(req, app), json_of(req, Hashes)
        if len(wanted.hashes) > MAX_HASHES:
            raise TooLarge(f"ask for at most {MAX_HASHES} hashes at once", limit=MAX_HASHES)
        hashes = [parse_sha256(text) for text in wanted.hashes]
        return answer({"missing": await app.check_blocks(caller, namespace_of(req), hashes)})

    @served.route(bp, "api/blocks/grants", "POST")
    async def grant_blocks(req: func.HttpRequest) -> func.HttpResponse:
        caller, wanted = caller_of(req, app), json_of(req, Wanted)
        if len(wanted.blocks) > MAX_GRANTS:
            raise TooLarge(f"ask for at most {MAX_GRANTS} blocks at once", limit=MAX_GRANTS)
        blocks = [BlockRef(parse_sha256(block.sha256), block.size) for block in wanted.blocks]
        granted = await app.grant_blocks(caller, namespace_of(req), blocks)
        return answer(
            {
                "grants": [
                    {
                        "sha256": grant.block.sha256,
                        "size": grant.block.size,
                        "url": grant.url,
                        "method": "PUT",
                        "headers": {"x-ms-blob-type": "BlockBlob"},
                        "expires_at": grant.expires_at.isoformat(),
                    }
                    for grant in granted
                ]
            }
        )

    return bp
