"""The reader's two terminals: one for commands, one in which the worker runs; and a Python prompt."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = "/home/you"
_PROMPT = """
import json, sys, traceback
names = {}
for line in sys.stdin:
    try:
        exec(compile(json.loads(line) + "\\n", "<stdin>", "single"), names)
    except BaseException as error:
        print("".join(traceback.format_exception_only(error)), end="")
    print("\\0", flush=True)
"""


class Terminals:
    """Everything happens below `folder`; what is printed says `/home/you` for it."""

    def __init__(self, folder: Path) -> None:
        self._home = folder.resolve() / "you"
        self._home.mkdir()
        programs = folder.resolve() / "bin"
        programs.mkdir()
        for name, arguments in (("reliq", "-m reliq"), ("python", "")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
            program.chmod(0o755)
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("RELIQ_", "XDG_"))}
        self.environ = {
            **inherited,
            "PATH": os.pathsep.join([str(programs), inherited.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
            "HOME": str(self._home),
            "TMPDIR": str(folder.resolve()),
            "XDG_RUNTIME_DIR": str(folder.resolve() / "run"),
        }
        self._worker: subprocess.Popen[bytes] | None = None
        self._log = folder / "worker.log"
        self._read = 0
        self._prompt: subprocess.Popen[str] | None = None

    def run(self, command: str) -> str:
        """What a command prints, on both streams."""
        name, _, value = command.partition("=")
        if name.startswith("export "):
            self.environ[name.removeprefix("export ")] = value
            return ""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self._home,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
            check=False,
        )
        return self._shown(done.stdout)

    def type(self, statement: str) -> str:
        """What Python prints after a statement; of an error the last line."""
        import json

        if self._prompt is None:
            self._prompt = subprocess.Popen(
                [sys.executable, "-c", _PROMPT],
                cwd=self._home,
                env=self.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        assert self._prompt.stdin and self._prompt.stdout
        self._prompt.stdin.write(json.dumps(statement) + "\n")
        self._prompt.stdin.flush()
        printed = ""
        while not printed.endswith("\0\n"):
            line = self._prompt.stdout.readline()
            if not line:
                break
            printed += line
        return self._shown(printed.removesuffix("\0\n"))

    # --- the worker's terminal ---

    def start_worker(self, command: str) -> None:
        with self._log.open("wb") as log:
            self._worker = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                cwd=self._home,
                env=self.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def next_lines(self, count: int, timeout: float = 20.0) -> str:
        """The next `count` lines that the worker prints, or those that came in time."""
        end = time.monotonic() + timeout
        while True:
            lines = self._shown(self._log.read_bytes()[self._read :].decode()).splitlines(keepends=True)
            if len(lines) >= count or time.monotonic() > end:
                break
            time.sleep(0.05)
        self._read = len(self._log.read_bytes())
        return "".join(lines)

    def press_ctrl_c(self) -> None:
        """A terminal sends the signal to the whole group."""
        assert self._worker is not None
        os.killpg(self._worker.pid, signal.SIGINT)

    def close(self) -> None:
        for process in (self._prompt, self._worker):
            if process is not None:
                if process.poll() is None:
                    process.kill()
                process.wait()
        if self._prompt is not None and self._prompt.stdin and self._prompt.stdout:
            self._prompt.stdin.close()
            self._prompt.stdout.close()

    def _shown(self, printed: str) -> str:
        return printed.replace(str(self._home), HOME)
