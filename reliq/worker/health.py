"""Whether a worker is well, from a small file, without importing its app.

Well means: each child claimed within `max_age` seconds, or its owner was renewed within them while its hands are full
(a task runs, or nothing more fits) or it is paused.  A child that starts may take longer while others work.  The
parent writes the file every two seconds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from pathlib import Path

import msgspec

logger = logging.getLogger("reliq.worker")

EVERY = 2.0
MAX_AGE = 30.0


class ChildHealth(msgspec.Struct, frozen=True):
    """Ages in seconds at the time of writing; None: never."""

    pid: int
    owner: str
    last_claim: float | None
    running: int
    full: bool
    paused: bool
    starting: float | None  # for so long; None: it is ready
    claims: int
    claimed: int
    settled: int


class Health(msgspec.Struct, frozen=True):
    """What the parent knows of itself and its children; `at` is Unix time."""

    app: str
    pid: int
    at: float
    since: float
    broker_silence: float | None
    stopping: bool
    children: tuple[ChildHealth, ...]


class Verdict(msgspec.Struct, frozen=True):
    well: bool
    why: str


def default_path(app: str, pid: int) -> Path:
    return runtime_folder() / f"{_plain(app)}-{pid}.json"


def runtime_folder() -> Path:
    """Ours alone: `$XDG_RUNTIME_DIR/reliq`, else a folder for this user below the temporary one."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    uid = os.getuid() if hasattr(os, "getuid") else 0
    return Path(base, "reliq") if base else Path(tempfile.gettempdir(), f"reliq-{uid}")


class HealthFile:
    """What a worker writes every two seconds while it lives."""

    def __init__(self, path: str | None, app: str) -> None:
        self.path = Path(path) if path else default_path(app, os.getpid())
        self._app = app
        self._since = time.time()
        self._written = 0.0
        self._broken = False
        if path is None:
            _sweep(app)

    def is_due(self) -> bool:
        return time.monotonic() - self._written >= EVERY

    def write(self, children: tuple[ChildHealth, ...], *, silence: float, stopping: bool) -> None:
        self._written = time.monotonic()
        known = None if silence == float("inf") else silence
        report = Health(self._app, os.getpid(), time.time(), self._since, known, stopping, children)
        try:
            write(self.path, report)
            self._broken = False
        except OSError as error:
            if not self._broken:
                logger.warning("cannot write the health file %s: %s", self.path, error)
            self._broken = True

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def write(path: Path, health: Health) -> None:
    """Replace the file at once; a reader never sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(msgspec.json.encode(health))
    new.replace(path)


def read(path: str | Path) -> Health:
    """The file's contents; `OSError` or `msgspec.DecodeError` when there is no such."""
    return msgspec.json.decode(Path(path).read_bytes(), type=Health)


def find(app: str) -> list[Path]:
    """The default files of an app's workers on this machine."""
    pattern = re.compile(re.escape(_plain(app)) + r"-\d+\.json")
    try:
        return sorted(p for p in runtime_folder().iterdir() if pattern.fullmatch(p.name))
    except OSError:
        return []


def is_gone(path: Path) -> bool:
    """Whether the process that wrote a default file is no more; a killed one cannot take its file away."""
    try:
        os.kill(int(path.stem.rpartition("-")[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _sweep(app: str) -> None:
    """A worker takes the place of those of its app that were killed."""
    for path in find(app):
        if is_gone(path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def check(path: str | Path, *, max_age: float = MAX_AGE) -> Verdict:
    """The verdict on one worker, with the reason in words."""
    try:
        health = read(path)
    except FileNotFoundError:
        return Verdict(False, f"there is no health file {path}: no worker runs, or with another --health")
    except (OSError, msgspec.MsgspecError) as error:
        return Verdict(False, f"the health file {path} cannot be read: {error}")
    return judge(health, now=time.time(), max_age=max_age)


def judge(health: Health, *, now: float, max_age: float = MAX_AGE) -> Verdict:
    """Pure: the verdict on what was read."""
    age = now - health.at
    if age > max_age:
        return Verdict(
            False, f"worker {health.pid} has written nothing for {age:.0f} s: it is dead or stopped"
        )
    if not health.children and not health.stopping:
        return Verdict(False, f"worker {health.pid} has no children")
    ill = [why for child in health.children if (why := _ill(child, health, age, max_age))]
    if ill:
        return Verdict(False, "; ".join(ill))
    number = len(health.children)
    return Verdict(True, f"worker {health.pid} is well: {number} {'child' if number == 1 else 'children'}")


def _ill(child: ChildHealth, health: Health, age: float, max_age: float) -> str:
    claimed = None if child.last_claim is None else child.last_claim + age
    if claimed is not None and claimed <= max_age:
        return ""
    silence = None if health.broker_silence is None else health.broker_silence + age
    busy = child.running or child.full or child.paused or health.stopping
    if child.starting is not None:
        alone = all(other.starting is not None for other in health.children)
        busy = child.starting + age <= max_age or not alone or health.stopping
    if busy and silence is not None and silence <= max_age:
        return ""
    if silence is None or silence > max_age:
        return f"child {child.pid}: the broker has not answered for {_seconds(silence)}"
    if child.starting is not None:
        return f"child {child.pid} has been starting for {_seconds(child.starting + age)} and no other works"
    return f"child {child.pid} has not claimed for {_seconds(claimed)}"


def _seconds(value: float | None) -> str:
    return "ever" if value is None else f"{value:.0f} s"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
