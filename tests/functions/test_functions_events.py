"""The functions that the bus starts, called with what the host gives them."""

import json
from datetime import timedelta
from typing import Any

import azure.functions as func
import pytest

from functions import servicebus_events
from shared.adapters.memory.audit_log import MemoryAuditLog
from shared.adapters.memory.event_bus import MemoryEventBus
from shared.adapters.service_bus_dead_letters import ServiceBusDeadLetters
from shared.adapters.service_bus_link import ServiceBusLink
from shared.container import Events
from shared.domain.errors import Unavailable
from shared.domain.events import write_event
from shared.domain.ids import DeviceId
from shared.usecases.audit_events import AuditEvents
from shared.usecases.collect_backlog import CollectBacklog
from shared.usecases.notify_devices import NotifyDevices
from shared.usecases.relay_events import RelaySoon
from tests.functions.serving import Site, User
from tests.functions.serving import json as json_of
from tests.support.world import PASSWORD
from tools.local.host.servicebus_binding import text_message

DAY = timedelta(days=1)


class Started:
    """The functions by name, over a bus and an audit log in memory."""

    def __init__(self, site: Site) -> None:
        app, self.site = site.app, site
        self.bus, self.audit = MemoryEventBus(), MemoryAuditLog()
        nowhere = ServiceBusLink(namespace="nowhere.invalid")
        events = Events(
            bus=self.bus,
            relay_soon=RelaySoon(app.metadata, self.bus),
            notify_devices=NotifyDevices(
                app.metadata, app.wakeups, app.presence, self.bus, app.clock, 60 * DAY
            ),
            collect_backlog=CollectBacklog(app.metadata, self.bus),
            audit=self.audit,
            audit_events=AuditEvents(self.audit, app.clock),
            dead_letters=ServiceBusDeadLetters(nowhere),
        )
        host = func.FunctionApp()
        host.register_functions(servicebus_events.routes(app, events))
        built = host.get_functions()
        self.bindings = {each.get_function_name(): json.loads(each.get_function_json()) for each in built}
        self.functions: dict[str, Any] = {
            each.get_function_name(): each.get_user_function() for each in built
        }

    async def event(self) -> str:
        """The oldest event that waits, as it goes over the bus."""
        until = self.site.app.clock.now()
        [event] = await self.site.app.metadata.read(
            lambda tx: tx.outbox.waiting(created_until=until, limit=1)
        )
        return write_event(event).decode()


@pytest.fixture
def started(site: Site) -> Started:
    return Started(site)


async def test_an_event_leaves_a_hint_for_a_device_that_is_away(
    site: Site, ann: User, started: Started
) -> None:
    login = json_of(await site.call("login", {"username": "ann", "password": PASSWORD}))
    away = DeviceId(login["device_id"])
    await ann.upload("/a", b"a")
    await started.functions["notify_devices"](text_message(await started.event()))
    assert started.bus.backlogs.keys() == {away}


async def test_a_failure_is_the_host_s_to_repeat(site: Site, ann: User, started: Started) -> None:
    await site.call("login", {"username": "ann", "password": PASSWORD})
    await ann.upload("/a", b"a")
    message = text_message(await started.event())
    started.bus.away = started.audit.away = True
    with pytest.raises(Unavailable):
        await started.functions["notify_devices"](message)
    with pytest.raises(Unavailable):
        await started.functions["audit_events"]([message])


async def test_what_can_t_be_read_is_set_aside_and_is_no_failure(started: Started) -> None:
    for body in ("", "{}", '{"version": 2}', "\x00"):
        await started.functions["notify_devices"](text_message(body))
    assert [(letter.source, letter.body.decode(), reason) for letter, reason in started.bus.dead] == [
        ("file-events/notify", "", "Malformed"),
        ("file-events/notify", "{}", "Malformed"),
        ("file-events/notify", '{"version": 2}', "FutureVersion"),
        ("file-events/notify", "\x00", "Malformed"),
    ]
    started.bus.away = True
    with pytest.raises(Unavailable):
        await started.functions["notify_devices"](text_message("{}"))


async def test_a_batch_is_recorded_line_by_line(ann: User, started: Started) -> None:
    await ann.upload("/a", b"a")
    await started.functions["audit_events"]([text_message(await started.event()), text_message("{}")])
    assert [sorted(json.loads(line)) for line in started.audit.lines] == [
        ["at", "device", "epoch", "kinds", "message_id", "namespace", "recorded_at", "seq"],
        ["kind", "message_id", "recorded_at", "size", "unreadable"],
    ]


def test_where_they_are_bound(started: Started) -> None:
    bound = {
        name: (
            document["bindings"][0]["topicName"],
            document["bindings"][0]["subscriptionName"],
            document["bindings"][0]["connection"],
            str(document["bindings"][0].get("cardinality", "one")).lower(),
        )
        for name, document in started.bindings.items()
    }
    assert bound == {
        "notify_devices": ("file-events", "notify", "SERVICEBUS_CONNECTION_STRING", "one"),
        "audit_events": ("file-events", "audit", "SERVICEBUS_CONNECTION_STRING", "many"),
    }


async def test_health_tells_what_waits_without_a_bus(site: Site, ann: User) -> None:
    await ann.upload("/a", b"a")
    health = json_of(await site.call("health_ready", method="GET"))
    assert health["status"] == "ready"
    assert health["events"]["relayed"] is False
    assert health["events"]["waiting"] == 1
    assert health["events"]["oldest"]
