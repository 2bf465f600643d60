"""An app with tasks of every mode on a broker of its own, with workers of one run each."""

from __future__ import annotations

from typing import Any

from reliq import Reliq
from reliq.context import _current
from reliq.errors import GuardRefused
from reliq.ports import records
from reliq.testing import VirtualClock
from reliq.worker.runner import Runner
from reliq_once import AlreadyQueued, QueueOnce
from tests.plugins.repeating import Repeating

TTL = 100  # seconds
DELAY, MOST = 10, 25
MODES: dict[str, dict[str, Any]] = {
    "done": {},
    "join": {"on_conflict": "join"},
    "drop": {"graceful": True},
    "start": {"until": "start"},
    "relock": {"until": "start", "relock_on_retry": True},
    "expiry": {"until": "expiry"},
    "hold": {"hold_on_failure": True},
    "replace": {"on_conflict": "replace"},
    "debounce": {"debounce": (DELAY, MOST)},
    "rerun": {"on_conflict": "rerun"},
    "two": {"while_running": 2},
    "one": {"while_running": 1, "on_busy": "drop"},
}


class World:
    """What is done to it is told to all worlds alike."""

    def __init__(self, name: str, clock: VirtualClock) -> None:
        self.name = name
        self.engine = Repeating()
        self.app = Reliq("walk", broker="memory://", max_snooze=1e9, max_crashes=2)
        self.app.use_engine(self.engine, clock)  # type: ignore[arg-type]
        for mode, once in MODES.items():
            options = {"keys": ["k"], "timeout": TTL, **once}
            self.app.task(name=mode, base=QueueOnce, once=options, max_retries=None)(lambda k, n: None)
        self.runner = Runner(self.app)
        self.runs: dict[str, tuple[Any, str]] = {}  # message -> its job and its worker
        self.sent: list[Any] = []  # settlements, for those that are sent again much later

    def begin_anew(self, engine: Any) -> None:
        """On an empty broker."""
        self.engine.engine, self.engine.losing = engine, False
        self.runs.clear()
        self.sent.clear()

    def call(
        self, mode: str, key: int, id: str, inside: str | None, expires: float | None
    ) -> tuple[Any, ...]:
        token = _current.set(self.runs[inside][0].ctx) if inside else None
        try:
            handle = self.app.tasks[mode].apply_async((key, id), task_id=id, expires=expires)
        except AlreadyQueued as error:
            return ("refused", error.existing_id, error.state, error.countdown)
        finally:
            if token is not None:
                _current.reset(token)
        if handle.rejected:
            return ("rejected", handle.existing_id)
        return ("accepted",) if handle.id == id else ("joined", handle.id)

    def claim(self, owner: str) -> Any:
        self.engine.register(owner, 1e9)
        claimed = self.engine.claim(owner, ["default"], limit=1, seq=1)
        return claimed.deliveries[0] if claimed.deliveries else None

    def begin(self, owner: str) -> tuple[Any, ...] | None:
        delivery = self.claim(owner)
        if delivery is None:
            return None
        job = self.runner.open(delivery)
        token = _current.set(job.ctx)
        try:
            early, job.entered = job.task.chain.enter(job.ctx)
        finally:
            _current.reset(token)
        if early is not None:
            self._settle(self.runner._conclude(job, None, early, False))
            return (job.ctx.id, repr(early))
        self.runs[job.ctx.id] = (job, owner)
        return (job.ctx.id, None)

    def leave(self, owner: str) -> str | None:
        """Claim, and die before the start."""
        delivery = self.claim(owner)
        self.engine.bury(owner, started=[])
        return None if delivery is None else str(delivery.receipt.id)

    def finish(self, id: str, verdict: Any) -> str:
        job, _ = self.runs.pop(id)
        return self._settle(self.runner._conclude(job, verdict, None))

    def _settle(self, settlement: Any) -> str:
        self.sent.append(settlement)
        return str(self.engine.settle([settlement])[0].status)

    def die(self, id: str) -> None:
        job, owner = self.runs.pop(id)
        self.engine.bury(owner, started=[job.delivery.receipt])

    def replay(self, id: str) -> Any:
        try:
            return self.engine.replay(id)
        except GuardRefused as refused:
            return refused.found.value.holder  # type: ignore[union-attr]

    def come_late(self, number: int) -> bool:
        """A settlement of long ago comes again, and a stranger lets go of all; whether that was refused."""
        answer = self.engine.settle([self.sent[number]])[0].status
        drops = [self.engine.store_drop(key, holder="a stranger") for key, _ in self.held()]
        return answer in ("stale", "repeated") and not any(drops)

    def held(self) -> list[tuple[str, Any]]:
        return [item for prefix in ("once:", "once-slot:") for item in sorted(records(self.engine, prefix))]

    def seen(self, ids: list[str]) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
        seen = {}
        for id in ids:
            r = self.engine.get(id)
            seen[id] = r and (r.state, r.reason, r.due, r.attempt, r.retries, r.snoozes, r.crashes, r.life)
        # Not the versions: a lapsed record that nobody has collected lives again with its holder, and counts on.
        keys = [(key, v.data, v.expires, v.holder) for key, v in sorted(records(self.engine, "once"))]
        return seen, keys
