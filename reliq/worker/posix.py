"""What the worker needs of the operating system, in one place."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial

if sys.platform != "win32":
    import fcntl

_PR_SET_PDEATHSIG = 1
# membarrier(2): its number, and what it is asked for; elsewhere, or on another processor, there is none.
_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283}
_GLOBAL_EXPEDITED, _REGISTER_GLOBAL_EXPEDITED = 2, 4
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def boottime() -> float:
    """Seconds on a clock that goes on while the machine is suspended."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":  # Darwin's CLOCK_MONOTONIC counts sleep, its mach_absolute_time does not
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()


def die_with_parent(parent: int) -> bool:
    """Have the kernel kill this process when `parent` dies; False: it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return sys.platform == "win32" or os.getppid() == parent


def end_with(fd: int) -> None:
    """Kill this process when the other end of a pipe is closed: whoever holds it has died, however."""
    os.set_inheritable(fd, False)

    def watch() -> None:
        while os.read(fd, 64):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="reliq-tether", daemon=True).start()


def is_dead(pid: int) -> bool:
    """Whether a child has died; it stays a zombie, so that its id and its group's cannot be another's yet."""
    if not hasattr(os, "waitid"):
        return False  # the caller's own waitpid tells
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def kill_group(pid: int) -> None:
    """SIGKILL the process group that `pid` leads, and `pid`."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def resident() -> int:
    """The resident memory of this process in bytes."""
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def follow_order() -> bool:
    """Take part in `order_memory`, whoever calls it, from now on; False: this system has no such thing."""
    return _membarrier(_REGISTER_GLOBAL_EXPEDITED) == 0


def order_memory() -> None:
    """What processes that take part wrote before is seen after this, and what is written before, by them after it.

    A processor may keep a write to itself for a moment and read on.  https://man7.org/linux/man-pages/man2/membarrier.2.html
    """
    if _membarrier(_GLOBAL_EXPEDITED) != 0:
        raise OSError("membarrier was refused after it had been allowed")


def _membarrier(command: int) -> int:
    number = _MEMBARRIER.get(platform.machine())
    if sys.platform != "linux" or number is None or sys.maxsize < 1 << 32:
        return -1
    return int(ctypes.CDLL(None).syscall(number, command, 0, 0))


def shared_file(size: int) -> int:
    """A file without a name, for memory shared with a child: its descriptor."""
    if sys.platform == "linux":
        fd = os.memfd_create("reliq-board", os.MFD_CLOEXEC)
    else:
        file, path = tempfile.mkstemp(prefix="reliq-board-")
        os.unlink(path)
        fd = file
    os.ftruncate(fd, size)
    return fd


class RecordLock:
    """A POSIX record lock on the first byte of a file: between processes only, freed by the kernel at death.

    It vanishes when the process closes any descriptor of the file, so nobody may until the end.  `fd` None: a lock
    that is never in the way.  `acquire` and `release` are bound calls, a Python frame less: where there is no
    membarrier(2), each start makes both.
    """

    __slots__ = ("_fd", "acquire", "release")

    acquire: Callable[[], object]
    release: Callable[[], object]

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        if sys.platform == "win32" or fd is None:
            self.acquire = self.release = bool
        else:
            self.acquire = partial(fcntl.lockf, fd, fcntl.LOCK_EX, 1)
            self.release = partial(fcntl.lockf, fd, fcntl.LOCK_UN, 1)

    def try_acquire(self, timeout: float) -> bool:
        """False when the other side kept it for `timeout` seconds: it is stopped in the middle of a transition."""
        if sys.platform == "win32" or self._fd is None:
            return True
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
                return True
            except OSError:
                if time.monotonic() >= end:
                    return False
                time.sleep(0.001)
