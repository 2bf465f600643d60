"""The benchmarks run, with tiny numbers: what they measure is for a quiet machine, not for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = {"rounds": 1, "messages": 200, "waiting": 300, "samples": 5, "idle-seconds": 0.1, "naps": 10}


def test_every_measure_gives_a_figure_and_every_goal_is_judged(tmp_path: Path) -> None:
    if find_spec("huey") is None:
        lacking = pytest.fail if os.environ.get("RELIQ_TEST_REQUIRE") else pytest.skip
        lacking("the benchmarks need their peer: pip install huey")
    path = tmp_path / "figures.json"
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks",
            "sqlite",
            *(f"--{name}={value}" for name, value in TINY.items()),
            "--json",
            str(path),
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(path.read_text())
    assert all(figure["median"] >= 0 and len(figure["samples"]) == 1 for figure in found["figures"])
    assert len(found["goals"]) == 19 and all(goal["met"] in (True, False) for goal in found["goals"])
    assert found["settings"]["messages"] == 200 and found["versions"]["huey"]
    for goal in found["goals"]:
        assert goal["goal"] in run.stdout
