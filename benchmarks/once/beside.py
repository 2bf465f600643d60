"""reliq's locks beside celery-once's: how fast calls are accepted and refused, and how fast they are done."""

from __future__ import annotations

import time

from benchmarks import tally
from benchmarks.once.produce import produce
from benchmarks.race.rig import Rig
from benchmarks.race.sides import Side


def beside(rig: Rig, side: Side, messages: int) -> None:
    """One round of one side: publish all, publish all again, drain, and see what is left."""
    with rig.measuring():
        rig.add("publish, unique", side, "/s", produce(rig, side, "unique", messages)["rate"])
        rig.add("publish, duplicate", side, "/s", produce(rig, side, "duplicate", messages)["rate"])
        with rig.working(side) as workers:
            rig.await_runs(messages, workers)
            time.sleep(0.5)  # the last settlements
        runs = sum(share.runs for share in tally.shares(rig.folder))
        if runs != messages:
            raise RuntimeError(f"{side.name}: {runs} runs of {messages} messages")
        rig.add("drain", side, "/s", tally.rate(rig.folder))
        rig.add("locks left after it", side, "", produce(rig, side, "locks")["locks"])
