"""Look at what nobody could read or carry out, and send it once more when the reason is gone.

    python -m tools.ops.dead_letters list [--json]
    python -m tools.ops.dead_letters redrive --topic file-events --subscription notify

Sending again reaches the one subscription that the message came from. Nothing is lost meanwhile: messages are hints,
and the journal has all that they tell.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from shared.container import Application, Events
from shared.domain.errors import NotFound
from shared.ports.dead_letters import DeadLetter
from tools.ops._application import run


async def list_them(application: Application, places: Sequence[str], *, limit: int, as_json: bool) -> int:
    events = _events(application)
    for place in places or events.dead_letters.places:
        async for letter in events.dead_letters.look(place, limit=limit):
            print(json.dumps(asdict(letter), default=str) if as_json else _line(letter))
    return 0


async def redrive(application: Application, places: Sequence[str], *, limit: int) -> int:
    events = _events(application)
    for place in places or events.dead_letters.places:
        print(f"{place}: {await events.dead_letters.redrive(place, limit=limit)} sent again")
    return 0


def _events(application: Application) -> Events:
    if application.events is None:
        raise NotFound("no Service Bus: set SERVICEBUS_CONNECTION_STRING or SERVICEBUS_NAMESPACE")
    return application.events


def _line(letter: DeadLetter) -> str:
    whose = f" of {letter.session}" if letter.session else ""
    came = "" if letter.source == letter.place else f", from {letter.source}"
    return (
        f"{letter.place} #{letter.sequence}{whose}{came}: {letter.reason}: {letter.description} "
        f"({letter.message_id or 'no id'}, {letter.size} bytes, {letter.enqueued_at})"
    )


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tools.ops.dead_letters", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = made.add_subparsers(dest="command", required=True)
    for name, text in (("list", "show them, oldest first"), ("redrive", "send them once more")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--topic", help="only of this topic's subscription")
        command.add_argument("--subscription", help="and which")
        command.add_argument("--limit", type=int, default=1000, help="so many of each place (1000)")
        if name == "list":
            command.add_argument("--json", action="store_true", help="a document a line")
    return made


def main() -> int:
    arguments = parser().parse_args()
    if (arguments.topic is None) != (arguments.subscription is None):
        parser().error("--topic and --subscription belong together")
    places = [f"{arguments.topic}/{arguments.subscription}"] if arguments.topic else []
    if arguments.command == "list":
        return run(partial(list_them, places=places, limit=arguments.limit, as_json=arguments.json))
    return run(partial(redrive, places=places, limit=arguments.limit))


if __name__ == "__main__":
    sys.exit(main())
