"""A way to run the command in this process."""

import io
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client.cli import run

KIB = 1024
MIB = 1024 * 1024


def noise(size: int) -> bytes:
    """Bytes that don't compress and never were before; a failing test shows the seed."""
    seed = random.randrange(2**32)
    print(f"noise seed {seed}", file=sys.stderr)
    return random.Random(seed).randbytes(size)


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


class Command:
    """Runs `strata` as main() does, with captured output."""

    def __init__(self, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capture = capfdbinary
        self._patch = monkeypatch

    def bytes(self, *arguments: str | Path, stdin: bytes = b"") -> tuple[int, bytes, str]:
        self._capture.readouterr()
        with self._patch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = run([str(argument) for argument in arguments])
        out, err = self._capture.readouterr()
        return code, out, err.decode()

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Result:
        code, out, err = self.bytes(*arguments, stdin=stdin)
        return Result(code, out.decode(), err)
