"""Requests and replies of the fake server, and its two kinds of answers."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def document(status: int, content: Any, **headers: str) -> Reply:
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})


def problem(status: int, code: str, *, headers: dict[str, str] | None = None, **members: Any) -> Reply:
    content = {
        "type": "about:blank",
        "title": code,
        "status": status,
        "code": code,
        "request_id": "r1",
        "error": code,
    }
    return Reply(
        status,
        json.dumps(content | members).encode(),
        {"Content-Type": "application/problem+json", **(headers or {})},
    )
