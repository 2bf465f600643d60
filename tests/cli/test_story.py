"""What `why` tells, for each way a message can go."""

from __future__ import annotations

from datetime import UTC

import msgspec
import pytest

from reliq.ports.values import ErrorInfo, Record, Transition, Value
from reliq.story import held_keys, moment, span, tell
from reliq.wire.codec import encode
from reliq.wire.message import Ending, Envelope, Remove

T0 = 1_767_268_800_000  # 2026-01-01 12:00:00 UTC


def error(kind: str = "builtins.KeyError", message: str = "'x'") -> bytes:
    return msgspec.msgpack.encode(ErrorInfo(kind, message, f"Traceback:\n  File\n{kind}: {message}"))


def record(state: str, **fields: object) -> Record:
    base = {"id": "m1", "task": "shop.pay", "queue": "pay", "state": state, "published": T0, "due": T0}
    return Record(**{**base, **fields})  # type: ignore[arg-type]


def told(record: Record, after: int = 10_000, **more: object) -> str:
    return "\n".join(tell(record, T0 + after, zone=UTC, **more))  # type: ignore[arg-type]


def test_a_retry_is_told_with_its_error_and_when_it_is_due() -> None:
    steps = (
        Transition(T0, "ready"),
        Transition(T0 + 100, "leased", owner="w1", attempt=1),
        Transition(
            T0 + 350,
            "due",
            "ConnectionError: refused",
            "w1",
            1,
            due=T0 + 4350,
            error=error("x.ConnectionError", "refused"),
        ),
    )
    story = told(
        record(
            "due", due=T0 + 14_350, retries=1, attempt=1, reason="ConnectionError: refused", transitions=steps
        )
    )
    assert "shop.pay (m1) waits until 12:00:14 (due in 4.35 s): ConnectionError: refused" in story
    assert "queue pay, priority 0, published 12:00:00, 1 attempt, 1 retry" in story
    assert "12:00:00.100  attempt 1 given to worker process w1" in story
    assert "attempt 1, 250 ms after it was given out, is retried 4 s later: ConnectionError: refused" in story


def test_two_attempts_are_told_when_the_first_process_was_killed() -> None:
    steps = (
        Transition(T0, "ready"),
        Transition(T0 + 10, "leased", owner="w1", attempt=1),
        Transition(T0 + 2010, "due", "crashed", "w1", 1, due=T0 + 3010),
        Transition(T0 + 3010, "ready", None, attempt=1),
        Transition(T0 + 3020, "leased", owner="w2", attempt=2),
        Transition(T0 + 3500, "done", None, "w2", 2),
    )
    story = told(
        record("done", attempt=2, crashes=1, ended=T0 + 3500, gone=T0 + 86_400_000, transitions=steps)
    )
    assert story.startswith("shop.pay (m1) is done at 12:00:03.\n")
    assert "attempt 1, 2 s after it was given out, died with its process; again 1 s later, alone" in story
    assert "attempt 2 given to worker process w2" in story
    assert "attempt 2, 480 ms after it was given out, was done" in story
    assert "1 crash" in story
    assert "kept until 2026-01-02 12:00:00" in story


def test_a_snooze_is_no_retry() -> None:
    steps = (
        Transition(T0, "leased", owner="w1", attempt=1),
        Transition(T0 + 5, "due", "no slot", "w1", 0, due=T0 + 60_005),
    )
    assert "was snoozed for 1 min: no slot" in told(
        record("due", due=T0 + 60_005, snoozes=1, transitions=steps)
    )


def test_a_failure_is_told_with_traceback_and_the_way_back() -> None:
    steps = (
        Transition(T0, "leased", owner="w1", attempt=4),
        Transition(T0 + 5, "failed", "KeyError: 'x' (after 3 retries)", "w1", 4, error=error()),
    )
    story = told(
        record(
            "failed",
            reason="KeyError: 'x' (after 3 retries)",
            ended=T0 + 5,
            error=error(),
            transitions=steps,
            life=2,
        )
    )
    assert "failed for good: KeyError: 'x' (after 3 retries)" in story
    assert "reliq dlq retry m1" in story
    assert "life 2 (replayed)" in story
    assert story.endswith("Its last error:\n  Traceback:\n    File\n  builtins.KeyError: 'x'")


def test_a_running_one_names_its_worker_and_what_it_holds() -> None:
    story = told(
        record("leased", owner="w1", claimed=T0, attempt=1, cancel=True),
        holds=[("once:ab", Value(b"", expires=T0 + 3_600_000, holder="m1"))],
    )
    assert "is with worker process w1 for 10 s, attempt 1." in story
    assert "It was asked to stop" in story
    assert "once:ab, until it ends, at most 13:00:00" in story


def test_a_ready_one_says_where_to_look() -> None:
    assert "no worker serves this queue" in told(record("ready", expires=T0 + 60_000))
    assert "dropped unless it begins by 12:01:00" in told(record("ready", expires=T0 + 60_000))
    assert "holds nothing else" in told(record("due", alone=True, crashes=1))


def test_nothing_that_a_task_said_can_steer_the_terminal() -> None:
    evil = "x\x1b[2J\nforged"
    steps = (
        Transition(T0, "leased", owner="w", attempt=1),
        Transition(T0, "failed", evil, "w", 1, error=error("E", evil)),
    )
    lines = tell(record("failed", reason=evil, task="t\x1b", error=error("E", evil), transitions=steps), T0)
    assert not any("\x1b" in line or line.startswith("forged") for line in lines)


def test_an_undecodable_message_has_a_story_too() -> None:
    assert "cannot be decoded (m1) failed" in told(
        record("failed", task="", payload=b"\xc1", reason="undecodable")
    )
    assert held_keys(record("failed", payload=b"\xc1")) == []


def test_the_keys_a_message_may_hold_are_those_it_frees() -> None:
    envelope = Envelope(
        1, "m1", "t", "q", on_end=(Ending("any", (Remove("once:a", holder="m1"), Remove("b", holder="z"))),)
    )
    assert held_keys(record("ready", payload=encode(envelope))) == ["once:a"]


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (999, "999 ms"), (1200, "1.2 s"), (59_940, "59.9 s"), (60_000, "1 min"), (243_000, "4 min 3 s"),
     (7_500_000, "2 h 5 min"), (273_600_000, "3 d 4 h")],
)  # fmt: skip
def test_spans_read_as_people_say_them(ms: int, text: str) -> None:
    assert span(ms) == text


def test_another_day_has_its_date() -> None:
    assert moment(T0, T0 + 90_000_000, UTC) == "2026-01-01 12:00:00"
    assert moment(T0 + 5, T0, UTC, exact=True) == "12:00:00.005"
