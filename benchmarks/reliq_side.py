"""reliq measured: publishing from this process, everything else with real `reliq worker` processes."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import tally
from benchmarks.reliq_app import build, open_stamps, task
from reliq import Reliq
from reliq.testing.faults.fleet import Worker
from reliq.testing.faults.processes import cpu_seconds, memory

_TIMEOUT = 300.0


@contextmanager
def opened(url: str) -> Iterator[Reliq]:
    app = build(url)
    try:
        yield app
    finally:
        app.close()


def publish(url: str, number: int, *, per: int) -> float:
    """Publish no-op messages, `per` at once; messages per second."""
    with opened(url) as app:
        no_op = task(app, "no_op")
        app.broker.audit()  # opens the broker: that is not part of a publish
        begun = time.monotonic()
        if per == 1:
            for _ in range(number):
                no_op.delay()
        else:
            for start in range(0, number, per):
                app.publish_many(no_op, [()] * min(per, number - start))
        return number / (time.monotonic() - begun)


def publish_due(url: str, number: int, *, seconds: float) -> None:
    """Publish messages that are due in so many seconds."""
    with opened(url) as app:
        no_op = task(app, "no_op")
        for start in range(0, number, 1000):
            app.publish_many(no_op, [()] * min(1000, number - start), countdown=seconds)


@contextmanager
def worker(url: str, folder: Path, *, processes: int = 1) -> Iterator[Worker]:
    """A running `reliq worker`; its tasks note their runs in `folder`."""
    folder.mkdir(exist_ok=True)
    environment = {"RELIQ_BROKER": url, tally.FOLDER: str(folder), tally.TOGETHER: str(processes)}
    arguments = ["-A", "benchmarks.reliq_app:app", "-c", str(processes), "-l", "warning"]
    started = Worker(arguments, log=folder / "worker.log", environment=environment)
    try:
        yield started
    finally:
        started.stop()


def drain(
    url: str, number: int, folder: Path, *, processes: int = 1, waiting: int = 0
) -> tuple[float, float]:
    """Messages per second from the first end to the last, and the largest share of one process.

    waiting  so many others are due later
    """
    with worker(url, folder, processes=processes):
        tally.await_count(folder, number, _TIMEOUT)
    counts = [share.runs for share in tally.shares(folder)]
    if sum(counts) != number:
        raise RuntimeError(f"{sum(counts)} runs of {number} messages: this was not an undisturbed run")
    with opened(url) as app:
        states = app.broker.audit().states
    if states["ready"] or states["leased"] or states["due"] != waiting:
        raise RuntimeError(f"{number} messages ran, the broker says {dict(states)}")
    return tally.rate(folder), max(counts) / number


def idle_latencies(url: str, folder: Path, *, samples: int, pause: float, seed: int) -> list[float]:
    """Seconds from the call of `delay` to the task's first line, each after a random pause of up to `pause`."""
    dice = random.Random(seed)
    folder.mkdir()
    stamps = open_stamps(folder)
    with opened(url) as app, worker(url, folder):
        stamp = task(app, "stamp")
        latencies = []
        for index in range(-5, samples):  # the first ones wait for the worker to start, and warm it up
            time.sleep(dice.uniform(0.2, 1.0) * pause)
            slot = index % samples
            stamps.cells[slot] = 0.0
            begun = time.monotonic()
            stamp.delay(slot)
            latencies.append(_await_stamp(stamps, slot) - begun)
        return latencies[5:]


class Idle(NamedTuple):
    """What an idle worker costs: cores, and bytes."""

    cores: float  # of the whole tree
    child: int  # resident
    child_pss: int  # proportional: shared pages are divided by their users
    tree: int  # resident, parent and child


def idle_use(url: str, folder: Path, *, seconds: float) -> Idle:
    """Measure a worker with one child that has run one task and waits for others."""
    folder.mkdir()
    stamps = open_stamps(folder)
    with opened(url) as app, worker(url, folder) as running:
        task(app, "stamp").delay(0)
        _await_stamp(stamps, 0)
        time.sleep(1.0)
        processes = running.tree()
        before = cpu_seconds(processes)
        time.sleep(seconds)
        cores = (cpu_seconds(processes) - before) / seconds
        sizes = {p.pid: memory(p.pid) for p in processes}
        child, child_pss = max(size for pid, size in sizes.items() if pid != running.pid)
        return Idle(cores, child, child_pss, sum(resident for resident, _ in sizes.values()))


def nap_together(url: str, folder: Path, *, number: int) -> float:
    """Seconds from the publish of `number` async tasks of one second each to the end of the last, in one child."""
    folder.mkdir()
    stamps = open_stamps(folder)
    with opened(url) as app, worker(url, folder):
        task(app, "stamp").delay(number)
        _await_stamp(stamps, number)
        begun = time.monotonic()
        app.publish_many(task(app, "nap"), [(index,) for index in range(number)])
        return max(_await_stamp(stamps, index) for index in range(number)) - begun


def import_time() -> float:
    """Seconds that `import reliq` takes in a fresh interpreter."""
    code = "import time; t = time.perf_counter(); import reliq; print(time.perf_counter() - t)"
    return float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )


def help_time() -> float:
    """Seconds that `reliq --help` takes, the interpreter's start included."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "reliq", "--help"], capture_output=True, check=True)
    return time.perf_counter() - begun


def durability(url: str) -> str:
    with opened(url) as app:
        return app.broker.capabilities.durability


def _await_stamp(stamps: tally.Stamps, index: int) -> float:
    until = time.monotonic() + _TIMEOUT
    while not (moment := stamps.cells[index]):
        if time.monotonic() > until:
            raise TimeoutError(f"task {index} had not run after {_TIMEOUT:.0f} s")
        time.sleep(0.0005)
    return float(moment)
