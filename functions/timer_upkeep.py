"""What timers start: each finds what events missed, or deletes what time has made useless."""

import logging

import azure.functions as func

from shared.container import Application

_log = logging.getLogger(__name__)


def routes(app: Application) -> func.Blueprint:
    bp = func.Blueprint()
    settings = app.settings

    @bp.timer_trigger(arg_name="timer", schedule=settings.sweep_staging_schedule, run_on_startup=False)
    async def sweep_staging(timer: func.TimerRequest) -> None:
        _log.info("staging is swept: %s", await app.sweep_staging())

    @bp.timer_trigger(arg_name="timer", schedule=settings.expire_tokens_schedule, run_on_startup=False)
    async def expire_tokens(timer: func.TimerRequest) -> None:
        _log.info("expired rows are deleted: %s", await app.expire_tokens())

    @bp.timer_trigger(arg_name="timer", schedule=settings.relay_events_schedule, run_on_startup=False)
    async def relay_events(timer: func.TimerRequest) -> None:
        _log.info("waiting events are relayed: %s", await app.relay_events())

    return bp
