"""Idempotency: one record for a key, from the first send to the end of its life."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass
from datetime import date, timedelta

import msgspec
import pytest

from reliq import Done, Drop, Fail, Reliq, Retry, Snooze, current
from reliq.errors import (
    BrokerUnavailable,
    OptionError,
    PublishUnknown,
    TaskFailed,
    UnkeyableArgument,
    UnknownResult,
)
from reliq.ports import records
from reliq.testing import Harness
from reliq.testing.contracts import MiddlewareContract
from reliq_idempotency import (
    Idempotency,
    IdempotencyConflict,
    IdempotencyError,
    IdempotencyInProgress,
    IdempotencyMismatch,
    Idempotent,
)
from reliq_once import QueueOnce, QueueOnceMiddleware

ALL = {"keys": "all"}


class Bench:
    """An app on an engine; a worker only where a test has one."""

    def __init__(self, engine, clock, **options) -> None:
        self.engine = engine
        self.clock = clock
        self.middleware = Idempotency(**options)
        self.app = Reliq("shop", broker="memory://", middleware=[self.middleware], park_for=90)
        self.harness = Harness(self.app, clock=clock, engine=engine)
        self.ran: list[object] = []

    def task(self, body=None, *, name="work", **options):
        """A task that notes its runs; with `idempotency=` by all arguments unless a test says otherwise."""

        def work(*args, **kwargs):
            self.ran.append(current().id)
            return body(*args, **kwargs) if body else len(self.ran)

        options.setdefault("idempotency", ALL)
        if body is not None:
            work.__wrapped__ = body
        return self.app.task(name=name, **options)(work)

    def holders(self) -> list[str]:
        return [value.holder for _, value in sorted(records(self.engine, "idem:"))]

    def lives(self) -> list[int | None]:
        return [value.expires for _, value in sorted(records(self.engine, "idem:"))]

    def run(self, **options) -> int:
        return self.harness.run_until_idle(**options)

    @property
    def counts(self):
        return {name: n for name, n in self.middleware.counters.items() if n}


@pytest.fixture
def bench(engine, clock):
    bench = Bench(engine, clock)
    with bench.harness:
        yield bench


# --- joining and replaying ---


def test_a_second_send_is_given_the_same_message_while_it_lives(bench):
    work = bench.task(lambda n: "paid")
    first, second = work.delay(1), work.delay(1)
    assert second == first and second.state == "PENDING"
    bench.harness.claim()
    third = work.delay(1)
    assert third == first and third.state == "STARTED"
    assert bench.counts == {"joins": 2}


@pytest.mark.parametrize(
    "value", [0, "", [], {}, False, None, 0.0, "paid", [1, [2, None]], {"a": "é"}], ids=repr
)
def test_a_send_after_the_end_is_given_the_stored_result_exactly(bench, value):
    work = bench.task(lambda n: value)
    first = work.delay(1)
    assert bench.run() == 1
    second = work.delay(1)
    got = second.get(0)
    assert (got, type(got)) == (value, type(value)) and second.id == first.id
    assert bench.run() == 0 and bench.counts == {"replays": 1}


def test_a_stored_result_is_rebuilt_from_the_annotation(bench):
    @dataclass
    class Receipt:
        day: date
        tags: set[str]

    def charge(n: int) -> Receipt:
        return Receipt(date(2026, 1, 2), {"a", "b"})

    charge.__annotations__["return"] = Receipt
    task = bench.app.task(name="charge", idempotency=ALL)(charge)
    task.delay(1)
    bench.run()
    assert task.delay(1).get(0) == Receipt(date(2026, 1, 2), {"a", "b"})


def test_the_result_is_replayed_though_the_message_s_own_record_is_gone(bench, clock):
    work = bench.task(lambda n: "paid", result_ttl=60)
    first = work.delay(1)
    bench.run()
    clock.advance(120)
    bench.engine.reap()
    assert bench.engine.get(first.id) is None
    second = work.delay(1)
    assert (second.id, second.get(0), second.state) == (first.id, "paid", "SUCCESS")
    assert first.id in second.why()


def test_the_result_is_replayed_though_it_was_forgotten(bench):
    work = bench.task(lambda n: "paid")
    first = work.delay(1)
    bench.run()
    assert first.forget()
    assert work.delay(1).get(0) == "paid"


def test_a_task_that_keeps_no_results_replays_none(bench):
    work = bench.task(lambda n: "secret", ignore_result=True)
    work.delay(1)
    bench.run()
    assert work.delay(1).get(0) is None
    assert all(b"secret" not in value.data for _, value in sorted(records(bench.engine, "idem:")))


@pytest.mark.parametrize("policy", [None, "permanent", "all"])
def test_a_message_that_keeps_no_result_is_told_to_be_done_though_its_own_record_is_gone(
    bench, clock, policy
):
    work = bench.task(
        lambda n: "secret",
        ignore_result=True,
        result_ttl=60,
        idempotency={"keys": "all", "ttl": 600, "replay_failures": policy},
    )
    first = work.delay(1)
    clock.advance(5)
    ended = clock.now_ms()
    delivery = bench.harness.claim().deliveries[0]
    settlement = bench.harness.runner.run(bench.harness.runner.open(delivery))
    assert settlement.effects == ()  # its ending tells it all
    bench.engine.settle([settlement])
    clock.advance(120)
    bench.engine.reap()
    assert bench.engine.get(first.id) is None
    second = work.delay(1)
    assert (second.id, second.state, second.get(0)) == (first.id, "SUCCESS", None)
    assert second.record().ended == ended and bench.counts == {"replays": 1}


def test_a_call_says_itself_that_its_result_is_not_kept(bench, clock):
    work = bench.task(lambda n: "paid", result_ttl=60)
    work.apply_async((1,), ignore_result=True)
    work.apply_async((2,), ignore_result=False)
    bench.run()
    clock.advance(120)
    bench.engine.reap()
    assert [work.delay(n).get(0) for n in (1, 2)] == [None, "paid"] and bench.run() == 0


def test_a_key_counts_for_its_life_from_the_end_of_the_message(bench, clock):
    work = bench.task(lambda n: "paid", idempotency={"keys": "all", "ttl": 60})
    work.apply_async((1,), countdown=1000)
    clock.advance(1000)
    bench.run()
    clock.advance(59)
    assert work.delay(1).state == "SUCCESS"
    clock.advance(2)
    assert work.delay(1).state == "PENDING" and bench.run() == 1


def test_a_message_that_waits_long_keeps_its_key(bench, clock):
    work = bench.task(lambda n: "paid", idempotency={"keys": "all", "ttl": 60})
    first = work.apply_async((1,), countdown=100_000)
    clock.advance(90_000)
    bench.engine.reap()
    assert work.delay(1) == first


def test_duplicates_can_be_refused_instead(bench):
    work = bench.task(idempotency={"keys": "all", "on_duplicate": "raise"})
    first = work.delay(1)
    with pytest.raises(IdempotencyConflict) as caught:
        work.delay(1)
    assert (caught.value.existing_id, caught.value.state) == (first.id, "ready")
    assert (
        str(caught.value)
        == f"work was sent with this key before, as message {first.id} (ready); reliq why {first.id}"
    )
    bench.run()
    with pytest.raises(IdempotencyConflict, match=r"\(done\)"):
        work.delay(1)
    assert bench.counts == {"conflicts": 2}


def test_duplicates_within_a_batch_join_the_first(bench):
    work = bench.task()
    one, two, again = bench.app.publish_many(work, [(1,), (2,), (1,)])
    assert again == one and two != one and bench.run() == 2


def test_a_large_result_stays_in_the_message_s_record(bench, clock):
    large = "x" * 200
    work = bench.task(lambda n: large, idempotency={"keys": "all", "max_result": 100}, result_ttl=60)
    work.delay(1)
    bench.run()
    assert all(len(value.data) < 200 for _, value in sorted(records(bench.engine, "idem:")))
    assert work.delay(1).get(0) == large
    clock.advance(61)
    bench.engine.reap()
    with pytest.raises(UnknownResult):  # the key still counts, the result is gone
        work.delay(1).get(0)
    assert bench.run() == 0


# --- keys ---


def test_the_key_of_a_call_is_over_all_others_and_none_is_no_key(bench):
    work = bench.task(lambda order, cents: None, idempotency={"keys": ["order"]})
    one = work.using(idempotency_key="order-1").delay(1, 500)
    assert work.apply_async((1, 500), idempotency_key="order-1") == one
    assert work.using(idempotency_key="order-2").delay(1, 500) != one
    assert work.using(idempotency_key=("order", 1)).delay(1, 500) != one
    assert work.delay(1, 500) != one
    assert work.using(idempotency_key=None).delay(1, 500) != work.using(idempotency_key=None).delay(1, 500)


def test_without_a_key_there_is_no_record(bench):
    work = bench.task(lambda n: current().idempotency_key, idempotency={"ttl": 5})
    one, two = work.delay(1), work.delay(1)
    bench.run()
    assert bench.holders() == [] and (one.get(0), two.get(0)) == (one.id, two.id)


def test_a_run_knows_its_key_and_a_retry_has_the_same(bench):
    seen = []

    def body(n):
        seen.append(current().idempotency_key)
        return Retry(1) if len(seen) == 1 else None

    work = bench.task(body)
    work.delay(1)
    bench.run(advance=True)
    assert len(seen) == 2 and len(set(seen)) == 1
    assert bench.middleware.key_of(work, (1,)) == f"idem:{seen[0]}"


def test_positional_keyword_and_default_forms_are_one_call(bench):
    def charge(order: int, why: str = "import") -> None: ...

    work = bench.app.task(name="charge", idempotency=ALL)(charge)
    first = work.delay(7)
    for args, kwargs in (((7, "import"), {}), ((7,), {"why": "import"}), ((), {"why": "import", "order": 7})):
        assert work.apply_async(args, kwargs) == first
    assert work.delay(7, "other") != first and work.delay(8) != first


def test_no_keys_at_all_make_one_key_for_the_task(bench):
    work = bench.task(lambda n: None, idempotency={"keys": [], "fingerprint": None})
    assert work.delay(1) == work.delay(2)


def test_a_function_can_make_the_key(bench):
    work = bench.task(
        lambda order, cents: None,
        idempotency={"key": lambda order, cents: f"o{order}" if order else None, "fingerprint": None},
    )
    assert work.delay(1, 5) == work.delay(1, 6)
    assert work.delay(0, 5) != work.delay(0, 5)


def test_tasks_do_not_share_keys(bench):
    one, two = bench.task(), bench.task(name="other")
    assert one.using(idempotency_key="k").delay(1) != two.using(idempotency_key="k").delay(1)


def test_namespaces_do_not_share_keys(bench):
    work = bench.task(lambda n: None)
    other = {"keys": "all", "namespace": "eu"}
    assert work.delay(1) != work.using(idempotency=other).delay(1)


def test_each_parent_has_keys_of_its_own(bench):
    sent = []
    child = bench.task(lambda n: None, name="child", idempotency={"keys": "all", "scope": "parent"})
    parent = bench.task(
        lambda n: sent.append((child.delay(1).id, child.delay(1).id)), name="parent", idempotency=False
    )
    parent.delay(1)
    parent.delay(2)
    bench.run()
    (a, a2), (b, b2) = sent
    assert a == a2 and b == b2 and a != b


def test_a_parent_that_is_run_again_sends_the_same_children(bench):
    sent = []
    child = bench.task(lambda n: None, name="child", idempotency={"keys": "all", "scope": "parent"})

    def send(n):
        sent.append(child.delay(n).id)
        return Retry(1) if len(sent) == 1 else None

    bench.task(send, name="parent", idempotency=False).delay(1)
    bench.run(advance=True)
    assert len(sent) == 2 and len(set(sent)) == 1 and bench.ran.count(sent[0]) == 1


def test_the_options_of_a_call_stand_over_the_task_s_over_the_app_s(engine, clock):
    bench = Bench(engine, clock, ttl=60, keys="all")
    with bench.harness:
        plain = bench.app.task(name="plain")(lambda n: None)
        assert plain.delay(1) == plain.delay(1)  # the app says keys="all"
        off = bench.task(lambda n: None, name="off", idempotency=False)
        assert off.delay(1) != off.delay(1)
        assert off.using(idempotency=True).delay(1) == off.using(idempotency=True).delay(1)
        long = bench.task(lambda n: None, name="long", idempotency={"ttl": timedelta(hours=1)})
        long.using(idempotency={"on_duplicate": "raise"}).delay(9)
        with pytest.raises(IdempotencyConflict):
            long.using(idempotency={"on_duplicate": "raise"}).delay(9)
        now = clock.now_ms()
        bench.run()
        assert sorted(bench.lives()) == sorted([now + 60_000] * 2 + [now + 3_600_000])
        assert plain.using(idempotency=False).delay(1) != plain.delay(1)


def test_by_name_from_files_and_environment(engine, clock):
    app = Reliq("shop", broker="memory://", middleware=[{"use": "idempotency", "ttl": 60}])
    with Harness(app, clock=clock, engine=engine):
        work = app.task(name="work")(lambda: None)
        assert work.using(idempotency_key="k").delay() == work.using(idempotency_key="k").delay()


# --- the payload ---


def test_the_same_key_with_other_arguments_is_refused_and_the_record_is_untouched(bench):
    work = bench.task(lambda order, cents: "paid", idempotency={"keys": ["order"]})
    first = work.delay(1, 500)
    before = sorted(records(bench.engine, "idem:"))
    with pytest.raises(IdempotencyMismatch) as caught:
        work.delay(1, 600)
    assert caught.value.existing_id == first.id and "other arguments" in str(caught.value)
    assert sorted(records(bench.engine, "idem:")) == before and bench.counts == {"mismatches": 1}
    bench.run()
    before = sorted(records(bench.engine, "idem:"))
    with pytest.raises(IdempotencyMismatch):
        work.delay(1, 600)
    assert sorted(records(bench.engine, "idem:")) == before and work.delay(1, 500).get(0) == "paid"


def test_the_fingerprint_can_leave_arguments_out(bench):
    work = bench.task(
        lambda order, cents, trace: None, idempotency={"keys": ["order"], "fingerprint": ["cents"]}
    )
    assert work.delay(1, 500, "a") == work.delay(1, 500, "b")
    with pytest.raises(IdempotencyMismatch):
        work.delay(1, 501, "a")


def test_no_fingerprint_compares_nothing(bench):
    work = bench.task(lambda order, cents: None, idempotency={"keys": ["order"], "fingerprint": None})
    assert work.delay(1, 500) == work.delay(1, 600)


def test_an_argument_that_cannot_be_compared_is_refused_with_the_way_out(bench):
    work = bench.task(lambda order, x: None, idempotency={"keys": ["order"]})
    with pytest.raises(UnkeyableArgument, match="fingerprint") as caught:
        work.delay(1, object())
    assert caught.value.parameter == "x" and bench.holders() == []


# --- every ending ---


@pytest.mark.parametrize(
    "body",
    [
        lambda n: 1 / 0,
        lambda n: Drop("x"),
        lambda n: Fail("x"),
        lambda n: object(),
        pytest.param(lambda n: exec("raise SystemExit"), id="exit"),
    ],
)
def test_a_run_that_ends_without_a_result_frees_the_key(bench, body):
    work = bench.task(body)
    first = work.delay(1)
    assert bench.holders() == [first.id]
    bench.run()
    assert bench.holders() == [] and work.delay(1) != first


def expire(bench, handle):
    bench.clock.advance(61)
    bench.engine.reap()


def cancel_running(bench, handle):
    delivery = bench.harness.claim().deliveries[0]
    assert handle.cancel() == "requested"
    bench.engine.bury(delivery.receipt.owner, started=[])


def crash(bench, handle):
    for n in range(3):
        bench.engine.register(f"w{n}", 30)
        receipt = bench.engine.claim(f"w{n}", ["default"], limit=1, seq=1).deliveries[0].receipt
        bench.engine.bury(f"w{n}", started=[receipt])
        bench.clock.advance(10)


def hard_limit(bench, handle):
    from reliq.ports.values import Settlement

    delivery = bench.harness.claim().deliveries[0]
    guilty = Settlement(delivery.receipt, "failed", reason="hard time limit")
    bench.engine.bury(delivery.receipt.owner, started=[delivery.receipt], guilty=[guilty])


ENDINGS = [
    pytest.param(lambda bench, handle: handle.cancel(), id="cancel"),
    pytest.param(lambda bench, handle: handle.revoke(), id="revoke"),
    pytest.param(lambda bench, handle: bench.engine.purge("default"), id="purge"),
    expire,
    cancel_running,
    crash,
    hard_limit,
]


@pytest.mark.parametrize("end", ENDINGS)
def test_an_ending_that_the_broker_makes_frees_the_key_with_no_worker_of_the_app(bench, end):
    work = bench.task(lambda n: None)
    first = work.apply_async((1,), expires=60)
    end(bench, first)
    assert first.ready() and bench.holders() == []
    assert work.delay(1).state == "PENDING"


def test_an_expired_message_has_no_key_though_no_process_has_reaped_it(bench):
    work = bench.task(lambda n: None)
    first = work.apply_async((1,), expires=60)
    bench.clock.advance(61)
    second = work.delay(1)
    assert (first.state, second.id != first.id) == ("REVOKED", True)
    assert bench.holders() == [second.id]


def test_damage_on_the_way_frees_the_key(bench):
    first = bench.task(lambda n: None).delay(1)
    delivery = bench.harness.claim().deliveries[0]
    bench.harness.settle(msgspec.structs.replace(delivery, payload=b"\xc1"))
    assert first.failed() and bench.holders() == []


def test_a_message_parked_to_death_by_another_deployment_frees_the_key(bench, engine, clock):
    first = bench.task(lambda n: None).delay(1)
    with Harness(Reliq("shop", broker="memory://", park_for=90), clock=clock, engine=engine) as other:
        assert other.run_until_idle(advance=True) == 3
    assert first.failed() and bench.holders() == []


def test_a_worker_without_the_middleware_leaves_the_result_in_the_message_s_record(bench, engine, clock):
    work = bench.task(lambda n: None)
    first = work.delay(1)
    plain = Reliq("shop", broker="memory://")
    plain.task(name="work")(lambda n: "paid")
    with Harness(plain, clock=clock, engine=engine) as other:
        other.run_until_idle()
    assert bench.lives() == [clock.now_ms() + 86_400_000]
    second = work.delay(1)
    assert (second.id, second.get(0)) == (first.id, "paid") and bench.counts == {"replays": 1}


@pytest.mark.parametrize("again", [Retry(7200), Snooze(7200)])
def test_a_message_that_waits_to_run_again_keeps_its_key(bench, clock, again):
    runs = []
    work = bench.task(
        lambda n: again if not runs.append(1) and len(runs) == 1 else "paid",
        idempotency={"keys": "all", "ttl": 60},
    )
    first = work.delay(1)
    bench.run()
    clock.advance(7199)
    assert work.delay(1) == first and bench.lives() == [None]
    clock.advance(1)
    bench.run()
    assert work.delay(1).get(0) == "paid"


def test_a_crash_keeps_the_key_and_the_next_run_takes_over_at_once(bench):
    work = bench.task(lambda n: "paid")
    first = work.delay(1)
    bench.harness.crash()
    assert bench.holders() == [first.id] and work.delay(1) == first
    bench.run(advance=True)
    assert first.get(0) == "paid" and first.record().snoozes == 0 and bench.ran == [first.id]


# --- failures ---


def boom(n):
    raise ValueError(f"no order {n}")


def too_slow(n):
    from reliq.errors import SoftTimeLimitExceeded

    raise SoftTimeLimitExceeded("ran too long")


@pytest.mark.parametrize(
    ("body", "options", "keeps"),
    [
        (boom, {}, {"permanent", "all"}),
        (lambda n: Fail("no"), {}, {"permanent", "all"}),
        (boom, {"retry_on": ValueError, "max_retries": 1}, {"all"}),
        (lambda n: Retry(1), {"max_retries": 1}, {"all"}),
        (lambda n: Snooze(10), {"max_snooze": 5}, {"all"}),
        (too_slow, {}, {"all"}),
    ],
    ids=["error", "Fail", "retries", "Retry", "Snooze", "time"],
)
@pytest.mark.parametrize("policy", [None, "permanent", "all"])
@pytest.mark.parametrize("ignore", [False, True])
def test_failures_are_kept_as_the_policy_says(bench, clock, body, options, keeps, policy, ignore):
    said = {"keys": "all", "ttl": 600, "replay_failures": policy}
    work = bench.task(body, idempotency=said, ignore_result=ignore, **options)
    first = work.delay(1)
    bench.run(advance=True)
    assert first.failed()
    second = work.delay(1)
    if policy not in keeps:
        assert second != first and second.state == "PENDING"
        return
    assert second == first and second.failed() and bench.run() == 0
    clock.advance(601)
    assert work.delay(1) != first


@pytest.mark.parametrize("end", [crash, hard_limit])
@pytest.mark.parametrize("policy", ["permanent", "all"])
@pytest.mark.parametrize("ignore", [False, True])
def test_a_failure_made_by_the_broker_is_kept_only_where_all_are(bench, end, policy, ignore):
    said = {"keys": "all", "replay_failures": policy}
    work = bench.task(lambda n: None, idempotency=said, ignore_result=ignore)
    first = work.delay(1)
    end(bench, first)
    assert first.failed()
    again = work.delay(1)
    assert (again == first) is (policy == "all") and again.failed() is (policy == "all")


def test_a_kept_failure_outlives_the_dead_letter(bench, clock):
    work = bench.task(
        boom, idempotency={"keys": "all", "ttl": 6000, "replay_failures": "all"}, dead_letter_ttl=60
    )
    first = work.delay(1)
    bench.run()
    original = first.get(0, propagate=False)
    assert isinstance(work.delay(1).get(0, propagate=False), TaskFailed)
    clock.advance(61)
    bench.engine.reap()
    assert bench.engine.get(first.id) is None
    kept = work.delay(1).get(0, propagate=False)
    assert (kept.id, kept.kind, kept.message, str(kept)) == (
        first.id,
        "ValueError",
        "no order 1",
        str(original),
    )


def test_a_dead_letter_that_lives_again_takes_its_key_again(bench):
    fails = [True]
    work = bench.task(lambda n: 1 / 0 if fails else "paid")
    first = work.delay(1)
    bench.run()
    fails.clear()
    assert bench.holders() == [] and bench.engine.replay(first.id)
    assert bench.holders() == [first.id] and work.delay(1) == first
    bench.run()
    assert work.delay(1).get(0) == "paid" and len(bench.ran) == 2


@pytest.mark.parametrize("policy", ["permanent", "all"])
def test_a_kept_failure_that_lives_again_can_still_be_done(bench, policy):
    fails = [True]
    work = bench.task(
        lambda n: 1 / 0 if fails else "paid", idempotency={"keys": "all", "replay_failures": policy}
    )
    first = work.delay(1)
    bench.run()
    fails.clear()
    assert bench.engine.replay(first.id) and bench.lives() == [None]
    bench.run()
    assert work.delay(1).get(0) == "paid"


def test_a_dead_letter_does_not_live_again_while_another_message_has_its_key(bench):
    from reliq.errors import GuardRefused

    fails = [True]
    work = bench.task(lambda n: 1 / 0 if fails else "paid")
    first = work.delay(1)
    bench.run()
    fails.clear()
    second = work.delay(1)
    with pytest.raises(GuardRefused):
        bench.engine.replay(first.id)
    bench.run()
    with pytest.raises(GuardRefused):  # done: its second run would be a second effect
        bench.engine.replay(first.id)
    assert bench.holders() == [second.id] and first.failed()


# --- another message with the key ---


def two_of_a_key(bench, **options):
    """Two live messages with one key: an operator removed the first one's record."""
    work = bench.task(lambda n, m=0: "paid", idempotency={"keys": ["n"], **options})
    first = work.delay(1)
    assert bench.engine.store_drop(bench.middleware.key_of(work, (1,)))
    return work, first


def test_a_run_waits_while_another_message_with_its_key_runs_and_is_then_given_its_result(bench):
    work, first = two_of_a_key(bench)
    bench.engine.register("other", 3600)
    second = work.apply_async((1,), queue="apart")
    theirs = bench.engine.claim("other", ["apart"], limit=1, seq=1).deliveries[0]
    bench.run()
    record = first.record()
    assert (record.state, record.snoozes, record.attempt) == ("due", 1, 0)
    assert second.id in record.reason and bench.ran == [] and bench.counts == {"conflicts": 1}
    bench.harness.settle(theirs)
    bench.run(advance=True)
    assert (first.get(0), second.get(0)) == ("paid", "paid") and bench.ran == [second.id]
    assert bench.holders() == [second.id] and work.delay(1).id == second.id


def test_a_run_can_fail_instead_of_waiting(bench):
    work, first = two_of_a_key(bench, on_in_progress="raise")
    second = work.apply_async((1,), countdown=1000)
    bench.run()
    error = first.get(0, propagate=False)
    assert error.kind.endswith("IdempotencyInProgress") and second.id in error.message
    assert bench.holders() == [second.id]


def test_a_run_whose_key_was_used_with_other_arguments_since_fails(bench):
    work, first = two_of_a_key(bench)
    work.apply_async((1, 9), countdown=1000)
    before = sorted(records(bench.engine, "idem:"))
    bench.run()
    assert first.get(0, propagate=False).kind.endswith("IdempotencyMismatch")
    assert sorted(records(bench.engine, "idem:")) == before and bench.ran == []


def test_a_run_whose_record_is_gone_takes_it_again(bench, clock):
    seen = []
    work, first = two_of_a_key(bench)
    bench.app.tasks["work"].func = lambda n, m=0: (
        seen.append(bench.holders()) or (Retry(7200) if len(seen) == 1 else "paid")
    )
    bench.run()
    clock.advance(7000)
    assert seen == [[first.id]] and bench.lives() == [None] and work.delay(1) == first
    bench.run(advance=True)
    assert work.delay(1).get(0) == "paid"


def test_a_run_whose_key_went_to_another_message_completes_and_frees_nothing_of_another(bench):
    ends: list[object] = ["done", Drop("no"), Fail("no")]
    taken = []

    def body(n):
        bench.engine.store_drop(bench.middleware.key_of(work, (n,)))
        taken.append(work.apply_async((n,), countdown=1000))
        return ends[n]

    work = bench.task(body)
    for n in range(3):
        work.delay(n)
    before = []
    for n in range(3):
        bench.harness.run_one()
        key = bench.middleware.key_of(work, (n,))
        before.append(bench.engine.store_get(key))
        assert before[-1] is not None and before[-1].holder == taken[n].id and before[-1].expires is None


def test_the_key_is_made_where_a_call_is_sent_and_not_where_it_arrives(bench, engine, clock):
    """The worker's code is newer: it would make another key of the same call."""
    work = bench.task(lambda n: "paid", idempotency={"keys": ["n"]})
    first = work.delay(1)
    newer = Bench(engine, clock)
    newer.task(lambda n: "paid", idempotency={"keys": [], "ttl": 1})
    with newer.harness:
        newer.run()
    assert bench.lives() == [clock.now_ms() + 86_400_000] and work.delay(1) == first


@pytest.mark.parametrize("own", [False, True])
def test_headers_that_a_task_hands_on_do_not_hand_on_its_key(bench, own):
    seen = []
    child = bench.task(
        lambda n: seen.append((current().id, current().idempotency_key)), name="child", idempotency={}
    )

    def send(n):
        key = {"idempotency_key": "k"} if own else {}
        child.apply_async((n,), headers=dict(current().headers), **key)
        return "parent"

    parent = bench.task(send, name="parent")
    first = parent.delay(1)
    bench.run()
    ((id, key),) = seen
    assert (key == id) is not own and key != parent and first.get(0) == "parent"
    assert key != bench.middleware.key_of(parent, (1,)).removeprefix("idem:")


def test_a_run_that_has_lost_its_message_takes_no_key(bench):
    work, first = two_of_a_key(bench)
    delivery = bench.harness.claim().deliveries[0]
    bench.engine.bury(delivery.receipt.owner, started=[delivery.receipt])
    first.cancel()
    bench.harness.settle(delivery)  # it wakes up
    assert (bench.ran, bench.holders()) == ([], []) and work.delay(1) != first


@pytest.mark.parametrize("large", [False, True])
def test_a_run_is_given_the_result_of_the_message_that_did_its_call(bench, large):
    work, first = two_of_a_key(bench, **({"max_result": 1} if large else {}))
    second = work.apply_async((1,), queue="apart", priority=9)
    bench.engine.register("other", 3600)
    bench.harness.settle(bench.engine.claim("other", ["apart"], limit=1, seq=1).deliveries[0])
    bench.run()
    assert first.get(0) == "paid" and bench.ran == [second.id] and bench.counts == {"replays": 1}
    assert first.record().reason is None or "idempotency" in first.record().reason


def test_a_run_whose_result_is_past_its_life_is_dropped(bench, clock):
    work, first = two_of_a_key(bench, max_result=1)
    work.apply_async((1,), queue="apart")
    bench.engine.register("other", 3600)
    bench.harness.settle(bench.engine.claim("other", ["apart"], limit=1, seq=1).deliveries[0])
    second = bench.holders()[0]
    bench.engine.remove(second)
    bench.run()
    assert first.state == "IGNORED" and "past its life" in first.record().reason


def test_a_key_held_by_a_message_that_does_not_exist_is_told_and_a_run_takes_it(bench):
    work, first = two_of_a_key(bench)
    key = bench.middleware.key_of(work, (1,))
    ghost = msgspec.msgpack.encode(["accepted", "ghost", "work", None])
    bench.engine.store_put(key, ghost, holder="ghost")
    with pytest.raises(IdempotencyError, match="reliq idem rm") as caught:
        work.delay(1)
    assert caught.value.existing_id == "ghost"
    assert any("does not know" in complaint for complaint in bench.middleware.checks())
    bench.run()
    assert first.get(0) == "paid" and bench.holders() == [first.id]


@pytest.mark.parametrize("option", [{"idempotency_key": "order-1"}, {"idempotency": True}])
def test_an_app_without_the_middleware_says_where_its_options_belong(clock, engine, option):
    app = Reliq("shop", broker="memory://")
    undo = app.use_engine(engine, clock)
    work = app.task(name="work")(lambda n: None)
    with pytest.raises(
        OptionError, match="it belongs to the middleware 'idempotency', which this task"
    ) as caught:
        work.using(**option).delay(1)
    assert "Reliq(..., middleware=['idempotency']) switches it on" in str(caught.value)
    assert engine.audit().accepted == 0
    undo()


def test_a_broker_that_is_no_engine_is_refused(bench, engine, clock):
    class Plain:
        capabilities = msgspec.structs.replace(engine.capabilities, engine=False, name="plain")

    work = bench.task()
    undo = bench.app.use_engine(Plain(), clock)
    with pytest.raises(
        OptionError, match="idempotency needs a broker that keeps records and messages in one step"
    ):
        work.delay(1)
    undo()


# --- keys that are none ---


def raising(n):
    raise LookupError("no such order")


async def waiting(n):
    return "x"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (
            raising,
            "The key function raising of work raised LookupError: no such order; nothing was published",
        ),
        (lambda: "x", "raised TypeError"),
        (lambda n: 7, "gave a int; give a text or a tuple that is not empty, or None for no key"),
        (lambda n: "", "gave ''; give a text or a tuple"),
        (lambda n: "x" * 1025, "has 1,025 bytes, the limit is 1,024: give what identifies the call"),
        (lambda n: ("x" * 1024, 1), "the limit is 1,024"),
        (lambda n: (object(),), "cannot be part of a key"),
    ],
)
def test_a_key_function_that_gives_no_key_refuses_the_call(bench, key, said):
    work = bench.task(idempotency={"key": key, "fingerprint": None})
    with pytest.raises(UnkeyableArgument) as caught:
        work.delay(1)
    assert said in str(caught.value)
    assert bench.holders() == [] and bench.engine.audit().accepted == 0


def test_an_async_key_function_is_refused_where_the_task_is_defined(bench):
    with pytest.raises(OptionError, match="key is a plain function of the arguments"):
        bench.task(idempotency={"key": waiting})


def test_the_key_of_a_call_has_at_most_one_kib(bench):
    work = bench.task()
    call = work.using(idempotency_key="é" * 512)
    assert call.delay(1) == call.delay(1)
    with pytest.raises(UnkeyableArgument, match="idempotency_key has 1,025 bytes, the limit is 1,024"):
        work.using(idempotency_key="é" * 512 + "x").delay(1)
    assert bench.engine.audit().accepted == 1


# --- stale runs ---


def test_a_run_that_lost_its_message_completes_nothing(bench):
    work = bench.task(lambda n: len(bench.ran))
    first = work.delay(1)
    lost = bench.harness.claim().deliveries[0]
    bench.engine.bury(lost.receipt.owner, started=[lost.receipt])
    bench.harness._register()
    bench.harness.settle(lost)  # it goes on as if nothing had happened
    assert bench.lives() == [None] and bench.counts == {"stale_completions": 1}
    bench.run(advance=True)
    assert first.get(0) == 2 and work.delay(1).get(0) == 2


@pytest.mark.parametrize("ignore", [False, True])
def test_a_run_that_wakes_after_another_has_done_the_work_does_not_do_it_again(bench, ignore):
    work = bench.task(lambda n: len(bench.ran), ignore_result=ignore)
    work.delay(1)
    lost = bench.harness.claim().deliveries[0]
    bench.engine.bury(lost.receipt.owner, started=[lost.receipt])
    bench.harness._register()
    bench.run(advance=True)
    before = sorted(records(bench.engine, "idem:"))
    bench.harness.settle(lost)
    assert len(bench.ran) == 1 and sorted(records(bench.engine, "idem:")) == before


def test_a_chosen_id_that_is_sent_again_after_its_window_does_not_run_again(bench, clock):
    work = bench.task(lambda n: len(bench.ran), idempotency={"keys": "all", "ttl": 864_000}, result_ttl=60)
    work.apply_async((1,), task_id="order-1")
    bench.run()
    clock.advance(90_000)
    bench.engine.reap()
    again = work.apply_async((1,), task_id="order-1")
    assert bench.run() == 0 and again.get(0) == 1


# --- at once ---


def test_of_many_senders_at_once_one_makes_the_message_and_all_are_given_it(bench):
    work = bench.task(lambda n: "paid")
    start = threading.Barrier(8)
    handles: list[object] = []

    def send() -> None:
        start.wait(10)
        for n in range(5):
            handles.append(work.delay(n))

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(30)
    assert len(handles) == 40 and len({handle.id for handle in handles}) == 5
    assert bench.run() == 5 and bench.counts == {"joins": 35}


# --- outages ---


class Loses:
    """An engine that loses its replies, or the store's operations."""

    def __init__(self, engine, names, *, after=True):
        self.engine, self.names, self.after = engine, names, after

    def __getattr__(self, name):
        call = getattr(self.engine, name)
        if name not in self.names:
            return call

        def lost(*args, **kwargs):
            if self.after:
                call(*args, **kwargs)
            raise BrokerUnavailable("lost by the test")

        return lost


def test_the_same_key_finds_a_message_whose_publish_was_never_answered(bench, clock):
    work = bench.task(lambda n: "paid")
    undo = bench.app.use_engine(Loses(bench.engine, ("publish",)), clock)
    with pytest.raises(PublishUnknown) as caught:
        work.delay(1)
    undo()
    assert work.delay(1).id == caught.value.id
    assert bench.run() == 1 and work.delay(1).get(0) == "paid"


def test_a_run_that_cannot_see_its_key_waits(bench, clock):
    work = bench.task(lambda n: "paid")
    first = work.delay(1)
    bench.engine.store_touch(
        bench.middleware.key_of(work, (1,)), ttl=None
    )  # somebody was here, so every engine looks
    undo = bench.app.use_engine(Loses(bench.engine, ("store_get",), after=False), clock)
    bench.run()
    assert bench.ran == [] and first.record().snoozes == 1 and "cannot see" in first.record().reason
    undo()
    bench.run(advance=True)
    assert first.get(0) == "paid"


# --- options and neighbours ---


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": "k"}, "idempotency key is a plain function"),
        ({"kyes": ["a"]}, "has no option 'kyes'; did you mean 'keys'?"),
        ({"keys": "a"}, 'keys is a list of argument names, "all" or None'),
        ({"keys": ["b"]}, "keys names 'b', which is not a parameter"),
        ({"fingerprint": ["b"]}, "'b', which is not a parameter"),
        ({"keys": ["a"], "key": lambda a: a}, "keys or key, not both"),
        ({"ttl": 0}, "ttl is seconds above 0"),
        ({"ttl": float("nan")}, "ttl is seconds above 0"),
        ({"ttl": float("inf")}, "ttl is seconds above 0"),
        ({"on_duplicate": "drop"}, "on_duplicate is 'join' or 'raise', got 'drop'"),
        ({"on_in_progress": "wait"}, "on_in_progress is 'snooze' or 'raise'"),
        ({"replay_failures": True}, "replay_failures is None or 'permanent' or 'all'"),
        ({"scope": "root"}, "scope is 'task' or 'parent'"),
        ({"namespace": 1}, "namespace is a text"),
        ({"max_result": -1}, "max_result is a whole number of bytes"),
        ("yes", "idempotency= takes a dict, Idempotent(...), True or False"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_where_the_task_is_defined(bench, options, said):
    with pytest.raises(OptionError) as caught:
        bench.task(lambda a: None, idempotency=options)
    assert said in str(caught.value) and "'work'" in str(caught.value)


def test_options_can_be_given_as_an_object(bench):
    work = bench.task(lambda n: None, idempotency=Idempotent(keys="all", on_duplicate="raise"))
    work.delay(1)
    with pytest.raises(IdempotencyConflict):
        work.delay(1)


@pytest.mark.parametrize("key", ["", (), 7, b"x"])
def test_a_key_that_cannot_be_used_is_refused_where_it_is_given(bench, key):
    work = bench.task(lambda n: None)
    with pytest.raises(OptionError, match="idempotency_key is a text or a tuple"):
        work.using(idempotency_key=key)


def test_a_key_belongs_to_a_call_and_not_to_a_task(bench):
    with pytest.raises(OptionError, match="is the key of one call"):
        bench.task(lambda n: None, idempotency_key="k")


def test_options_for_the_app_that_cannot_be_used_are_refused(bench):
    with pytest.raises(OptionError, match="ttl is seconds"):
        Idempotency(ttl=-1)


def test_a_duplicate_joins_before_queue_once_refuses_it(bench):
    work = bench.app.task(name="work", base=QueueOnce, idempotency=ALL)(lambda n: "paid")
    assert work.chain.names == ("idempotency", "once")
    first = work.delay(1)
    assert work.delay(1) == first
    bench.run()
    assert work.delay(1).get(0) == "paid"


def test_inside_queue_once_it_is_refused_with_the_order_that_works(engine, clock):
    app = Reliq("shop", broker="memory://", middleware=[QueueOnceMiddleware(), Idempotency()])
    with (
        Harness(app, clock=clock, engine=engine),
        pytest.raises(OptionError, match="must stand inside 'idempotency'"),
    ):
        app.task(name="work")(lambda: None).delay()


def test_a_call_with_a_key_cannot_be_a_link_and_one_without_can(bench):
    work = bench.task(lambda n: None)
    other = bench.app.task(name="other")(lambda: 1)
    with pytest.raises(OptionError, match="cannot be a link"):
        other.apply_async(link=work.si(1))
    with pytest.raises(OptionError, match="cannot be a link: .* the parent's result is not there yet"):
        other.apply_async(link=work.s())
    other.apply_async(link=work.s().set(idempotency=False))
    bench.run()
    assert len(bench.ran) == 1


@pytest.mark.parametrize(
    "error",
    [
        IdempotencyConflict("c", key="k", existing_id="a", state="done"),
        IdempotencyMismatch("m", key="k", existing_id="a"),
        IdempotencyInProgress("p", key="k", existing_id="a"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_pickle_with_all_they_say(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


async def asynchronous(n):
    return "paid"


def test_async_tasks_are_served_alike(bench):
    work = bench.app.task(name="later", idempotency=ALL)(asynchronous)
    first = work.delay(1)
    assert work.delay(1) == first
    bench.run()
    assert work.delay(1).get(0) == "paid"


def test_a_done_given_by_the_task_is_stored_like_a_returned_value(bench):
    work = bench.task(lambda n: Done(["paid"]))
    work.delay(1)
    bench.run()
    assert work.delay(1).get(0) == ["paid"]


def test_a_task_whose_results_live_shorter_than_its_keys_is_told_by_the_doctor(bench):
    bench.task(lambda n: None, idempotency={"keys": "all", "ttl": 900_000})
    assert any("result_ttl" in complaint for complaint in bench.middleware.checks())


# --- what any middleware keeps ---


class TestContract(MiddlewareContract):
    options = {"idempotency": ALL}  # noqa: RUF012
    keeps = ("idem:",)

    @pytest.fixture
    def clock(self, clock):
        return clock

    @pytest.fixture
    def engine(self, engine):
        return engine

    @pytest.fixture
    def middleware(self):
        return Idempotency()


class TestContractWithKeptFailures(MiddlewareContract):
    options = {"idempotency": {"keys": "all", "replay_failures": "permanent"}}  # noqa: RUF012
    keeps = ("idem:",)

    @pytest.fixture
    def middleware(self):
        return Idempotency()
