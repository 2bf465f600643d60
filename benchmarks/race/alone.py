"""The measures of reliq alone: what waits, what memory does, what fifty idle workers cost, what SIGKILL does to it."""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks import tally
from benchmarks.race.kills import Plan, under_kills
from benchmarks.race.programs import Program
from benchmarks.race.rig import Rig
from benchmarks.race.sides import Side
from reliq.testing.faults.processes import cpu_seconds, memory


def waiting(rig: Rig, side: Side) -> None:
    """The drain, and the memory of a worker, while none and while very many messages wait until they are due."""
    settings = rig.settings
    for waits, name in ((0, "none waits"), (settings.waiting, "many wait")):
        with rig.measuring():
            if waits:
                empty = rig.server.memory()
                rig.add("publish ahead in bulk", side, "/s", rig.produce(side, "ahead", waits, 3600)["rate"])
                rig.add("server, per waiting message", side, "B", (rig.server.memory() - empty) / waits)
            rig.produce(side, "publish", "no_op", settings.messages, settings.batch)
            with rig.working(side) as workers:
                rig.await_runs(settings.messages, workers)
                time.sleep(1.0)
                resident = sum(memory(process.pid)[0] for process in workers[0].tree())
            check_empty(rig, side, due=waits)
            rig.add(f"drain, {name}", side, "/s", tally.rate(rig.folder))
            rig.add(f"memory of a worker, {name}", side, "MB", resident / 1e6)


def growth(rig: Rig, side: Side) -> None:
    """The memory of a child that waits, and of the same one after very many tasks."""
    settings = rig.settings
    with rig.measuring(), rig.working(side) as (worker,):
        rig.produce(side, "warm_worker")
        time.sleep(1.0)
        child = max(
            (process.pid for process in worker.tree() if process.pid != worker.pid),
            key=lambda pid: memory(pid)[0],
        )
        before = memory(child)[0]
        rig.produce(side, "publish", "no_op", settings.many, settings.batch)
        rig.await_runs(settings.many, [worker])
        time.sleep(1.0)
        rig.add("memory of an idle child", side, "MB", before / 1e6)
        rig.add("memory of a child, more after many tasks", side, "MB", (memory(child)[0] - before) / 1e6)


def idle(rig: Rig, side: Side) -> None:
    """What many idle workers send, receive and make the server do."""
    settings = rig.settings
    if settings.reliq_on != "redis":
        return
    with rig.measuring(), ExitStack() as stack:
        workers = [stack.enter_context(rig.working(side))[0] for _ in range(settings.idle_workers)]
        _await_all(rig, workers)
        trees = [process for worker in workers for process in worker.tree()]
        before, spent, begun = rig.server.use(), cpu_seconds(trees), time.monotonic()
        time.sleep(settings.idle_seconds)
        after, seconds = rig.server.use(), time.monotonic() - begun
        spent = cpu_seconds(trees) - spent
        for worker in workers:
            worker.ask_to_stop()
    number = len(workers)
    rig.add("idle workers, each", side, "KB/s", (after.bytes - before.bytes) / seconds / number / 1000)
    rig.add("idle workers, the server", side, "% of a core", (after.cpu - before.cpu) / seconds * 100)
    rig.add("idle workers, each of them", side, "% of a core", spent / seconds / number * 100)


def faults(rig: Rig, side: Side) -> None:
    """SIGKILL for workers with the settings that were timed: what is fast must also be whole."""
    plan = Plan(tasks=rig.settings.fault_tasks, kills=8, seed=rig.settings.seed)
    found = under_kills(rig, side, plan)
    rig.add("lost under SIGKILL", side, "tasks", found.lost)
    rig.add("run twice under SIGKILL", side, "tasks", found.duplicated)
    rig.add("rules broken under SIGKILL", side, "", len(found.broken))


def check_empty(rig: Rig, side: Side, *, due: int = 0) -> None:
    """`RuntimeError` when reliq's broker says that something is left besides what is due later."""
    if side.name != "reliq":
        return
    left = rig.produce(side, "left")
    if left["ready"] or left["leased"] or left["due"] != due:
        raise RuntimeError(f"all messages ran, and the broker says {left}")


def _await_all(rig: Rig, workers: list[Program]) -> None:
    """Until all are connected and nobody has come for ten seconds."""
    seen, since, until = 0, time.monotonic(), time.monotonic() + 300
    while seen < len(workers) or time.monotonic() < since + 10:
        if dead := [worker for worker in workers if not worker.running]:
            raise RuntimeError(f"an idle worker died:\n{dead[0].tail()}")
        if time.monotonic() > until:
            raise RuntimeError(f"{seen} connections of {len(workers)} workers after five minutes")
        if (now := rig.server.clients()) != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.5)
