"""The command line as a process of its own: start-up, exit codes, a worker from start to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Terminal:
    """Runs `reliq` in a folder, with state and runtime folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RELIQ_")},
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
        }
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "reliq", *args],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def start(self, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "reliq", *args],
            cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    for process in terminal.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_help_imports_no_command_and_no_engine(terminal: Terminal) -> None:
    code = (
        "import sys; sys.argv = ['reliq', '--help']\n"
        "from reliq.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "late = ('rich', 'sqlite3', 'reliq.worker', 'reliq.engines', 'reliq.app')\n"
        "bad = [m for m in sys.modules if m.startswith(late)]\n"
        "assert not bad, bad\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=terminal.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "why" in done.stdout


def test_a_wrong_app_ends_with_code_4_and_no_traceback_of_ours(terminal: Terminal) -> None:
    (terminal.folder / "shop.py").write_text("import nothere\n")
    error = terminal.run("worker", "-A", "shop", code=4).stderr
    assert error.startswith("error: -A shop: importing 'shop' failed with ModuleNotFoundError")
    assert "loader.py" not in error


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("pool", ["processes", "solo"])
def test_from_init_to_the_end_of_a_worker(terminal: Terminal, pool: str) -> None:
    terminal.run("init", "shop")
    worker = terminal.start("worker", "-A", "shop", "-c", "1", "-P", pool, "--log-format", "text")
    assert (
        terminal.run("call", "-A", "shop", "greet", "world", "--timeout", "30").stdout == '"Hello, world!"\n'
    )
    status = json.loads(terminal.run("status", "-A", "shop", "--json").stdout)
    assert [w["state"] for w in status["workers"]] == ["live"]
    assert status["states"]["done"] == 1
    assert status["workers"][0]["about"]["queues"] == "default"
    terminal.run("call", "-A", "shop", "greet", "x", "--queue", "elsewhere")
    assert "No worker serves 'elsewhere'." in terminal.run("status", "-A", "shop").stdout
    assert "balance" in terminal.run("audit", "--broker", status["broker"]).stdout
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0, output
    banner = output.split("\n\n")[0].splitlines()
    assert banner[0].startswith("reliq ") and len(banner) <= 12
    assert any(str(terminal.folder / "state") in line for line in banner)
    assert any("survives" in line for line in banner)
    assert any("2: shop.greet, shop.rebuild" in line for line in banner)


def test_a_worker_with_json_logs_writes_nothing_else(terminal: Terminal) -> None:
    terminal.run("init", "shop")
    worker = terminal.start("worker", "-A", "shop", "-c", "1", "--log-format", "json")
    terminal.run("call", "-A", "shop", "greet", "world", "--timeout", "30")
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=30)
    records = [json.loads(line) for line in output.splitlines()]
    assert {record["logger"] for record in records} >= {"reliq.worker"}


def test_options_of_the_command_line_win_and_are_checked(terminal: Terminal) -> None:
    terminal.run("init", "shop")
    for args, said in (
        (("-P", "gevent"), "make the tasks async"),
        (("-P", "what"), "processes and solo"),
        (("-Q", "a=0"), "weight above 0"),
    ):
        assert said in terminal.run("worker", "-A", "shop", *args, code=2).stderr
    assert "expected seconds" in terminal.run("worker", "-A", "shop", "--lease", "soon", code=2).stderr


def test_a_worker_stops_when_its_terminal_is_closed(terminal: Terminal) -> None:
    terminal.run("init", "shop")
    ours, theirs = os.openpty()
    worker = subprocess.Popen(
        [sys.executable, "-m", "reliq", "worker", "-A", "shop", "-c", "1"],
        cwd=terminal.folder, env=terminal.environ, text=True, start_new_session=True,
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    terminal.started.append(worker)
    os.close(theirs)
    assert worker.stdout is not None
    while "started" not in (line := worker.stdout.readline()):
        assert line, "it ended before its child started"
    worker.send_signal(signal.SIGHUP)
    assert worker.wait(timeout=20) == 0
    os.close(ours)
