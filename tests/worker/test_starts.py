from __future__ import annotations

import gc
import os
import subprocess
import time
from types import SimpleNamespace
from typing import Any

import pytest

from reliq.worker.options import WorkerOptions
from reliq.worker.starts import MOST_FAILURES, FailedStarts
from reliq.worker.supervisor import Supervisor


def dead(*, claims: int = 0) -> Any:
    return SimpleNamespace(
        began=time.monotonic(),
        pid=2,
        board=SimpleNamespace(counts=(claims, 0, 0), ready=True),
        ended_well=lambda code: False,
        early_words=lambda: "",
    )


def test_children_that_die_before_their_first_claim_are_given_up() -> None:
    starts = FailedStarts()
    codes = [starts.ended(dead(), 4, by_a_task=False, others_work=False) for _ in range(MOST_FAILURES)]
    assert codes == [0] * (MOST_FAILURES - 1) + [4]


def test_a_worker_whose_children_are_killed_from_outside_while_they_work_goes_on() -> None:
    starts = FailedStarts()
    for _ in range(3):
        for claims in (5, 0, 5, 0):
            assert starts.ended(dead(claims=claims), -9, by_a_task=False, others_work=False) == 0
        assert all(
            starts.ended(dead(), -9, by_a_task=False, others_work=True) == 0 for _ in range(MOST_FAILURES)
        )
    assert starts.next_at > time.monotonic()


def test_a_child_that_the_system_refuses_leaves_no_descriptor_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(subprocess, "Popen", refuse)
    supervisor = Supervisor(SimpleNamespace(name="a"), WorkerOptions(concurrency=2))
    supervisor._fill_up()
    assert supervisor._children == []
    assert supervisor._starts.next_at > time.monotonic()
    gc.collect()
    assert os.listdir("/proc/self/fd") == before
