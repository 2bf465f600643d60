"""The app of the kill test: many calls of few keys, workers that are killed, and one line for each run."""

from __future__ import annotations

import os
import time

from reliq import Reliq
from reliq_once import QueueOnce

app = Reliq("once_fleet", broker=os.environ["ONCE_FLEET_BROKER"], lease=2.0)


@app.task(base=QueueOnce, once={"keys": ["n"], "graceful": True}, max_crashes=50)
def work(n: int, load: float = 0.0) -> int:
    if load:
        time.sleep(load)
    return n
