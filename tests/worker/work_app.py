"""The app whose workers the tests start; tasks write lines `name event pid argument` into a journal."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from remote import RemoteEngine

from reliq.app import Reliq
from reliq.errors import BrokerUnavailable
from reliq.middleware import Middleware
from reliq.plugins import open_engine

JOURNAL = os.environ["RELIQ_TEST_JOURNAL"]


def note(event: str, what: object) -> None:
    fd = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{event} {os.getpid()} {what}\n".encode())
    os.close(fd)


class Ticking:
    name = "ticking"

    def tick(self) -> float:
        note("tick", "-")
        return 0.05

    def stop(self) -> None:
        pass


class Broken(Ticking):
    name = "broken"

    def tick(self) -> float:
        raise RuntimeError("broken on purpose")


class Notes(Middleware):
    def services(self) -> list[Any]:
        return [Broken(), Ticking()]

    def startup(self, worker: Any) -> None:
        if os.environ.get("RELIQ_TEST_BREAK") == "slow startup":
            time.sleep(1.5)
        note("startup", worker.owner)

    def shutdown(self, worker: Any) -> None:
        note("shutdown", worker.owner)


app = Reliq("worktest", broker="memory://", middleware=[Notes()])
if url := os.environ.get("RELIQ_TEST_BROKER"):
    app.use_engine(open_engine(url, app="work"), app.clock)
else:
    app.use_engine(RemoteEngine(os.environ["RELIQ_TEST_SOCKET"]), app.clock)
if os.environ.get("RELIQ_TEST_BREAK") == "import" and "reliq.worker.child" in sys.orig_argv:
    raise RuntimeError("this import is broken on purpose")
if os.environ.get("RELIQ_TEST_BREAK") == "slow import" and "reliq.worker.child" in sys.orig_argv:
    time.sleep(1.5)


@app.task
def quick(n: int) -> int:
    note("quick", n)
    return n


@app.task
def noop() -> None:
    pass


@app.task
def nap(seconds: float, name: str) -> str:
    note("begin", name)
    time.sleep(seconds)
    note("end", name)
    return name


@app.task(soft_time_limit=0.3, time_limit=20)
def soft_sleep() -> None:
    note("begin", "sleep")
    time.sleep(30)


@app.task(soft_time_limit=0.3, time_limit=20)
def soft_socket() -> None:
    ours, _theirs = socket.socketpair()
    ours.recv(1)


@app.task(soft_time_limit=0.3, time_limit=20)
def soft_loop() -> None:
    while True:
        pass


@app.task(soft_time_limit=0.3, time_limit=20)
async def soft_async() -> None:
    await asyncio.sleep(30)


@app.task(time_limit=0.5)
def hard(name: str) -> None:
    note("begin", name)
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(30)


@app.task
def hog(seconds: float) -> None:
    """Holds the GIL all the time: PyDLL does not release it around the call."""
    note("begin", "hog")
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    note("end", "hog")


@app.task
async def anap(seconds: float) -> None:
    await asyncio.sleep(seconds)


@app.task
async def anap_named(seconds: float, name: str) -> None:
    note("begin", name)
    await asyncio.sleep(seconds)
    note("end", name)


@app.task
async def ends_the_loop(how: str) -> None:
    async def part() -> None:
        sys.exit(3)

    if how == "exit":
        await asyncio.gather(part())
    asyncio.get_running_loop().stop()


@app.task
async def blocks_the_loop(seconds: float, name: str) -> None:
    note("begin", name)
    time.sleep(seconds)  # noqa: ASYNC251 - this is its purpose
    note("end", name)


@app.task
def cuts_the_connection(name: str) -> None:
    note("begin", name)

    def claim(*args: Any, **kwargs: Any) -> Any:
        raise BrokerUnavailable("cut on purpose")

    app.broker.claim = app.broker.settle = claim  # type: ignore[method-assign]


@app.task
def returns_twice() -> None:
    note("returns", os.fork())


@app.task
def leaves_an_alarm(how: str) -> None:
    def late(*args: object) -> None:
        raise KeyError("late")

    signal.signal(signal.SIGALRM, late if how == "handler" else signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.3)


@app.task
def grandchild(seconds: float) -> None:
    """Starts a process in a session of its own, which keeps all our descriptors, then dies."""
    note("begin", "grandchild")
    child = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep({seconds})"], start_new_session=True, close_fds=False
    )
    note("left", child.pid)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def poison(how: str, name: str) -> None:
    note("poison", name)
    if how == "exit":
        os._exit(3)
    if how == "exit_0":
        os._exit(0)
    if how == "exec":
        os.execv("/bin/true", ["true"])
    if how == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def threads_seen() -> str:
    return threading.current_thread().name


@app.task
def stubborn(name: str) -> None:
    note("begin", name)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(60)
        except BaseException:
            note("refused", name)


@app.task
def forks() -> int | None:
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    process = context.Process(target=_sleep_on, args=(begun,))
    process.start()
    begun.wait(10)
    process.terminate()
    process.join(5)
    return process.exitcode


def _sleep_on(begun: Any) -> None:
    begun.set()
    time.sleep(60)


class _Lasting:
    """What takes its time when the interpreter takes itself apart."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __del__(self, sleep: Any = time.sleep) -> None:
        sleep(self.seconds)


@app.task
def lasts_long_in_memory(seconds: float) -> None:
    sys.lasting = _Lasting(seconds)  # type: ignore[attr-defined]
    atexit.register(note, "atexit", "-")


@app.task
def leaves_a_thread(prints: str) -> None:
    print(prints)
    threading.Thread(target=time.sleep, args=(60,), name="left behind").start()
