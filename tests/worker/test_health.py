from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reliq.worker import health, watch
from reliq.worker.board import HELD, STARTED
from reliq.worker.health import ChildHealth, Health


def child(**changes: Any) -> ChildHealth:
    values: dict[str, Any] = {
        "pid": 2,
        "owner": "o",
        "last_claim": 0.1,
        "running": 0,
        "full": False,
        "paused": False,
        "starting": None,
        "claims": 1,
        "claimed": 1,
        "settled": 1,
    }
    return ChildHealth(**{**values, **changes})


def state(*children: ChildHealth, silence: float | None = 0.5) -> Health:
    return Health("a", 1, 1000.0, 900.0, silence, False, children)


def test_a_worker_that_claimed_is_well_and_one_that_did_not_is_ill() -> None:
    assert health.judge(state(child()), now=1001).well
    late = health.judge(state(child(last_claim=100.0)), now=1001)
    assert not late.well and "has not claimed for 101 s" in late.why


def test_one_that_is_full_or_paused_is_well_as_long_as_it_is_renewed() -> None:
    for changes in ({"running": 1}, {"full": True}, {"paused": True}):
        assert health.judge(state(child(last_claim=100.0, **changes)), now=1001).well
        assert not health.judge(state(child(last_claim=100.0, **changes), silence=100.0), now=1001).well


def test_a_start_that_hangs_is_ill_unless_others_work() -> None:
    def begun(seconds: float) -> ChildHealth:
        return child(last_claim=None, starting=seconds)

    assert health.judge(state(begun(20.0)), now=1001).well
    hanging = health.judge(state(begun(40.0), begun(40.0)), now=1001)
    assert not hanging.well and "starting for 41 s and no other works" in hanging.why
    assert health.judge(state(begun(40.0), child()), now=1001).well


def test_a_file_that_is_not_written_any_more_is_ill(tmp_path: Path) -> None:
    assert "written nothing for 99 s" in health.judge(state(child()), now=1099).why
    assert not health.check(tmp_path / "none.json").well


def test_a_running_worker_writes_its_health(place: Any, until: Any) -> None:
    worker = place.worker(concurrency=2)
    handle = place.task("quick").delay(1)
    until(handle.ready)
    until(lambda: worker.health.exists() and len(health.read(worker.health).children) == 2)
    until(lambda: health.check(worker.health).well)
    until(lambda: sum(c.settled for c in health.read(worker.health).children) == 1)
    assert health.read(worker.health).pid == worker.pid
    worker.stop()
    assert not worker.health.exists()


def test_health_is_read_without_importing_an_app() -> None:
    code = "import sys, reliq.worker.health; print('reliq.app' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == "False"


def test_the_watchdog_replaces_a_child_that_claims_nothing(place: Any, until: Any) -> None:
    worker = place.worker(watchdog=2.0, renew_every=0.3)
    handle = place.task("quick").delay(1)
    until(handle.ready)
    (pid,) = worker.children()
    os.kill(pid, 19)  # SIGSTOP: alive, and consumes nothing
    until(lambda: "has not claimed" in worker.log)
    until(lambda: worker.children() not in ([], [pid]))
    after = place.task("quick").delay(2)
    until(after.ready)


@pytest.mark.parametrize("what", ["import", "startup"])
def test_the_watchdog_leaves_a_long_start_in_peace(place: Any, until: Any, what: str) -> None:
    worker = place.worker(watchdog=0.5, renew_every=0.1, env={"RELIQ_TEST_BREAK": f"slow {what}"})
    handle = place.task("quick").delay(1)
    until(handle.ready)
    assert "has not claimed" not in worker.log


def test_a_worker_clears_away_the_files_of_killed_ones_of_its_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    killed, living = health.default_path("shop", gone.pid), health.default_path("shop", os.getpid())
    another = health.default_path("mail", gone.pid)
    for path in (killed, living, another):
        health.write(path, state(child()))
    health.HealthFile(None, "shop")
    assert (killed.exists(), living.exists(), another.exists()) == (False, True, True)


def test_the_watchdog_counts_from_the_end_of_a_long_task_and_not_through_an_outage() -> None:
    board = SimpleNamespace(ready=True, full=False, paused=False, last_claim=0.0)
    child: Any = SimpleNamespace(board=board, registered=True, ready_since=1.0, busy_at=0.0)
    watch.note_busy(child, bytes((STARTED,)), 70.0)
    watch.note_busy(child, bytes((HELD,)), 70.2)  # it has ended, and its settlement is on the wire
    assert not watch.is_idle_too_long(child, 70.2, 60.0, contact=1000.0)
    assert watch.is_idle_too_long(child, 131.0, 60.0, contact=1000.0)
    assert not watch.is_idle_too_long(child, 131.0, 60.0, contact=5.0)
