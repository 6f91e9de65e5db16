"""Where Azure Functions finds the application: built once a process, its blueprints chosen by APP_ROLES."""

import os

import azure.functions as func

from functions import (
    blob_staged,
    http_auth,
    http_blocks,
    http_devices,
    http_files,
    http_folders,
    http_health,
    http_history,
    http_notifications,
    http_transfers,
    http_unmatched,
    servicebus_events,
    timer_upkeep,
)
from functions._routes import RouteTable
from shared.config import load
from shared.container import build

application = build(load(os.environ))
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
_served = RouteTable()

# Each role can be a function app of its own, scaled by itself; one app with all of them is the default.
if "api" in application.settings.roles:
    app.register_functions(http_auth.routes(application, _served))
    app.register_functions(http_devices.routes(application, _served))
    app.register_functions(http_files.routes(application, _served))
    app.register_functions(http_folders.routes(application, _served))
    app.register_functions(http_history.routes(application, _served))
if "blocks" in application.settings.roles:
    app.register_functions(http_blocks.routes(application, _served))
    app.register_functions(http_transfers.routes(application, _served))
if "poll" in application.settings.roles:
    app.register_functions(http_notifications.routes(application, _served))
if "workers" in application.settings.roles:
    app.register_functions(blob_staged.routes(application))
    app.register_functions(timer_upkeep.routes(application))
    # A trigger whose connection isn't set would keep the whole host from starting.
    if application.events is not None:
        app.register_functions(servicebus_events.routes(application, application.events))
app.register_functions(http_health.routes(application, _served))
app.register_functions(http_unmatched.routes(_served))


async def close() -> None:
    """Release what the application holds. A host that can say that it stops may await this."""
    await application.close()
