"""A journal: facts that outlive whoever wrote them, for telling afterwards what really happened.

A producer notes `attempted` before it publishes and `confirmed` (or `refused`, `unknown`) after; a task notes
`started` first and `ended` last; whoever kills a process notes `killed`.  Each fact is one line, appended with one
`write` to a file opened with O_APPEND: lines of several processes never mix, and what was noted before a SIGKILL stays.

    KIND <tab> ID <tab> MONOTONIC SECONDS <tab> PID <tab> name=value ...
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

__all__ = ["Fact", "Journal", "Reader", "read"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a journal.  `at` is CLOCK_MONOTONIC, which all processes of a machine share."""

    kind: str
    id: str
    at: float
    pid: int
    details: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> str:
        details = " ".join(f"{name}={quote(value, safe='/:.,')}" for name, value in self.details.items())
        return f"{self.kind}\t{quote(self.id, safe='/:.,')}\t{self.at:.6f}\t{self.pid}\t{details}\n"


class Journal:
    """Appends facts to one file; may be used by many threads and processes at once, and after a fork."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def note(self, kind: str, id: str = "", /, **details: object) -> None:
        """Append one fact."""
        fact = Fact(
            kind, id, time.monotonic(), os.getpid(), {name: str(value) for name, value in details.items()}
        )
        os.write(self._file, fact.line().encode())

    def close(self) -> None:
        os.close(self._file)


def read(*paths: Path | str) -> list[Fact]:
    """All facts of these files, in the order of their time.  An unfinished last line is no fact."""
    facts = [fact for path in paths for fact in Reader(path).new()]
    return sorted(facts, key=lambda fact: fact.at)


class Reader:
    """Reads a journal while others append to it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._at = 0

    def new(self) -> list[Fact]:
        """The facts that were appended since the last call."""
        with open(self.path, "rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return [_parse(line) for line in whole.decode().split("\n")[:-1]]


def _parse(line: str) -> Fact:
    kind, id, at, pid, details = line.split("\t")
    pairs = (pair.partition("=") for pair in details.split())
    return Fact(kind, unquote(id), float(at), int(pid), {name: unquote(value) for name, _, value in pairs})
