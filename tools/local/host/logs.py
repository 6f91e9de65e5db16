"""Logs as JSON lines on stderr: one line a record, with the invocation that it belongs to.

A log line is read by people who must not learn what the request carried: neither query strings (`?code=` is a
key, a share link is a password), nor headers, nor bodies are ever put into one by this host. What stands in
it: time, level, logger, message, function, invocation_id and, for a finished invocation, duration_ms and status.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from tools.local.host.context import current_scope

Format = Literal["json", "text"]
FIELDS = ("method", "route", "status", "duration_ms", "retry")
"""Names of `extra` fields that are copied into the line."""

# These log each request at INFO, as often as the app calls out, and at times with the URL.
_NOISY = ("azure", "urllib3", "httpx", "aiohttp.access", "alembic")


class JsonLines(logging.Formatter):
    """One JSON object a line; a traceback becomes the member `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        scope = current_scope.get()
        if scope is not None:
            line |= {"function": scope.function, "invocation_id": scope.invocation_id}
        line |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """The same for people: time, level, function, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        scope = current_scope.get()
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        origin = f"{scope.function} {scope.invocation_id[:8]}" if scope else record.name
        fields = "".join(f" {name}={record.__dict__[name]}" for name in FIELDS if name in record.__dict__)
        text = f"{clock} {record.levelname:<7} {origin}: {record.getMessage()}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(form: Format, level: int, stream: TextIO | None = None) -> None:
    """Send every record at or above `level` to the stream (stderr), and nothing anywhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
