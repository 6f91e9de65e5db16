"""The command: `python -m tools.local.servicebus serve|peek|dead-letters|redrive`."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from azure.servicebus import ServiceBusClient
from azure.servicebus.exceptions import ServiceBusError

from tools.local.azurite.install import PROJECT
from tools.local.servicebus import looking
from tools.local.servicebus.address import DEFAULT_PORT, LOOPBACK, connection_string
from tools.local.servicebus.entities import DEFAULT_CONFIG, ConfigError, Entities, read_config
from tools.local.servicebus.server import serve
from tools.local.servicebus.store import StoreFailed

_DESCRIPTION = """A Service Bus for this machine, and a look into one. A development tool.

ENTITY is a queue (`orders`) or a subscription (`device-backlog/devices`).
"""
_EXAMPLES = """examples:
  python -m tools.local.servicebus serve
  python -m tools.local.servicebus peek device-backlog/devices --count 5
  python -m tools.local.servicebus dead-letters
  python -m tools.local.servicebus dead-letters file-events/notify --json | jq .dead_letter_reason
  python -m tools.local.servicebus redrive file-events/notify --count 10

`peek` and `dead-letters` take nothing away and work with any Service Bus; `redrive` is an operation of this one.
The broker is found by --connection, else SERVICEBUS_CONNECTION_STRING, else on SERVICEBUS_PORT of this machine.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 for what went wrong, 2 for what was asked wrongly."""
    chosen = _parser().parse_args(arguments)
    try:
        entities = read_config(chosen.config)
        if chosen.command == "serve":
            return _serve(entities, chosen)
        return _look(entities, chosen)
    except looking.NoSuchPlace as error:
        print(error, file=sys.stderr)
        return 2
    except (ConfigError, StoreFailed, OSError) as error:
        print(error, file=sys.stderr)
    except ServiceBusError as error:
        print(error, file=sys.stderr)
        print(
            "Is the broker running (`python -m tools.local.servicebus serve`), and has it this entity?",
            file=sys.stderr,
        )
    return 1


def _serve(entities: Entities, chosen: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )

    def ready(port: int) -> None:
        print(f"listening on {LOOPBACK}:{port}", flush=True)

    return asyncio.run(serve(entities, chosen.data, chosen.port, ready))


def _look(entities: Entities, chosen: argparse.Namespace) -> int:
    places = [looking.Place.of(each) for each in chosen.entity] if chosen.entity else _places(entities)
    given = chosen.connection or os.environ.get("SERVICEBUS_CONNECTION_STRING")
    # One try: a broker on this machine answers or isn't there.
    with ServiceBusClient.from_connection_string(
        given or connection_string(chosen.port), retry_total=0
    ) as client:
        if chosen.command == "redrive":
            moved = sum(looking.redrive(client, each, chosen.count) for each in places)
            print(f"{moved} message(s) moved back")
            return 0
        dead = chosen.command == "dead-letters" or chosen.dead_letter
        shown = 0
        for place in places:
            for seen in looking.peek(client, place, dead=dead, start=chosen.start, count=chosen.count):
                print(seen.as_json() if chosen.json else seen.as_text())
                shown += 1
    if not chosen.json:
        print(f"{shown} message(s)", file=sys.stderr)
    return 0


def _places(entities: Entities) -> list[looking.Place]:
    queues = [looking.Place(each.name, None, None) for each in entities.queues]
    return queues + [
        looking.Place(None, topic.name, each.name)
        for topic in entities.topics
        for each in topic.subscriptions
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.local.servicebus",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    port = int(os.environ.get("SERVICEBUS_PORT") or DEFAULT_PORT)
    shared.add_argument("--port", type=int, default=port, help="of the broker (default: %(default)s)")
    shared.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, help="what entities there are (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", parents=[shared], help="run the broker until Ctrl-C")
    serving.add_argument(
        "--data",
        type=Path,
        default=PROJECT / ".local" / "data" / "servicebus.db",
        help="the SQLite file that keeps the messages (default: %(default)s)",
    )
    looks = argparse.ArgumentParser(add_help=False)
    looks.add_argument("--connection", metavar="STRING", help="connection string of another broker")
    shows = argparse.ArgumentParser(add_help=False)
    shows.add_argument("--from", dest="start", type=int, default=1, metavar="N", help="first sequence number")
    shows.add_argument("--json", action="store_true", help="one JSON object per message and line")
    about = {
        "peek": "show messages without taking them",
        "dead-letters": "show the messages of dead-letter queues, with their reasons",
    }
    for name, text in about.items():
        command = commands.add_parser(name, parents=[shared, looks, shows], help=text, description=text)
        command.add_argument("entity", nargs="*", metavar="ENTITY", help="default: all of the configuration")
        command.add_argument("--count", type=int, help="messages per entity at most (default: all)")
        command.set_defaults(dead_letter=False)
        if name == "peek":
            command.add_argument("--dead-letter", action="store_true", help="of the dead-letter queue")
    text = "move dead-lettered messages back to where they died, the oldest first, as if sent now"
    back = commands.add_parser("redrive", parents=[shared, looks], help=text, description=text)
    back.add_argument("entity", nargs="+", metavar="ENTITY")
    back.add_argument(
        "--count", type=int, default=1_000_000, help="messages per entity at most (default: all)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
