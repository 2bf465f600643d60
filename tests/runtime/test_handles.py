"""What a handle tells and does."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from reliq import Drop, Fail, Middleware, Reliq, Retry
from reliq.errors import ResultTimeout, TaskDropped, TaskFailed, UnknownResult
from reliq.testing import Harness


@dataclass
class Price:
    cents: int


@pytest.fixture
def work(app):
    @app.task(name="work", retry_on=(TimeoutError,))
    def work(how: str) -> Price:
        if how == "fail":
            raise KeyError("card")
        if how == "drop":
            raise Drop("not wanted")
        if how == "retry":
            raise TimeoutError("slow")
        return Price(5)

    return work


def test_a_result_is_rebuilt_from_the_return_annotation(harness, app, work):
    handle = work.delay("")
    harness.run_until_idle()
    assert handle.get(0) == Price(5) == handle.result
    assert app.handle(handle.id).get(0) == Price(5)
    assert (handle.state, handle.status) == ("SUCCESS", "SUCCESS")
    assert handle.successful() and not handle.failed() and handle.ready() and handle.traceback is None


def test_a_failure_is_raised_with_its_kind_text_and_traceback(harness, work):
    handle = work.delay("fail")
    harness.run_until_idle()
    with pytest.raises(TaskFailed, match="work .* failed: KeyError: 'card'") as caught:
        handle.get(0)
    assert (caught.value.kind, caught.value.message, caught.value.id) == ("KeyError", "'card'", handle.id)
    assert caught.value.traceback == handle.traceback
    assert handle.failed() and handle.state == "FAILURE"
    assert isinstance(handle.get(0, propagate=False), TaskFailed) and isinstance(handle.result, TaskFailed)


def test_a_traceback_shows_the_user_s_frames_only(harness, work, caplog):
    handle = work.delay("fail")
    harness.run_until_idle()
    files = [line.split('"')[1] for line in handle.traceback.splitlines() if line.startswith("  File ")]
    assert files == [__file__]
    logged = next(record for record in caplog.records if "failed" in record.message)
    assert 'runner.py", line' not in caplog.text and logged.exc_info is not None


def test_a_drop_is_raised_with_its_reason(harness, work):
    handle = work.delay("drop")
    harness.run_until_idle()
    with pytest.raises(TaskDropped, match="was dropped: not wanted") as caught:
        handle.get(0)
    assert caught.value.reason == "not wanted" and handle.state == "IGNORED"


def test_a_message_that_waits_for_its_retry_is_in_state_retry(harness, work):
    handle = work.delay("retry")
    harness.run_until_idle()
    assert handle.state == "RETRY" and not handle.ready() and handle.result is None
    assert "TimeoutError: slow" in handle.traceback


def test_get_gives_up_after_its_time_out(harness, work):
    with pytest.raises(ResultTimeout, match="is ready after 0.0 s; `reliq why"):
        work.delay("").get(0.0)


def test_get_wakes_when_the_message_ends():
    app = Reliq("shop", broker="memory://")
    task = app.task(name="t")(lambda: 7)
    with Harness(app) as harness:
        handle = task.delay()
        worker = threading.Timer(0.01, harness.run_until_idle)
        worker.start()
        assert handle.get(timeout=30) == 7
        worker.join()


def test_an_id_nobody_accepted_is_unknown(harness, app):
    handle = app.handle("nothing")
    assert handle.state == "UNKNOWN" and not handle.ready() and handle.result is None
    with pytest.raises(UnknownResult, match="never accepted"):
        handle.get(0)
    assert "never accepted" in handle.why()


def test_cancel_drops_what_waits(harness, work):
    handle = work.delay("")
    assert handle.cancel() == "cancelled"
    assert harness.run_until_idle() == 0
    assert (handle.state, handle.record().reason) == ("REVOKED", "cancelled")
    assert handle.cancel() == "ended"


def test_cancel_asks_what_runs_and_the_next_step_drops_it(harness, work):
    handle = work.delay("retry")
    delivery = harness.claim().deliveries[0]
    assert handle.cancel() == "requested"
    harness.settle(delivery)
    assert (handle.state, handle.record().reason) == ("REVOKED", "cancelled")


def test_revoke_leaves_what_runs_alone_unless_it_is_to_be_terminated(harness, work):
    waiting = work.delay("")
    waiting.revoke()
    assert (waiting.state, waiting.record().reason) == ("REVOKED", "revoked")
    running = work.delay("")
    delivery = harness.claim().deliveries[0]
    running.revoke()
    assert not running.record().cancel
    running.revoke(terminate=True)
    assert running.record().cancel
    harness.settle(delivery)
    assert running.state == "SUCCESS"


def test_forget_removes_the_value_and_keeps_the_record(harness, work):
    handle = work.delay("")
    assert not handle.forget()
    harness.run_until_idle()
    assert handle.forget()
    assert handle.get(0) is None and handle.state == "SUCCESS"


def test_why_tells_each_attempt_and_its_error(harness, work):
    handle = work.delay("retry")
    harness.run_until_idle()
    told = handle.why()
    assert "attempt 1" in told and "TimeoutError: slow" in told and "waits until" in told


def test_a_record_is_gone_after_its_life(harness, app):
    task = app.task(name="t", result_ttl=60)(lambda: 1)
    handle = task.delay()
    harness.run_until_idle()
    harness.clock.advance(59)
    harness.claim()
    assert handle.state == "SUCCESS"
    harness.clock.advance(2)
    harness.claim()
    assert handle.state == "UNKNOWN"


def test_the_record_of_an_ignored_result_lives_shorter_and_that_of_a_failure_longer(harness, app):
    quiet = app.task(name="quiet", ignore_result=True)(lambda: 1).delay()
    bad = app.task(name="bad")(lambda: 1 / 0).delay()
    harness.run_until_idle()
    lives = [h.record().gone - h.record().ended for h in (quiet, bad)]
    assert lives == [3_600_000, 604_800_000]


def test_a_dead_letter_is_replayed_with_a_new_life(harness, app):
    broken = [True]

    @app.task
    def mend() -> str:
        if broken[0]:
            raise Fail("broken")
        return "mended"

    handle = mend.delay()
    harness.run_until_idle()
    assert [r.id for r in harness.engine.list(states=("failed",))] == [handle.id]
    broken[0] = False
    assert harness.engine.replay(handle.id)
    harness.run_until_idle()
    record = handle.record()
    assert (handle.get(0), record.life, record.attempt) == ("mended", 2, 1)


def test_a_message_that_exhausted_its_retries_is_a_dead_letter_with_its_last_error(harness, work):
    handle = work.delay("retry")
    harness.run_until_idle(advance=True)
    record = handle.record()
    assert record.reason == "TimeoutError: slow (after 3 retries)"
    assert (record.attempt, record.retries) == (4, 3) and "TimeoutError: slow" in handle.traceback


class Refusing(Middleware):
    def publish(self, ctx):
        drop = Drop("closed")
        drop.existing_id = "other"
        return drop


def test_a_rejected_publish_gives_a_handle_that_says_so():
    app = Reliq("shop", broker="memory://", middleware=[Refusing()])
    task = app.task(name="t")(lambda: 1)
    with Harness(app) as harness:
        handle, other = task.delay(), task.delay()
        assert (handle.id, handle.state, handle.reason) == (None, "REJECTED", "closed")
        assert handle.existing_id == "other" and handle.ready() and handle.cancel() == "ended"
        assert handle.why() == (
            "The publish was rejected, so there is no message: closed; message other is in its place"
        )
        handle.revoke()
        assert not handle.forget()
        assert handle == handle and handle != other and len({handle, other}) == 2
        with pytest.raises(TaskDropped, match="The publish was rejected: closed"):
            handle.get()
        assert isinstance(handle.get(propagate=False), TaskDropped)
        assert isinstance(handle.result, TaskDropped)
        assert harness.run_until_idle() == 0


def test_handles_of_one_message_are_equal(harness, app, work):
    handle = work.delay("")
    assert handle == app.handle(handle.id) and len({handle, app.handle(handle.id)}) == 1


def test_a_retry_verdict_in_the_past_is_ready_at_once(harness, app):
    runs = []

    @app.task
    def now() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise Retry(-5)

    now.delay()
    assert harness.run_until_idle() == 2


def test_a_message_cancelled_for_a_reason_of_one_s_own_is_revoked(app, harness):
    @app.task
    def work() -> None: ...

    waiting = work.delay()
    app.broker.cancel(waiting.id, reason="not needed any more")
    assert waiting.state == "REVOKED"


def test_a_message_dropped_by_its_task_is_ignored(app, harness):
    @app.task
    def work() -> None:
        raise Drop("nothing to do")

    job = work.delay()
    harness.run_until_idle()
    assert job.state == "IGNORED"


class Hook(Middleware):
    name = "hook"

    def publish(self, ctx):
        yield


@pytest.mark.parametrize("middleware", [[], [Hook()]], ids=["plain", "hooked"])
def test_a_handle_says_whether_its_id_was_accepted_before(middleware):
    app = Reliq("shop", broker="memory://", middleware=middleware)

    @app.task
    def work() -> None: ...

    assert [work.apply_async(task_id="a").duplicate for _ in range(2)] == [False, True]
    assert [h.duplicate for h in app.publish_many(work, [(), ()])] == [False, False]
    twice = [(work, (), {}, {"id": id}) for id in ("b", "b", "a", "c")]
    assert [h.duplicate for h in app.publisher.many(twice)] == [False, True, True, False]
