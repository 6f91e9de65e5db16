"""What no other route takes. The host answers these with a bare 404, also when only the method is wrong."""

import azure.functions as func

from functions._http import MethodNotAllowed
from functions._routes import RouteTable
from shared.domain.errors import NotFound


def routes(served: RouteTable) -> func.Blueprint:
    """A catch-all under api/, open to anybody: 405 with the methods of a known route, 404 for the rest."""
    bp = func.Blueprint()

    @served.route(bp, "api/{*rest}", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    async def zz_unmatched(req: func.HttpRequest) -> func.HttpResponse:
        # Azure tries routes in the order of function names: this one must come after all others.
        methods = served.methods_of(f"api/{req.route_params.get('rest') or ''}")
        if methods and req.method not in methods:
            raise MethodNotAllowed(methods)
        raise NotFound("there is no such address")

    return bp
