from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reliq.worker import posix


def test_memory_is_shared_through_an_unlinked_file_where_there_is_no_memfd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posix.sys, "platform", "darwin")
    fd = posix.shared_file(4096)
    monkeypatch.undo()
    assert os.fstat(fd).st_size == 4096
    assert os.fstat(fd).st_nlink == 0
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_dead_child_keeps_its_id_until_it_is_waited_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not posix.is_dead(process.pid)
    assert process.stdin is not None
    process.stdin.close()
    while not posix.is_dead(process.pid):
        pass
    os.kill(process.pid, 0)
    assert process.wait() == 1
    assert posix.is_dead(process.pid)


def test_killing_a_group_reaches_what_a_process_has_started() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stdout is not None
    with process.stdout as lines:
        lines.readline()
        posix.kill_group(process.pid)
        assert process.wait() == -9
        assert lines.read() == ""  # the grandchild held the pipe: its end is the grandchild's


def test_the_clock_that_counts_suspension_runs() -> None:
    first = posix.boottime()
    assert posix.boottime() >= first > 0
    assert posix.resident() > 1_000_000
