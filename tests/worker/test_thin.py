from __future__ import annotations

from typing import Any


def test_a_worker_runs_what_was_published_and_stops_when_told(place: Any, until: Any) -> None:
    worker = place.worker()
    handles = [place.task("quick").delay(n) for n in range(300)]
    until(lambda: all(h.ready() for h in handles))
    assert sorted(int(row[2]) for row in place.lines("quick")) == list(range(300))
    assert [h.get() for h in handles] == list(range(300))
    assert worker.stop(timeout=5) == 0
    assert place.engine.owners() == []
    assert place.engine.audit().balanced
