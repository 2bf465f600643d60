from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from reliq.worker.starts import MOST_FAILURES, FailedStarts


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
