"""The signals of a worker, from workers that really start and stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = """
import os
from reliq import Reliq, signals

app = Reliq("shop")

def heard(signal, sender, **fields):
    with open("journal", "a") as file:
        print(signal.name, os.getpid(), file=file, flush=True)

for name in ("worker_process_init", "worker_process_shutdown", "worker_ready", "worker_shutdown", "task_success"):
    getattr(signals, name).connect(heard)

@app.task
def nothing() -> None: ...
"""


@pytest.mark.parametrize("pool", ["solo", "processes"])
def test_a_worker_tells_of_its_start_and_end(tmp_path, pool):
    (tmp_path / "shop.py").write_text(APP)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
        "RELIQ_BROKER": f"sqlite:///{tmp_path}/shop.db",
    }
    subprocess.run(
        [sys.executable, "-c", "import shop; shop.nothing.delay()"], cwd=tmp_path, env=environment, check=True
    )
    worker = subprocess.Popen(
        [sys.executable, "-m", "reliq", "worker", "-A", "shop", "-P", pool, "-c", "1"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
    )

    def heard() -> dict[str, str]:
        journal = tmp_path / "journal"
        return dict(line.split() for line in journal.read_text().splitlines()) if journal.exists() else {}

    try:
        deadline = time.monotonic() + 30
        while not {"worker_process_init", "worker_ready", "task_success"} <= heard().keys():
            assert worker.poll() is None and time.monotonic() < deadline, heard()
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
    told = heard()
    parents = {told["worker_ready"], told["worker_shutdown"]}
    children = {told["worker_process_init"], told["worker_process_shutdown"], told["task_success"]}
    assert parents == {str(worker.pid)} and len(children) == 1
    assert (children == parents) is (pool == "solo")
