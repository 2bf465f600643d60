"""Processes whose wall clock is off, and whose fsyncs are written down: `preload.c`, compiled on the spot."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from reliq.testing.servers import Binary, NoServer, find_redis, lacking

SOURCE = Path(__file__).with_name("preload.c")


class Preload:
    """One compiled library and the two files through which it is spoken to."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "preload.so"
        self._clock = folder / "clock"
        self._synced = folder / "synced"
        compiler = shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            lacking("a clock is shifted, and an fsync seen, by a library that `cc` compiles on Linux")
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self._synced.touch()

    def set_clock(self, seconds: int) -> None:
        """From now on the wall clock of every process of `environment` is off by so much."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{seconds}\n")
        fresh.replace(self._clock)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._library),
            "FAULT_CLOCK": str(self._clock),
            "FAULT_FSYNC": str(self._synced),
        }

    def redis(self) -> Binary:
        """A redis-server with this library loaded."""
        try:
            found = find_redis()
        except NoServer as error:
            lacking(str(error))
        script = self._library.with_name("redis-server")
        words = " ".join(f"{name}='{value}'" for name, value in self.environment.items())
        script.write_text(f"#!/bin/sh\nexec env {words} '{found.path}' \"$@\"\n")
        script.chmod(0o755)
        return replace(found, path=script)

    def synced_size(self, file: Path) -> int:
        """How much of a file was on the disk for sure, by its last fsync."""
        lines = (line.split() for line in self._synced.read_text().splitlines())
        sizes = [int(size) for inode, size in lines if int(inode) == file.stat().st_ino]
        return sizes[-1] if sizes else 0
