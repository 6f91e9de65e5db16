"""The long poll: for callers with a token, over the namespaces that they see."""

import azure.functions as func

from functions._http import answer, caller_of, integer_of
from functions._routes import RouteTable
from shared.container import Application
from shared.domain.errors import Malformed


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, "api/notifications", "GET")
    async def wait_for_changes(req: func.HttpRequest) -> func.HttpResponse:
        caller, cursor = caller_of(req, app), req.params.get("cursor")
        if not cursor:
            raise Malformed("say where you are: cursor, as changes gave it")
        longest = app.settings.longest_wait_seconds
        wait = integer_of(req, "wait", default=longest, low=0, high=longest)
        waited = await app.wait_for_changes(caller, cursor=cursor, wait=wait)
        return answer(
            {
                "changed": bool(waited.behind),
                "events": [{"namespace": namespace, "seq": seq} for namespace, seq in waited.behind],
                "backlog": [{"namespace": hint.namespace, "seq": hint.seq} for hint in waited.backlog],
                "superseded": waited.superseded,
                "cursor": cursor,
            }
        )

    return bp
