"""The measures that every side goes through, each on an empty server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import tally
from benchmarks.race import alone
from benchmarks.race.goals import IN_TURN
from benchmarks.race.known import PEERS as known_rates
from benchmarks.race.rig import Rig
from benchmarks.race.sides import Side, chosen
from reliq.testing.faults.processes import memory

SLICE = 250  # messages: about 30 ms, so that what disturbs one slice disturbs few


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure, and whom it is for; `once`: in the first round only, since it takes long or cannot vary."""

    run: Callable[[Rig, Side], None]
    of: Callable[[Side], bool]
    once: bool = False


def throughput(rig: Rig, side: Side) -> None:
    """Publish one by one, drain with one process; publish in bulk, drain with two."""
    number = _number(rig, side)
    with rig.measuring():
        before = rig.server.use().bytes
        rate = rig.produce(side, "publish", "no_op", number, 1)["rate"]
        rig.add("publish one by one", side, "/s", rate)
        published = rig.server.use().bytes
        rig.add("drain, 1 process", side, "/s", _drain(rig, side, number))
        drained = rig.server.use().bytes
    rig.add("bytes per task, publish", side, "B", (published - before) / number)
    rig.add("bytes per task, drain", side, "B", (drained - published) / number)
    rig.add("bytes per task", side, "B", (drained - before) / number)
    with rig.measuring():
        rate = rig.produce(side, "publish", "no_op", number, rig.settings.batch)["rate"]
        rig.add("publish in bulk", side, "/s", rate)
        rig.add("drain, 2 processes", side, "/s", _drain(rig, side, number, processes=2))


def in_turn(rig: Rig, side: Side) -> None:
    """Publish one by one, a slice by the bare loop and one by reliq in turn: minutes apart, their ratio is chance.

    Each slice is a sample, so that the ratio is the median of the slices' own ratios.
    """
    if rig.settings.reliq_on != "redis":
        return
    (bare,) = chosen("bare")
    slices = max(20, rig.settings.messages // SLICE)
    with rig.measuring():
        rates = rig.produce(side, "in_turn", bare.app, slices, SLICE)
    for own, other in zip(rates["own"], rates["other"], strict=True):
        rig.add(IN_TURN, side, "/s", own)
        rig.add(IN_TURN, bare, "/s", other)


def latency(rig: Rig, side: Side) -> None:
    """From the call that publishes to the first line of the task, on an idle worker; then that worker's memory."""
    settings = rig.settings
    with rig.measuring(), rig.working(side, start=side.waits) as workers:
        found = rig.produce(side, "latency", settings.samples, settings.pause, settings.seed)
        rig.add_percentiles("idle latency", side, found["latencies"])
        if side.waits is not None:
            return
        resident = sum(memory(process.pid)[0] for worker in workers for process in worker.tree())
        rig.add("memory of a worker", side, "MB", resident / 1e6)


def cpu(rig: Rig, side: Side) -> None:
    """Tasks that use a millisecond of processor time each, two at once; bare: two processes that do nothing else."""
    number = rig.settings.burns
    with rig.measuring():
        if side.burns is None:
            rig.produce(side, "publish", "burn", number, rig.settings.batch)
            rate = _drain(rig, side, number, processes=2)
        else:
            with rig.working(side, processes=2, start=side.burns) as workers:
                rig.await_runs(number, workers)
            rate = tally.rate(rig.folder)
        rig.add("1 ms of CPU, 2 processes", side, "/s", rate)


def lateness(rig: Rig, side: Side) -> None:
    """By how much tasks start after they were due, on an idle worker and while another queue keeps it busy."""
    settings = rig.settings
    with rig.measuring(), rig.working(side):
        rig.produce(side, "warm_worker")
        found = rig.produce(side, "schedule", settings.due, settings.due_in)
        rig.add_percentiles("lateness", side, found["lateness"])
    if side.busy is not None:
        _lateness_while_busy(rig, side)


def _lateness_while_busy(rig: Rig, side: Side) -> None:
    """The other queue holds no-op messages for as long as this takes; the worker takes from both."""
    settings = rig.settings
    with rig.measuring():
        flood = round(_drain_rate(rig, side) * (settings.due_in + 7))
        rig.produce(side, "busy", flood)
        with rig.working(side, more=side.busy or ()) as workers:
            found = rig.produce(side, "schedule", settings.due, settings.due_in)
            dry = not workers[0].running or sum(share.runs for share in tally.shares(rig.folder)) >= flood
    if dry:
        raise RuntimeError(f"{flood} messages in the other queue were not enough to keep it busy")
    rig.add_percentiles("lateness while busy", side, found["lateness"])


def _drain_rate(rig: Rig, side: Side) -> float:
    """As measured in this run, or as known."""
    known = known_rates.get(side.name, {}).get("drain, 1 process", 120_000)
    return rig.figures.get(f"drain, 1 process, {side.name}") or known


def variants(rig: Rig, side: Side) -> None:
    """The drain of one process with results kept, with a kilobyte of arguments, and with eight threads."""
    number = _number(rig, side)
    for what, name, environment in (
        ("results on", "no_op", {"BENCH_RESULTS": "on"}),
        ("1 KB arguments", "kilobyte", {}),
    ):
        with rig.measuring(**environment):
            rig.produce(side, "publish", name, number, rig.settings.batch)
            rig.add(f"drain, {what}", side, "/s", _drain(rig, side, number))
    if not side.peer:
        with rig.measuring():
            rig.produce(side, "publish", "no_op", number, rig.settings.batch)
            rig.add("drain, 8 threads", side, "/s", _drain(rig, side, number, threads=8))


def _number(rig: Rig, side: Side) -> int:
    return max(100, round(rig.settings.messages * side.share))


def _drain(rig: Rig, side: Side, number: int, *, processes: int = 1, threads: int = 1) -> float:
    """Messages per second from the first end to the last."""
    with rig.working(side, processes=processes, threads=threads) as workers:
        rig.await_runs(number, workers)
        time.sleep(0.1)  # the last settlements
    runs = sum(share.runs for share in tally.shares(rig.folder))
    if not side.peer and runs != number:
        raise RuntimeError(f"{side.name}: {runs} runs of {number} messages: this was not an undisturbed run")
    alone.check_empty(rig, side)
    return tally.rate(rig.folder)


def _reliq(side: Side) -> bool:
    return side.name == "reliq"


MEASURES: dict[str, Measure] = {
    "throughput": Measure(throughput, lambda side: True),
    "publish": Measure(in_turn, _reliq),
    "latency": Measure(latency, lambda side: True),
    "cpu": Measure(cpu, lambda side: True),
    "lateness": Measure(lateness, lambda side: side.later),
    "variants": Measure(variants, lambda side: side.variants),
    "waiting": Measure(alone.waiting, _reliq),
    "memory": Measure(alone.growth, _reliq, once=True),
    "idle": Measure(alone.idle, _reliq, once=True),
    "faults": Measure(alone.faults, _reliq, once=True),
}
