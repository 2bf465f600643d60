"""F1 with locks: workers are killed while calls come twice; nothing is lost, and no lock is left."""

from __future__ import annotations

import importlib
import random
import sys
import time
from pathlib import Path

import pytest

from reliq.plugins import open_engine
from reliq.ports import records
from reliq.ports.values import LIVE
from reliq.testing.faults import Fleet, Journal, Killer
from reliq.testing.faults.check import all_records

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty broker."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/reliq.db"
    server = request.getfixturevalue("reliq_redis")
    server.flush()
    return str(server.url)


def kill_workers(
    url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    calls: int,
    load: float,
    kills: int,
    timeout: float,
) -> None:
    monkeypatch.setenv("ONCE_FLEET_BROKER", url)
    sys.modules.pop("tests.plugins.once.fleet_app", None)
    shop = importlib.import_module("tests.plugins.once.fleet_app")
    dice = random.Random(7)
    # Three in ten of the calls are of a key that was called before, some of them long ago and some just now.
    keys: list[int] = []
    for number in range(calls):
        keys.append(dice.choice(keys[-200:]) if keys and dice.random() < 0.3 else number)
    arguments = ["-A", "tests.plugins.once.fleet_app:app", "-c", "2"]
    environment = {
        "ONCE_FLEET_BROKER": url,
        "XDG_RUNTIME_DIR": str(folder),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
    }
    engine = open_engine(url, app="once_fleet")
    accepted: dict[str, int] = {}
    rejected = 0
    try:
        with Fleet(arguments, size=3, folder=folder, environment=environment) as fleet:
            with Killer(
                lambda: fleet.at_work(engine),
                seed=7,
                every=1.0,
                times=kills,
                journal=Journal(folder / "journal"),
                after=fleet.replace,
            ) as killer:
                deadline = time.monotonic() + timeout
                start = 0
                while start < calls or killer.acted < min(kills, 3):
                    if start >= calls:  # the work was done before enough were killed
                        keys += range(start, start + 100)
                        while engine.depth(shop.app.conf.default_queue).ready > 200:
                            assert time.monotonic() < deadline, fleet.log()[-3000:]
                            time.sleep(0.05)  # other processes work meanwhile
                    batch = [{"n": key, "load": load} for key in keys[start : start + 100]]
                    for key, handle in zip(
                        keys[start:], shop.app.publish_many(shop.work, batch), strict=False
                    ):
                        assert not isinstance(handle, Exception), handle
                        if handle.rejected:
                            rejected += 1
                        else:
                            accepted[handle.id] = key
                    start += 100
                    assert time.monotonic() < deadline, f"only {killer.acted} were killed"
                while any(engine.depth(queue) for queue in engine.queues()):
                    assert time.monotonic() < deadline, fleet.log()[-3000:]
                    time.sleep(0.2)  # other processes work meanwhile
            fleet.stop()
        ended = {record.id: record for record in all_records(engine)}
        lost = [id for id in accepted if id not in ended or ended[id].state != "done"]
        assert lost == [] and ended.keys() == accepted.keys()
        assert not [r for r in ended.values() if r.state in LIVE] and engine.audit().balanced
        assert sorted(records(engine, "once")) == [] and rejected > 0
        assert {accepted[id] for id in accepted} == set(keys), "a key was called and never ran"
    finally:
        shop.app.close()
        engine.close()


def test_no_call_is_lost_and_no_lock_is_left_when_workers_are_killed(url, tmp_path, monkeypatch):
    kill_workers(url, tmp_path, monkeypatch, calls=1_000, load=0.01, kills=4, timeout=60)


@pytest.mark.full
@pytest.mark.timeout(1_800)
def test_of_twenty_thousand_calls_none_is_lost_and_no_lock_is_left(url, tmp_path, monkeypatch):
    kill_workers(url, tmp_path, monkeypatch, calls=20_000, load=0.002, kills=10_000, timeout=1_500)
