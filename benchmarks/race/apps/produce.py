"""Sends messages for one side, in a process and an environment of its own, and prints what it measured as JSON.

python -m benchmarks.race.apps.produce SIDE publish NAME NUMBER PER
                                            in_turn OTHER SLICES NUMBER
                                            latency SAMPLES PAUSE SEED
                                            schedule NUMBER DELAY
                                            journal NUMBER SECONDS
                                            ahead NUMBER DELAY | busy NUMBER | warm_worker | left
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from time import monotonic
from typing import Any

from benchmarks.race.apps import work
from benchmarks.race.apps.notes import open_journal

_PATIENCE = 120.0
_WARM_UP = 10


async def publish(app: Any, name: str, number: str, per: str) -> dict[str, Any]:
    """Messages per second, `per` at once."""
    count, batch, args = int(number), int(per), work.ARGUMENTS[name]
    if not asyncio.iscoroutinefunction(app.send):
        return {"rate": count / _publish(app, name, args, count, batch)}
    begun = monotonic()
    if batch == 1:
        for _ in range(count):
            await app.send(name, args)
    else:
        for start in range(0, count, batch):
            await app.send_many(name, [args] * min(batch, count - start))
    return {"rate": count / (monotonic() - begun)}


def _publish(app: Any, name: str, args: tuple[object, ...], count: int, batch: int) -> float:
    begun = monotonic()
    if batch == 1:
        send = app.send
        for _ in range(count):
            send(name, args)
    else:
        for start in range(0, count, batch):
            app.send_many(name, [args] * min(batch, count - start))
    return monotonic() - begun


async def in_turn(app: Any, other: str, slices: str, number: str) -> dict[str, Any]:
    """Messages per second one by one: this side and another in turn, slice after slice, each first every other time.

    What slows the machine down for longer than a slice takes slows both down.
    """
    sides = {"own": app, "other": import_module(f"benchmarks.race.apps.{other}")}
    sides["other"].warm()
    rates: dict[str, list[float]] = {"own": [], "other": []}
    for _ in range(int(slices)):
        for name, side in sides.items():
            rates[name].append(int(number) / _publish(side, "no_op", (), int(number), 1))
        sides = dict(reversed(sides.items()))
    return rates


async def ahead(app: Any, number: str, delay: str) -> dict[str, Any]:
    """Publish messages that are due in `delay` seconds, in bulk where the side can."""
    count, begun = int(number), monotonic()
    many = getattr(app, "send_many_ahead", None)
    if many is not None:
        for start in range(0, count, 1000):
            await _done(many("no_op", [()] * min(1000, count - start), delay=float(delay)))
    else:
        for _ in range(count):
            await _done(app.send("no_op", (), delay=float(delay)))
    return {"rate": count / (monotonic() - begun)}


async def busy(app: Any, number: str) -> dict[str, Any]:
    """Fill the other queue."""
    for _ in range(0, int(number), 100):
        await _done(app.send_many("no_op", [()] * 100, queue=work.BUSY))
    return {}


async def latency(app: Any, samples: str, pause: str, seed: str) -> dict[str, Any]:
    """Seconds from the call that publishes to the first line of the task, each after a pause.

    The pauses are drawn from half to one and a half times the mean, so that no one's polling keeps step with them.
    The first samples wait for the worker to start and are not told.
    """
    dice, stamps, found = random.Random(int(seed)), work.open_stamps(), []
    for number in range(int(samples) + _WARM_UP):
        await asyncio.sleep(dice.uniform(0.5, 1.5) * float(pause))
        stamps.cells[number] = 0.0
        begun = monotonic()
        await _done(app.send("stamp", (number,)))
        found.append(await _await_stamp(number) - begun)
    return {"latencies": found[_WARM_UP:]}


async def warm_worker(app: Any) -> dict[str, Any]:
    """Return once a worker has run a task."""
    await _done(app.send("stamp", (work.SAMPLES - 1,)))
    await _await_stamp(work.SAMPLES - 1)
    return {}


async def schedule(app: Any, number: str, delay: str) -> dict[str, Any]:
    """Seconds by which each task started after it was due; a message is due `delay` after its publish began."""
    due = []
    for index in range(int(number)):
        due.append(monotonic() + float(delay))
        await _done(app.send("stamp", (index,), delay=float(delay)))
    return {"lateness": [await _await_stamp(index) - moment for index, moment in enumerate(due)]}


async def left(app: Any) -> dict[str, Any]:
    """What the side's own broker says is left."""
    return dict(app.left())


async def journal(app: Any, number: str, seconds: str) -> dict[str, Any]:
    """Publish tasks that take so long and note it, noting each before and after."""
    notes = open_journal()
    for index in range(int(number)):
        key = f"journal-{index}"
        notes.note("attempted", key)
        await _done(app.send("journal", (key, float(seconds))))
        notes.note("confirmed", key)
    return {}


async def _done(answer: Any) -> Any:
    return await answer if isinstance(answer, Awaitable) else answer


async def _await_stamp(index: int) -> float:
    cells, until = work.open_stamps().cells, monotonic() + _PATIENCE
    while not (moment := cells[index]):
        if monotonic() > until:
            raise TimeoutError(f"task {index} had not run after {_PATIENCE:.0f} s")
        await asyncio.sleep(0.001)
    return float(moment)


COMMANDS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    function.__name__: function
    for function in (publish, in_turn, ahead, busy, latency, warm_worker, schedule, journal, left)
}


async def _run(side: str, command: str, *arguments: str) -> None:
    app = import_module(f"benchmarks.race.apps.{side}")
    if hasattr(app, "warm"):
        await _done(app.warm())
    try:
        print(json.dumps(await COMMANDS[command](app, *arguments)))
    finally:
        if hasattr(app, "close"):
            await _done(app.close())


if __name__ == "__main__":
    try:
        from uvloop import run  # where a side's environment has it, for its worker takes it too
    except ImportError:
        from asyncio import run
    run(_run(*sys.argv[1:]))
