"""Threads on one engine: a blocked one hinders nobody, and an interrupted one leaves nothing behind."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from reliq.engines.sqlite import SqliteEngine
from reliq.errors import BrokerUnavailable
from reliq.ports.values import Publication, Settlement

Make = Callable[..., Publication]


def test_threads_that_publish_claim_and_wait_at_once_end_every_message(
    engine: SqliteEngine, publication: Make
) -> None:
    total, failures = 300, []

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=run)

    def publish() -> None:
        for _ in range(total // 3):
            engine.publish([publication()])

    def drain(owner: str) -> None:
        engine.register(owner, 30)
        seq, settlements = 0, list[Settlement]()
        while engine.audit().states["done"] < total:
            seq += 1
            claimed = engine.claim(owner, ["q"], limit=7, seq=seq, wait=0.05, settlements=settlements)
            settlements = [Settlement(delivery.receipt, "done") for delivery in claimed.deliveries]

    threads = [guarded(publish) for _ in range(3)]
    threads += [guarded(lambda name=f"owner-{n}": drain(name)) for n in range(3)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert engine.audit().states["done"] == total
    assert engine.audit().balanced


def test_a_blocked_claim_hears_of_the_close(engine: SqliteEngine) -> None:
    engine.register("owner", 30)
    begun = time.monotonic()
    blocked = threading.Thread(target=lambda: engine.claim("owner", ["q"], limit=1, seq=1, wait=1.0))
    blocked.start()
    while not engine._link.read(lambda execute: execute("SELECT 1 FROM waiter").fetchone()):
        time.sleep(0.002)
    engine.close()
    blocked.join(10)
    assert time.monotonic() - begun < 0.9
    with pytest.raises(BrokerUnavailable, match="was closed"):
        engine.get("a")


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("after", [0, 3, 8])
def test_an_exception_of_a_signal_in_the_middle_of_a_call_leaves_no_lock(
    engine: SqliteEngine, opened: Callable[..., SqliteEngine], publication: Make, after: int
) -> None:
    def interrupt(number: int, frame: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        for _ in range(20):
            try:
                # Of the process's own time: pytest's time-out has the other timer.
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005 + after * 0.00007)
                while True:
                    engine.publish([publication()])
            except Interrupted:
                pass
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert engine.publish([publication()])[0].status == "accepted"
    assert opened().publish([publication()])[0].status == "accepted"
    assert engine.audit().balanced


def test_an_error_of_the_file_at_the_commit_leaves_the_outcome_open(
    engine: SqliteEngine, publication: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine._link._db

    class Failing:
        """Its COMMIT fails after it was done."""

        def execute(self, sql: str, *values: Any) -> Any:
            answer = real.execute(sql, *values)
            if sql == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return answer

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(engine._link, "_db", Failing())
    with pytest.raises(BrokerUnavailable) as unknown:
        engine.publish([publication("a")])
    assert not unknown.value.certain  # type: ignore[attr-defined]
    monkeypatch.setattr(engine._link, "_db", real)
    assert engine.publish([publication("a")])[0].status == "duplicate"
