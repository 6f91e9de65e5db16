"""`strata devices`: which devices are logged in, what they are called, and ending one that was lost."""

from threading import Event
from typing import Annotated

from client.arguments import Option
from client.connection import logged_in
from client.errors import Conflicting, Misuse, NotThere
from client.options import Common
from client.wire import RemoteDevice

SHORTEST = 4
"""Characters of an id that are enough to name a device by, if they fit only one."""


def devices(
    common: Common,
    revoke: Annotated[
        str | None, Option("--revoke", metavar="DEVICE", help="End this device's login for good.")
    ] = None,
    rename: Annotated[str | None, Option("--rename", metavar="DEVICE", help="Which to rename.")] = None,
    to: Annotated[str | None, Option("--to", metavar="NAME", help="The new name.")] = None,
) -> None:
    """Show the devices that are logged in as you, seen last first.

    A device is named by its id, the beginning of it, or its name. One that is ended can't read or change anything
    from then on; what it has on its own disk stays there.

    Examples:

      strata devices --rename 4f1c --to "old laptop"

      strata devices --revoke "old laptop"
    """
    screen = common.screen
    if (rename is None) != (to is None):
        raise Misuse("--rename DEVICE and --to NAME go together")
    if rename is not None and revoke is not None:
        raise Misuse("either --rename or --revoke")
    with logged_in(common.place, Event()) as api:
        known = api.devices()
        if revoke is not None:
            device = find(known, revoke)
            api.revoke_device(device.device_id)
            screen.result({"revoked": device.device_id}, f"{device.name} is logged out for good")
            return
        if rename is not None and to is not None:
            device = find(known, rename)
            name = api.rename_device(device.device_id, to)
            screen.result({"device_id": device.device_id, "name": name}, f"{device.name} is now {name}")
            return
    if screen.as_json:
        screen.result({"devices": [_document(device) for device in known]})
        return
    rows = [
        (
            device.name + (" (this one)" if device.current else ""),
            device.platform,
            device.last_seen_at,
            device.device_id,
        )
        for device in known
    ]
    screen.table(("Name", "System", "Last seen", "Id"), rows)


def find(known: list[RemoteDevice], wanted: str) -> RemoteDevice:
    """The one device that `wanted` names; raises NotThere for none, Conflicting for several."""
    found = [device for device in known if device.device_id == wanted or device.name == wanted]
    if not found and len(wanted) >= SHORTEST:
        found = [device for device in known if device.device_id.startswith(wanted)]
    if not found:
        raise NotThere(f"no device is called {wanted!r} (strata devices shows them)")
    if len(found) > 1:
        raise Conflicting(f"{len(found)} devices are called {wanted!r}: use the id of one", code="ambiguous")
    return found[0]


def _document(device: RemoteDevice) -> dict[str, object]:
    return {
        "device_id": device.device_id,
        "name": device.name,
        "platform": device.platform,
        "created_at": device.created_at,
        "last_seen_at": device.last_seen_at,
        "current": device.current,
    }
