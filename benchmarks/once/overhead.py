"""What a lock, and a lock with an idempotency record, add to a drain: without, with, with both, in turn."""

from __future__ import annotations

import time

from benchmarks import tally
from benchmarks.once.produce import produce
from benchmarks.once.sides import VARIANTS, reliq
from benchmarks.race.rig import Rig
from reliq.testing.faults.processes import cpu_seconds


def overhead(rig: Rig, messages: int, batch: int) -> None:
    """One round of all variants, each on an empty server, with one process."""
    for variant in VARIANTS:
        side = reliq(variant)
        with rig.measuring():
            rig.add("publish in bulk", side, "/s", produce(rig, side, "fill", messages, batch)["rate"])
            with rig.working(side) as (worker,):
                _await_first(rig)
                tree = worker.tree()
                before, spent = rig.server.use().cpu, cpu_seconds(tree)
                started = sum(share.runs for share in tally.shares(rig.folder))
                rig.await_runs(messages, [worker])
                server, workers = rig.server.use().cpu - before, cpu_seconds(tree) - spent
                time.sleep(0.1)  # the last settlements
            shares = tally.shares(rig.folder)
            runs = sum(share.runs for share in shares)
            left = produce(rig, side, "left")
            standing = produce(rig, side, "locks")["locks"]
            if runs != messages or left["ready"] or left["leased"] or left["due"] or standing:
                raise RuntimeError(f"{variant}: {runs} runs of {messages}, {left}, {standing} locks are left")
            rate = tally.rate(rig.folder)
            rig.add("drain", side, "/s", rate)
            rig.figures.add(f"drain, time, {variant}", "us/message", 1e6 / rate)
            rig.add("drain, CPU of the worker", side, "us/message", workers / (messages - started) * 1e6)
            rig.add("drain, CPU of the server", side, "us/message", server / (messages - started) * 1e6)


def _await_first(rig: Rig) -> None:
    until = time.monotonic() + 60
    while not sum(share.runs for share in tally.shares(rig.folder)):
        if time.monotonic() > until:
            raise RuntimeError("no task ran within a minute")
        time.sleep(0.002)
