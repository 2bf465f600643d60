"""The end of a process: what the interpreter would do is done, but for taking itself apart."""

from __future__ import annotations

import bz2
import dbm.dumb
import gzip
import lzma
import os
import shelve
import subprocess
import sys
import zipfile
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


def test_files_that_the_collector_no_longer_looks_at_are_flushed_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    python(f"import gc\nfile = open({str(path)!r}, 'w')\nfile.write('line')\ngc.freeze()\nleave(0)")
    assert path.read_text() == "line"


def test_what_is_broken_without_its_end_gets_one(tmp_path: Path) -> None:
    done = python(
        """
import bz2, dbm.dumb, gzip, lzma, shelve, tempfile, zipfile
shelf = shelve.Shelf(dbm.dumb.open("shelf", "n"), writeback=True)
shelf["key"] = [1]
shelf["key"].append(2)
into = open("fileobj.gz", "wb")
files = [gzip.open("text.gz", "wt"), bz2.open("text.bz2", "wt"), lzma.open("text.xz", "wt"),
         gzip.open(into, "wt")]
for file in files:
    file.write("text")
pack = zipfile.ZipFile("pack.zip", "w")
pack.writestr("name", "text")
file = tempfile.NamedTemporaryFile(dir=".", prefix="temporary")
leave(0)
""",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for opened, name in ((gzip, "text.gz"), (bz2, "text.bz2"), (lzma, "text.xz"), (gzip, "fileobj.gz")):
        with opened.open(tmp_path / name, "rt") as file:
            assert file.read() == "text"
    with zipfile.ZipFile(tmp_path / "pack.zip") as pack:
        assert pack.read("name") == b"text"
    with shelve.Shelf(dbm.dumb.open(str(tmp_path / "shelf"))) as shelf:
        assert shelf["key"] == [1, 2]
    assert not list(tmp_path.glob("temporary*"))


def test_a_file_that_ends_the_process_when_it_is_flushed_does_not_change_how_it_ends() -> None:
    done = python(
        "import io, sys\nclass File(io.RawIOBase):\n    def flush(self): sys.exit(9)\n"
        "file = File()\nprint('out')\nleave(0)"
    )
    assert (done.returncode, done.stdout) == (0, "out\n")


@pytest.mark.parametrize(
    ("stays", "named"),
    [
        ("threading.Thread(target=stays, name='the consumer').start()", "thread 'the consumer'"),
        ("ThreadPoolExecutor(1, 'the pool').submit(stays)", "thread 'the pool_0'"),
        ("atexit.register(stays)", "stays (<string>:"),
        ("atexit.register(Lock().__enter__)", "a callback of atexit that is not written in Python"),
    ],
    ids=["thread", "pool", "callback", "callback in C"],
)
def test_what_does_not_end_in_time_is_cut_off_by_name_and_nothing_that_was_written_is_lost(
    tmp_path: Path, stays: str, named: str
) -> None:
    done = python(
        f"""
import atexit, threading
from concurrent.futures import ThreadPoolExecutor

def Lock():
    lock = threading.Lock()
    lock.acquire()
    return lock

def stays():
    print("from it")
    Lock().acquire()

file = open({str(tmp_path / "file")!r}, "w")
file.write("line")
print("from the task")
{stays}
leave(0, within=0.2)
"""
    )
    assert done.returncode == 0
    assert named in done.stderr and "did not end within 0.2 s" in done.stderr
    said_more = [] if "Lock" in stays else ["from it"]
    assert sorted(done.stdout.splitlines()) == [*said_more, "from the task"]
    assert (tmp_path / "file").read_text() == "line"


def test_what_was_printed_is_out_before_anything_is_waited_for() -> None:
    """Whoever waits for this process may lose patience and kill it."""
    code = """
import atexit, os, sys
def waits():
    os.write(2, b"waits")
    sys.stdin.read()
atexit.register(waits)
print("line")
leave(0)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVE + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name not in CHANGES_THE_END},
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stderr.read(5) == b"waits"
        process.kill()
        assert process.stdout.read() == b"line\n"
