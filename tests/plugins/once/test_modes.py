"""Each mode of QueueOnce, by what a user sees of it."""

from __future__ import annotations

import pytest

from reliq import Drop, Fail, Retry, Snooze
from reliq.errors import GuardRefused, OptionError
from reliq_once import AlreadyQueued, Once

# --- until ---


@pytest.mark.parametrize("once", [{"until": "start"}, {"unlock_before_run": True}])
def test_until_start_frees_the_lock_when_the_task_starts(bench, once):
    seen = []
    work = bench.task(lambda: seen.append(bench.locks()), once=once)
    first = work.delay()
    with pytest.raises(AlreadyQueued):
        work.delay()
    assert bench.locks() == [first.id]
    bench.run()
    assert seen == [[]]


def test_until_start_does_not_free_it_at_the_claim(bench):
    work = bench.task(once={"until": "start"})
    first = work.delay()
    bench.claim()
    with pytest.raises(AlreadyQueued) as caught:
        work.delay()
    assert (caught.value.existing_id, caught.value.state) == (first.id, "leased")


@pytest.mark.parametrize("end", [lambda: None, lambda: 1 / 0, lambda: Drop("x")])
def test_until_expiry_keeps_the_lock_over_the_end(bench, clock, end):
    work = bench.task(end, once={"until": "expiry", "timeout": 600})
    first = work.delay()
    bench.run()
    assert first.ready() and bench.locks() == [first.id]
    clock.advance(599)
    with pytest.raises(AlreadyQueued) as caught:
        work.delay()
    assert caught.value.countdown == 1.0 and "holds the key for another 1 s" in str(caught.value)
    clock.advance(1)
    second = work.delay()
    assert bench.locks() == [second.id]


def test_until_expiry_can_join_the_result_that_is_there(bench):
    work = bench.task(lambda: "the result", once={"until": "expiry", "on_conflict": "join"})
    first = work.delay()
    bench.run()
    assert work.delay() == first and work.delay().get(timeout=0) == "the result"
    assert bench.engine.audit().accepted == 1


# --- on_conflict ---


def test_drop_rejects_as_graceful_does(bench):
    work = bench.task(once={"on_conflict": "drop"})
    first, second = work.delay(), work.delay()
    assert (second.state, second.id, second.existing_id) == ("REJECTED", None, first.id)


def test_join_gives_the_handle_of_the_message_that_is_there(bench):
    work = bench.task(lambda: 7, once=Once(on_conflict="join"))
    first, second = work.delay(), work.delay()
    assert second == first and second.id == first.id
    bench.run()
    assert second.get(timeout=0) == 7
    assert bench.counters == {"conflicts": 1, "joins": 1}


def test_replace_drops_what_waits_and_the_newest_runs(bench):
    ran = []
    work = bench.task(lambda n: ran.append(n), once={"keys": [], "on_conflict": "replace"})
    jobs = [work.delay(n) for n in range(3)]
    assert [job.record().state for job in jobs] == ["dropped", "dropped", "ready"]
    assert jobs[0].record().reason == f"replaced by the newer call {jobs[1].id}"
    assert bench.locks() == [jobs[2].id]
    bench.run()
    assert ran == [2] and bench.locks() == []


def test_replace_reaches_a_message_that_is_due_later(bench, clock):
    ran = []
    work = bench.task(lambda n: ran.append(n), once={"keys": [], "on_conflict": "replace"})
    work.apply_async((1,), countdown=50)
    work.apply_async((2,), countdown=100)
    bench.run(advance=True)
    assert ran == [2]


def test_replace_does_not_touch_what_runs(bench):
    work = bench.task(lambda n: n, once={"keys": [], "on_conflict": "replace"})
    first = work.delay(1)
    delivery = bench.claim()
    with pytest.raises(AlreadyQueued) as caught:
        work.delay(2)
    assert caught.value.state == "leased"
    bench.harness.settle(delivery)
    assert first.get(timeout=0) == 1


def test_replace_with_until_start_lets_the_next_one_wait_beside_the_run(bench):
    ran = []

    def body(n):
        ran.append(n)
        if n == 1:
            work.delay(2)
            work.delay(3)

    work = bench.task(body, once={"keys": [], "on_conflict": "replace", "until": "start"})
    work.delay(1)
    bench.run()
    assert ran == [1, 3] and bench.locks() == []


# --- debounce ---


def test_debounce_runs_once_after_the_last_call_with_its_arguments(bench, clock):
    ran = []
    work = bench.task(lambda n: ran.append((n, clock.now_ms())), once={"keys": [], "debounce": (10, 60)})
    began = clock.now_ms()
    for n in range(4):
        work.delay(n)
        bench.run()
        clock.advance(5)
    bench.run(advance=True)
    assert ran == [(3, began + 25_000)] and bench.locks() == []


def test_debounce_waits_no_longer_than_max_wait_after_the_first_call(bench, clock):
    ran = []
    work = bench.task(lambda n: ran.append((n, clock.now_ms())), once={"keys": [], "debounce": (10, 30)})
    began = clock.now_ms()
    for n in range(20):
        if not ran:
            work.delay(n)
        clock.advance(3)
        bench.run()
    assert ran == [(9, began + 30_000)]


def test_a_call_while_a_debounced_one_runs_begins_a_burst_of_its_own(bench, clock):
    ran = []

    def body(n):
        ran.append((n, clock.now_ms()))
        if n == 1:
            clock.advance(100)
            work.delay(2)

    work = bench.task(body, once={"keys": [], "debounce": (10, 30)})
    began = clock.now_ms()
    work.delay(1)
    bench.run(advance=True)
    assert ran == [(1, began + 10_000), (2, began + 120_000)]


def test_a_call_after_the_replay_of_a_debounced_one_begins_a_burst_of_its_own(bench, clock):
    ran = []

    def body(n):
        ran.append((n, clock.now_ms()))
        if n == 1:
            raise Fail("no")

    work = bench.task(body, once={"keys": [], "debounce": (10, 30)})
    first = work.delay(1)
    bench.run(advance=True)
    clock.advance(100)
    replayed = clock.now_ms()
    assert bench.engine.replay(first.id)
    work.delay(2)
    bench.run(advance=True)
    assert [n for n, _ in ran] == [1, 2] and ran[-1] == (2, replayed + 10_000)


def test_a_call_between_the_claim_and_the_start_of_a_debounced_one_wins(bench):
    ran = []
    work = bench.task(lambda n: ran.append(n), once={"keys": [], "debounce": (1, 5)})
    first = work.delay(1)
    bench.clock.advance(2)
    delivery = bench.claim()
    second = work.delay(2)
    bench.harness.settle(delivery)
    assert first.record().reason.startswith(f"superseded by the newer call {second.id}")
    bench.run(advance=True)
    assert ran == [2] and bench.counters["superseded"] == 1 and bench.locks() == []


def test_debounce_and_a_countdown_are_refused_together(bench):
    work = bench.task(once={"debounce": (1, 5)})
    with pytest.raises(OptionError, match="debounce chooses the due time"):
        work.apply_async(countdown=9)
    assert bench.locks() == [] and bench.engine.audit().accepted == 0


# --- rerun ---


def test_rerun_runs_once_more_after_the_run_with_the_latest_arguments(bench):
    ran = []

    def body(n):
        ran.append(n)
        if n == 0:
            for later in (1, 2, 3):
                work.delay(later)

    work = bench.task(body, once={"keys": [], "on_conflict": "rerun"})
    work.delay(0)
    bench.run(advance=True)
    assert ran == [0, 3] and (bench.locks(), bench.slots()) == ([], [])


def test_rerun_does_not_start_while_the_other_runs(bench):
    work = bench.task(lambda n: n, once={"keys": [], "on_conflict": "rerun"})
    running = work.delay(1)
    outer = bench.claim()
    job = bench.harness.runner.open(outer)
    entered, _ = job.task.chain.enter(job.ctx)
    assert entered is None and bench.slots() == [running.id]
    second = work.delay(2)
    record = bench.harness.run_one()
    assert (record.id, record.state, record.snoozes) == (second.id, "due", 1)
    assert record.reason.startswith("1 of its key runs already")
    third = work.delay(3)
    assert second.record().reason == f"replaced by the newer call {third.id}"
    bench.harness.settle(outer)
    bench.run(advance=True)
    assert third.successful() and (bench.locks(), bench.slots()) == ([], [])


@pytest.mark.parametrize("again", [Retry(100), Snooze(100)])
def test_a_retry_of_an_older_call_gives_way_to_a_newer_one(bench, again):
    ran = []

    def body(n):
        ran.append(n)
        if n == 1:
            work.delay(2)
            return again
        return None

    work = bench.task(body, once={"keys": [], "on_conflict": "rerun"})
    first = work.delay(1)
    bench.run(advance=True)
    assert ran == [1, 2] and first.record().reason.startswith("superseded by the newer call")
    assert (bench.locks(), bench.slots()) == ([], [])


def test_a_newer_call_replaces_an_older_one_that_waits_for_its_retry(bench):
    ran = []
    work = bench.task(
        lambda n: ran.append(n) or (Retry(100) if n == 1 else None), once={"keys": [], "on_conflict": "rerun"}
    )
    first = work.delay(1)
    bench.run()
    second = work.delay(2)
    assert first.record().reason == f"replaced by the newer call {second.id}"
    bench.run(advance=True)
    assert ran == [1, 2]


def test_a_crash_of_an_older_call_gives_way_to_a_newer_one_that_is_done(bench):
    ran = []
    work = bench.task(lambda n: ran.append(n), once={"keys": [], "on_conflict": "rerun"})
    first = work.delay(1)
    old = bench.claim()
    job = bench.harness.runner.open(old)
    job.task.chain.enter(job.ctx)
    second = work.delay(2)
    bench.engine.bury(old.receipt.owner, started=[old.receipt])
    bench.harness._register()
    bench.run(advance=True)
    assert second.successful() and ran == [2]
    assert first.record().reason.startswith(f"superseded by the newer call {second.id}")


# --- a task that publishes itself ---


def test_a_task_that_publishes_its_own_call_runs_again_after_itself(bench):
    ran, seen = [], []

    def body():
        ran.append(1)
        if len(ran) == 1:
            seen.append(work.delay())
            seen.append(work.delay())
            delivery = bench.claim()
            bench.harness.settle(delivery)  # it is claimed while the first one runs, and has to wait

    work = bench.task(body)
    first = work.delay()
    bench.run(advance=True)
    assert len(ran) == 2 and first.successful()
    assert seen[0].record().reason == f"replaced by the newer call {seen[1].id}"
    assert seen[1].record().snoozes == 1 and seen[1].successful()
    assert (bench.locks(), bench.slots()) == ([], [])


def test_the_lock_goes_over_to_the_message_that_a_run_publishes(bench):
    def body(n):
        if n == 0:
            again.append(work.delay(1))

    again = []
    work = bench.task(body, once={"keys": []})
    work.delay(0)
    bench.harness.run_one()
    assert bench.locks() == [again[0].id]
    with pytest.raises(AlreadyQueued):
        work.delay(5)
    bench.run()
    assert bench.locks() == []


@pytest.mark.parametrize(
    ("once", "state"),
    [({"on_conflict": "raise"}, None), ({"graceful": True}, "REJECTED"), ({"until": "expiry"}, None)],
)
def test_what_the_user_chose_holds_inside_the_task_too(bench, once, state):
    seen = []

    def body():
        try:
            seen.append(work.delay().state)
        except AlreadyQueued as error:
            seen.append(error.state)

    work = bench.task(body, once=once)
    work.delay()
    bench.run()
    assert seen == [state or "leased"]


def test_another_task_s_run_is_no_self(bench):
    other = bench.task(lambda: None, name="other")
    seen = []

    def body():
        with pytest.raises(AlreadyQueued) as caught:
            other.delay()
        seen.append(caught.value.existing_id)

    work = bench.task(body)
    waiting = other.apply_async(countdown=50)
    work.delay()
    bench.run()
    assert seen == [waiting.id]


# --- while_running ---


def running(bench, delivery):
    """Let a claimed message begin, as far as its hooks go; its verdict, if they gave one."""
    job = bench.harness.runner.open(delivery)
    return job.task.chain.enter(job.ctx)[0]


def test_while_running_lets_so_many_of_a_key_run_at_once(bench):
    work = bench.task(lambda n: None, once={"keys": [], "while_running": 2})
    began = []
    for n in range(3):
        work.delay(n)
        began.append(running(bench, bench.claim()))
    assert began[:2] == [None, None] and isinstance(began[2], Snooze)
    assert len(bench.slots()) == 2 and bench.counters["busy"] == 1


def test_a_slot_is_free_again_when_its_message_ends_retries_or_dies(bench):
    work = bench.task(lambda n: Retry(50) if n == 1 else None, once={"keys": [], "while_running": 1})
    work.delay(1)
    bench.harness.run_one()
    assert bench.slots() == []
    work.delay(2)
    bench.harness.run_one()
    assert bench.slots() == []
    work.delay(3)
    delivery = bench.claim()
    assert running(bench, delivery) is None and len(bench.slots()) == 1
    bench.engine.bury(delivery.receipt.owner, started=[delivery.receipt])
    assert bench.slots() == []


def test_a_message_that_waits_for_a_slot_keeps_its_lock(bench, clock):
    work = bench.task(lambda n: None, once={"keys": [], "while_running": 1, "timeout": 20})
    work.delay(1)
    running(bench, bench.claim())
    second = work.delay(2)
    for _ in range(6):
        bench.harness.run_one()
        clock.advance(max(0, (second.record().due - clock.now_ms()) / 1000))
        assert bench.locks() == [second.id]
    with pytest.raises(AlreadyQueued):
        work.delay(3)


@pytest.mark.parametrize(("busy", "state"), [("drop", "dropped"), ("fail", "failed")])
def test_on_busy_can_end_the_message(bench, busy, state):
    work = bench.task(lambda n: None, once={"keys": [], "while_running": 1, "on_busy": busy})
    work.delay(1)
    running(bench, bench.claim())
    second = work.delay(2)
    bench.harness.run_one()
    record = second.record()
    assert (record.state, record.reason.partition(" (")[0]) == (state, "1 of its key runs already")
    assert bench.locks() == []


def test_keys_have_slots_of_their_own(bench):
    work = bench.task(lambda n: None, once={"while_running": 1})
    for n in range(3):
        work.delay(n)
        assert running(bench, bench.claim()) is None
    assert len(bench.slots()) == 3


# --- retries and failures ---


def test_a_lock_that_was_freed_at_the_start_stays_free_over_a_retry(bench):
    work = bench.task(lambda: Retry(50), once={"until": "start"}, max_retries=1)
    work.delay()
    bench.run()
    assert bench.locks() == []


def test_relock_on_retry_takes_the_lock_again_where_it_is_free(bench, clock):
    work = bench.task(
        lambda: Retry(50), once={"until": "start", "relock_on_retry": True, "timeout": 10}, max_retries=1
    )
    first = work.delay()
    bench.run()
    assert bench.locks() == [first.id]
    clock.advance(59)
    with pytest.raises(AlreadyQueued):
        work.delay()
    bench.run(advance=True)
    assert first.failed() and bench.locks() == []


def test_relock_on_retry_takes_it_from_nobody(bench):
    other = []

    def body():
        if not other:
            other.append(work.delay())
            return Retry(50)
        return None

    work = bench.task(body, once={"until": "start", "relock_on_retry": True})
    work.delay()
    bench.harness.run_one()
    assert bench.locks() == [other[0].id]


@pytest.mark.parametrize("until", ["done", "start"])
def test_hold_on_failure_keeps_the_key_for_a_timeout_after_the_failure(bench, clock, until):
    work = bench.task(lambda: 1 / 0, once={"hold_on_failure": True, "timeout": 100, "until": until})
    first = work.delay()
    clock.advance(50)
    bench.run()
    clock.advance(99)
    with pytest.raises(AlreadyQueued) as caught:
        work.delay()
    assert (caught.value.existing_id, caught.value.state, caught.value.countdown) == (first.id, "failed", 1.0)
    clock.advance(1)
    assert work.delay().state == "PENDING"


@pytest.mark.parametrize("end", [lambda: None, lambda: Drop("x")])
def test_hold_on_failure_holds_nothing_else(bench, end):
    bench.task(end, once={"hold_on_failure": True}).delay()
    bench.run()
    assert bench.locks() == []


def test_what_is_held_after_a_failure_is_freed_by_the_replay_that_succeeds(bench):
    outcomes = [Fail("x"), None]
    work = bench.task(lambda: outcomes.pop(0), once={"hold_on_failure": True})
    first = work.delay()
    bench.run()
    assert bench.engine.replay(first.id)
    bench.run()
    assert first.successful() and bench.locks() == []


# --- replay of a dead letter ---


def test_a_replay_takes_the_lock_again(bench):
    work = bench.task(lambda: 1 / 0)
    first = work.delay()
    bench.run()
    assert bench.locks() == [] and bench.engine.replay(first.id)
    assert bench.locks() == [first.id]
    with pytest.raises(AlreadyQueued):
        work.delay()
    bench.run()
    assert bench.locks() == []


def test_a_replay_is_refused_while_another_message_has_the_key(bench):
    work = bench.task(lambda: 1 / 0)
    first = work.delay()
    bench.run()
    second = work.delay()
    with pytest.raises(GuardRefused, match=f"{first.id} is not replayed: message {second.id}"):
        bench.engine.replay(first.id)
    assert first.failed() and bench.locks() == [second.id]
    second.cancel()
    assert bench.engine.replay(first.id) and bench.locks() == [first.id]


def test_a_replay_does_not_replace_a_newer_call(bench):
    work = bench.task(lambda n: 1 / 0, once={"keys": [], "on_conflict": "replace"})
    first = work.delay(1)
    bench.run()
    second = work.delay(2)
    with pytest.raises(GuardRefused):
        bench.engine.replay(first.id)
    assert second.record().state == "ready"


# --- namespaces ---


def test_tasks_that_share_a_namespace_share_their_keys(bench):
    one = bench.task(
        lambda customer, why: None, name="one", once={"keys": ["customer"], "namespace": "reports"}
    )
    two = bench.task(lambda customer: None, name="two", once={"keys": ["customer"], "namespace": "reports"})
    alone = bench.task(lambda customer: None, name="alone", once={"keys": ["customer"]})
    first = one.delay(7, "x")
    with pytest.raises(AlreadyQueued) as caught:
        two.delay(7)
    assert caught.value.existing_id == first.id
    alone.delay(7)
    two.delay(8)


# --- lapses ---


def test_a_lapsed_lock_never_stops_its_message_and_is_reported(bench, clock, caplog):
    work = bench.task(once={"timeout": 60})
    first = work.delay()
    clock.advance(61)
    bench.run()
    assert first.successful() and bench.counters["lapses"] == 1
    assert "once.lapsed" in caplog.text and "it was taken again" in caplog.text and bench.locks() == []


def test_a_lapsed_lock_that_another_has_is_left_to_it(bench, clock, caplog):
    seen = []
    work = bench.task(lambda: seen.append(bench.locks()), once={"timeout": 60})
    work.delay()
    clock.advance(61)
    second = work.delay()
    bench.run()
    assert seen == [[second.id], [second.id]] and f"message {second.id} has it now" in caplog.text


def test_a_message_that_starts_late_takes_its_lapsed_lock_again(bench, clock):
    seen = []
    work = bench.task(lambda: seen.append(bench.locks()), once={"timeout": 60})
    first = work.delay()
    clock.advance(600)
    bench.engine.reap(grace=1_000)  # collects what lapsed
    bench.run()
    assert seen == [[first.id]]


def test_a_lapse_is_reported_with_until_start_too(bench, clock):
    work = bench.task(once={"timeout": 60, "until": "start"})
    work.delay()
    clock.advance(61)
    bench.engine.reap(grace=1_000)
    work.delay()
    bench.run()
    assert bench.counters["lapses"] == 1


def test_the_lock_of_a_crashed_message_is_taken_again_though_it_ran_past_its_timeout(bench, clock):
    work = bench.task(once={"timeout": 60})
    first = work.delay()
    delivery = bench.claim()
    for _ in range(10):
        clock.advance(20)
        bench.engine.renew(delivery.receipt.owner, 30)
    bench.engine.bury(delivery.receipt.owner, started=[delivery.receipt])
    bench.engine.reap(grace=1_000)
    bench.harness._register()
    assert bench.locks() == []  # nobody's while it waits: a timeout is a timeout
    clock.advance(5)
    assert running(bench, bench.claim()) is None
    assert bench.locks() == [first.id]


@pytest.mark.parametrize("once", [{}, {"until": "start", "relock_on_retry": True}, {"on_conflict": "rerun"}])
def test_a_run_longer_than_its_timeout_keeps_the_lock_when_it_waits_for_its_retry(bench, clock, once):
    def body():
        for _ in range(5):
            clock.advance(20)
            bench.engine.renew(bench.harness._owner, 30)
        return Retry(50)

    work = bench.task(body, once={"timeout": 60, **once}, max_retries=1)
    first = work.delay()
    bench.harness.run_one()
    assert first.state == "RETRY" and bench.locks() == [first.id]


def test_the_key_is_never_computed_again(bench):
    """A key function that gives another key each time: the worker frees the lock that was taken."""
    seen, numbers = [], iter(range(9))
    work = bench.task(
        lambda a: seen.append(bench.locks()), once={"until": "start", "key": lambda a: str(next(numbers))}
    )
    work.delay(1)
    assert len(bench.locks()) == 1
    bench.run()
    assert seen == [[]] and next(numbers) == 1


def test_a_message_that_was_late_and_is_put_off_can_be_replaced(bench, clock):
    """Its lock had lapsed; while it waits for a slot it has it again."""
    work = bench.task(lambda n: None, once={"keys": [], "on_conflict": "rerun", "timeout": 60})
    work.delay(1)
    running(bench, bench.claim())
    second = work.delay(2)
    for _ in range(5):
        clock.advance(20)
        bench.engine.renew(bench.harness._owner, 30)
    assert bench.harness.run_one().id == second.id and bench.locks() == [second.id]
    third = work.delay(3)
    assert second.record().reason == f"replaced by the newer call {third.id}"
