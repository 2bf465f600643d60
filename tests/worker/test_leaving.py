"""The end of a process: what the interpreter would do is done, but for taking itself apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHANGES_THE_END = {"PYTHONUNBUFFERED", "PYTHONDEVMODE", "PYTHONINSPECT"}
LEAVE = "from reliq.worker.leaving import leave\n"


def python(code: str, *flags: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, *flags, "-c", LEAVE + code],
        env={name: value for name, value in os.environ.items() if name not in CHANGES_THE_END},
        **{"capture_output": True, "text": True, "timeout": 60, "check": False, **options},
    )


def test_the_end_waits_for_threads_then_runs_what_was_registered_and_flushes_everything(
    tmp_path: Path,
) -> None:
    done = python(
        f"""
import atexit, ctypes, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

def work(what):
    time.sleep(0.2)
    print(what)

written = open({str(tmp_path / "file")!r}, "w")
written.write("buffered")
packed = open({str(tmp_path / "raw")!r}, "wb")
packed.write(b"bytes")
ctypes.CDLL(None).printf(b"from C\\n")
atexit.register(print, "registered first")
atexit.register(print, "registered last")
threading.Thread(target=work, args=("a thread",)).start()
ThreadPoolExecutor(1).submit(work, "a pool")
sys.stderr.write("to stderr")
leave(7)
"""
    )
    assert (done.returncode, done.stderr) == (7, "to stderr")
    lines = done.stdout.splitlines()
    assert sorted(lines) == ["a pool", "a thread", "from C", "registered first", "registered last"]
    assert lines.index("registered last") < lines.index("registered first")
    assert lines.index("registered last") > max(lines.index("a thread"), lines.index("a pool"))
    assert (tmp_path / "file").read_text() == "buffered"
    assert (tmp_path / "raw").read_bytes() == b"bytes"


TELLS_OF_ITS_END = """
import os
class Thing:
    def __del__(self, write=os.write): write(1, b"taken apart")
thing = Thing()
"""


def test_nothing_is_taken_apart() -> None:
    done = python(TELLS_OF_ITS_END + "leave(0)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("flags", "before"),
    [
        (["-X", "dev"], ""),
        ([], "import sys; sys.setprofile(lambda *args: None)\n"),
        ([], "import sys; sys.settrace(lambda *args: None)\n"),
        (["-m", "cProfile"], None),
    ],
    ids=["dev", "profile", "trace", "cProfile"],
)
def test_whoever_watches_the_process_sees_its_whole_end(
    tmp_path: Path, flags: list[str], before: str | None
) -> None:
    if before is None:
        script = tmp_path / "script.py"
        script.write_text(LEAVE + "leave(3)")
        done = subprocess.run(
            [sys.executable, *flags, str(script)], capture_output=True, text=True, timeout=60, check=False
        )
        assert "function calls" in done.stdout
        return
    done = python(TELLS_OF_ITS_END + before + "leave(3)", *flags)
    assert (done.returncode, done.stdout) == (3, "taken apart")


def test_a_callback_that_fails_is_told_and_the_end_goes_on() -> None:
    done = python(
        "import atexit\natexit.register(print, 'the next')\natexit.register(lambda: 1 / 0)\nleave(0)"
    )
    assert (done.returncode, done.stdout) == (0, "the next\n")
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_output_that_nobody_takes_makes_the_exit_code_a_failure() -> None:
    with open("/dev/full", "w") as full:
        done = python("print('lost')\nleave(0)", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 120
