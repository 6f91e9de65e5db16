"""Is it there, what works, which version: open to anybody, and without anything that would help an attacker."""

from dataclasses import asdict

import azure.functions as func

from functions._http import answer
from functions._routes import RouteTable
from functions._shapes import stamp
from shared import __version__
from shared.container import Application


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, "api/health/live", "GET", "HEAD")
    async def health_live(req: func.HttpRequest) -> func.HttpResponse:
        return answer({"status": "alive"})

    @served.route(bp, "api/health/ready", "GET", "HEAD")
    async def health_ready(req: func.HttpRequest) -> func.HttpResponse:
        health = await app.check_health()
        body = {
            "status": health.status,
            "parts": {name: "there" if there else "away" for name, there in health.parts.items()},
            "works": health.works,
            "cache": asdict(health.cache),
            "timers": {
                name: {"last_success_at": stamp(at) if at else None} for name, at in health.timers.items()
            },
            "events": {
                "relayed": health.events.relayed,
                "waiting": health.events.waiting,
                "oldest": stamp(health.events.oldest) if health.events.oldest else None,
            },
        }
        if health.is_ready:
            return answer(body)
        return answer(body, status=503, headers={"Retry-After": "5"})

    @served.route(bp, "api/version", "GET")
    async def version(req: func.HttpRequest) -> func.HttpResponse:
        return answer({"name": "strata", "version": __version__})

    return bp
