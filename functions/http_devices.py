"""Devices: for callers with a token, their own."""

import azure.functions as func

from functions._http import answer, caller_of, json_of
from functions._routes import RouteTable
from functions._shapes import DeviceName, clean_label, stamp
from shared.container import Application
from shared.domain.ids import DeviceId, parse_id

DEVICE = "api/devices/{device_id:length(32)}"


def routes(app: Application, served: RouteTable) -> func.Blueprint:
    bp = func.Blueprint()

    @served.route(bp, "api/devices", "GET")
    async def list_devices(req: func.HttpRequest) -> func.HttpResponse:
        caller = caller_of(req, app)
        return answer(
            {
                "devices": [
                    {
                        "device_id": seen.device.id,
                        "name": seen.device.name,
                        "platform": seen.device.platform,
                        "created_at": stamp(seen.created_at),
                        "last_seen_at": stamp(seen.last_seen_at),
                        "current": seen.device.id == caller.device_id,
                    }
                    for seen in await app.use_devices.list(caller)
                ]
            }
        )

    @served.route(bp, DEVICE, "PATCH")
    async def rename_device(req: func.HttpRequest) -> func.HttpResponse:
        caller, name = caller_of(req, app), clean_label(json_of(req, DeviceName).name, 128)
        await app.use_devices.rename(caller, _device_of(req), name)
        return answer({"device_id": _device_of(req), "name": name})

    @served.route(bp, DEVICE, "DELETE")
    async def revoke_device(req: func.HttpRequest) -> func.HttpResponse:
        await app.use_devices.revoke(caller_of(req, app), _device_of(req))
        return answer({"message": "Device ended; its tokens work no more"})

    return bp


def _device_of(req: func.HttpRequest) -> DeviceId:
    return DeviceId(parse_id(req.route_params.get("device_id", ""), "device_id"))
