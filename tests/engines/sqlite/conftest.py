from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reliq.engines.sqlite import SqliteEngine, connect
from reliq.policy.clock import Clock
from reliq.policy.ids import new_id
from reliq.ports.values import Publication
from reliq.wire.message import Envelope

PRELUDE = """
import os, signal, sys, time
from reliq.engines.sqlite import connect
from reliq.policy.ids import new_id
from reliq.ports.values import Publication, Settlement
from reliq.wire.message import Envelope
engine = connect(sys.argv[1])
def publication(**fields):
    return Publication(Envelope(v=1, id=fields.pop("id", None) or new_id(), task="task", queue="q", **fields))
def say(word): print(word, flush=True)
def hear(): return sys.stdin.readline().strip()
"""


@pytest.fixture
def publication() -> Callable[..., Publication]:
    """Make a publication of one message."""

    def make(id: str | None = None, *, queue: str = "q", **fields: Any) -> Publication:
        return Publication(Envelope(v=1, id=id or new_id(), task="task", queue=queue, **fields))

    return make


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reliq.db"


@pytest.fixture
def opened(file: Path) -> Iterator[Callable[..., SqliteEngine]]:
    """Open the file, once more each time; all are closed after the test."""
    engines: list[SqliteEngine] = []

    def open(options: str = "", clock: Clock | None = None) -> SqliteEngine:
        engines.append(connect(f"sqlite:///{file}{options}", clock=clock))
        return engines[-1]

    yield open
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(opened: Callable[..., SqliteEngine]) -> SqliteEngine:
    return opened()


class Other:
    """Another process on the same file: `say` and `hear` are its half of the talk."""

    def __init__(self, file: Path, script: str) -> None:
        root = Path(__file__).parents[3]
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, f"sqlite:///{file}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def wait(self) -> int:
        return self._process.wait(30)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def process(file: Path) -> Iterator[Callable[[str], Other]]:
    """Run a script beside this process."""
    others: list[Other] = []

    def start(script: str) -> Other:
        others.append(Other(file, script))
        return others[-1]

    yield start
    for other in others:
        other.kill()
