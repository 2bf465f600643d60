"""The demo as a user sees it, on a few files; and on all of them in the full form."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reliq.testing.faults import tree

SEED = "7"


def run_demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reliq", "demo", "--seed", SEED, *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def number(output: str, name: str) -> int:
    found = re.search(rf"^  {name} +([\d,]+) ", output, re.MULTILINE)
    assert found, output
    return int(found[1].replace(",", ""))


def running(argument: str) -> list[str]:
    """The command lines, of Linux's processes, that have an argument with this end."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            lines.append(file.read_text(errors="replace"))
    return [line for line in lines if any(part.endswith(argument) for part in line.split("\0"))]


def test_the_sum_is_proved_although_workers_are_killed(tmp_path: Path) -> None:
    run = run_demo(tmp_path, "--files", "200")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "two workers: lease 3 s, renewal 1 s" in run.stdout
    assert (
        len(re.findall(r"^killed worker \d+ and its child while a task ran: \S+$", run.stdout, re.MULTILINE))
        >= 3
    )
    assert number(run.stdout, "published") == 202
    assert number(run.stdout, "refused") == 20
    assert number(run.stdout, "retried") >= 4
    assert number(run.stdout, "quarantined") == 2
    assert number(run.stdout, "run") == 202 + number(run.stdout, "repeated") + number(run.stdout, "retried")
    assert "the sum is proved" in run.stdout and "\n  no " not in run.stdout
    assert not list(tmp_path.glob("reliq-demo-*")), "it leaves nothing behind"


def test_a_forged_settlement_is_found_out(tmp_path: Path) -> None:
    run = run_demo(tmp_path, "--files", "60", "--sabotage", "--keep")
    assert run.returncode == 1, run.stdout + run.stderr
    forged = re.search(r"^sabotage: (\S+) was settled as done", run.stdout, re.MULTILINE)
    assert forged, run.stdout
    assert f"{forged[1]} does not" in run.stdout
    assert "  no   the totals are equal: files: 59 is not 60" in run.stdout
    assert "THE PROOF FAILED" in run.stdout
    why = re.search(r"^  reliq (why .*?)   #", run.stdout, re.MULTILINE)
    assert why, run.stdout
    told = subprocess.run(
        [sys.executable, "-m", "reliq", *why[1].split()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert told.returncode == 0 and "attempt 2" in told.stdout, told.stdout + told.stderr


def test_a_broker_that_other_processes_cannot_reach_is_refused(tmp_path: Path) -> None:
    run = run_demo(tmp_path, "--broker", "memory://")
    assert run.returncode == 2 and "memory:// lives in one process" in run.stderr
    assert not list(tmp_path.glob("reliq-demo-*"))


def test_a_broker_that_cannot_be_used_leaves_no_folder(tmp_path: Path) -> None:
    run = run_demo(tmp_path, "--broker", "sqlite:////proc/x.db", "--keep")
    assert run.returncode == 3 and "cannot be written" in run.stderr and "is left" not in run.stderr
    assert not list(tmp_path.glob("reliq-demo-*"))


@pytest.mark.parametrize(
    ("stop", "keep"), [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False)]
)
def test_a_demo_that_is_interrupted_leaves_only_what_it_names(
    tmp_path: Path, stop: signal.Signals, keep: bool
) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "reliq", "demo", "--files", "200", *(["--keep"] if keep else [])],
        env={**os.environ, "TMPDIR": str(tmp_path), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that puts the tests into the background has them ignore SIGINT, and so what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    assert demo.stdout is not None
    while "killed worker" not in (line := demo.stdout.readline()):
        assert line, "it ended before its first kill"
    demo.send_signal(stop)
    _, errors = demo.communicate(timeout=30)
    left = list(tmp_path.glob("reliq-demo-*"))
    assert demo.returncode == 1 and len(left) == keep
    assert not running(f"-{demo.pid}"), "its workers serve a queue of that name"
    assert all(f"is left in {folder}" in errors for folder in left)


def test_a_demo_that_is_killed_takes_its_workers_with_it(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "reliq", "demo", "--files", "200"],
        env={**os.environ, "TMPDIR": str(tmp_path), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    with demo.stdout:
        while "killed worker" not in (line := demo.stdout.readline()):
            assert line, "it ended before its first kill"
        workers = [process for process in tree(demo.pid) if process.pid != demo.pid]
        assert len(workers) >= 2
        demo.kill()
        demo.wait(timeout=10)
    until = time.monotonic() + 10
    while (left := [process for process in workers if process.alive]) and time.monotonic() < until:
        for process in left:  # a demo that dies while it kills one of them has stopped that one first
            process.send(signal.SIGCONT)
        time.sleep(0.05)
    assert not [process for process in left if process.send(signal.SIGKILL)], "they ran on without it"


@pytest.mark.full
def test_the_whole_library_takes_less_than_a_minute(tmp_path: Path) -> None:
    begun = time.monotonic()
    run = run_demo(tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert time.monotonic() - begun < 60
