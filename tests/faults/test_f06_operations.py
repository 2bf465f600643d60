"""F6: a fault at every operation - not sent, reply lost, process dead before or after it - and I1 to I4 hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.grounds import Ground
from tests.faults.rig import ROOT

GENTLE, DEADLY = ("before", "after"), ("die_before", "die_after")
EVERY = {"publish": 4, "reap": 1, "register": 1, "renew": 1, "claim": 6, "settle": 1, "bury": 1}


def tell_stories(folder: Path, ground: Ground, cases: list[tuple[str, int, str]]) -> None:
    url = [] if ground.name == "sqlite" else [ground.url]  # else each story has a file of its own
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.operations", str(folder), json.dumps(cases), *url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])},
        capture_output=True,
        text=True,
        timeout=len(cases) * 20,
        check=False,
    )
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0 and len(told) == len(cases), run.stderr
    wrong = [story for story in told if story["complaints"] or not story["fired"]]
    assert not wrong, "\n".join(map(str, wrong)) + run.stderr[-2000:]


def test_an_operation_that_was_not_sent_or_whose_reply_was_lost_changes_nothing(
    tmp_path: Path, ground: Ground
) -> None:
    places = [("publish", 1), ("publish", 4), ("register", 1), ("claim", 1), ("claim", 2), ("claim", 3)]
    places += [("settle", 1), ("bury", 1)]
    tell_stories(tmp_path, ground, [(name, number, fault) for name, number in places for fault in GENTLE])


def test_a_process_that_dies_at_an_operation_loses_nothing(tmp_path: Path, ground: Ground) -> None:
    places = [("publish", 1), ("register", 1), ("claim", 2), ("claim", 4), ("settle", 1), ("bury", 1)]
    tell_stories(tmp_path, ground, [(name, number, fault) for name, number in places for fault in DEADLY])


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("operation", EVERY)
def test_every_fault_at_every_operation(tmp_path: Path, ground: Ground, operation: str) -> None:
    numbers = range(1, EVERY[operation] + 1)
    tell_stories(
        tmp_path, ground, [(operation, number, fault) for number in numbers for fault in GENTLE + DEADLY]
    )
