"""QueueOnce: one such call at a time, and the lock goes with the message."""

from __future__ import annotations

import pickle
from datetime import date

import msgspec
import pytest

from reliq import Drop, Fail, Reliq, Retry, Snooze
from reliq.errors import OptionError, PublishUnknown, UnkeyableArgument
from reliq.testing import Harness
from reliq_once import AlreadyQueued, Once, QueueOnce, QueueOnceMiddleware

# --- raise and graceful ---


def test_a_second_call_is_refused_and_names_what_holds_the_key(bench, clock):
    work = bench.task(lambda customer: None)
    first = work.delay(7)
    clock.advance(600)
    with pytest.raises(AlreadyQueued) as caught:
        work.delay(7)
    error = caught.value
    assert (error.existing_id, error.state, error.countdown) == (first.id, "ready", 3000.0)
    assert error.key.startswith("once:") and error.message == str(error)
    assert (
        str(error)
        == f"work is queued already: message {first.id} (ready) holds the key; reliq why {first.id}"
    )
    assert bench.harness.run_until_idle() == 1


def test_the_refusal_pickles_with_all_it_says(bench):
    work = bench.task(lambda: None)
    work.delay()
    with pytest.raises(AlreadyQueued) as caught:
        work.delay()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), vars(copy)) == (str(caught.value), vars(caught.value))
    assert set(vars(copy)) == {"countdown", "message", "existing_id", "key", "state"}


def test_graceful_rejects_instead(bench):
    work = bench.task(lambda: None, once={"graceful": True})
    first, second = work.delay(), work.delay()
    assert (second.state, second.existing_id, second.id) == ("REJECTED", first.id, None)
    assert "is queued already" in second.reason and first.id in second.why()


def test_other_arguments_are_another_call(bench):
    work = bench.task(lambda customer: None)
    work.delay(1)
    work.delay(2)
    assert len(bench.locks()) == 2


def test_the_state_of_a_running_holder_is_told(bench):
    work = bench.task(lambda: None)
    work.delay()
    bench.harness.claim()
    with pytest.raises(AlreadyQueued, match="(leased)"):
        work.delay()


# --- keys ---


def call_forms():
    def work(customer: int, why: str = "import") -> None: ...

    return work, [
        ((7,), {}),
        ((7, "import"), {}),
        ((7,), {"why": "import"}),
        ((), {"why": "import", "customer": 7}),
    ]


def test_positional_keyword_and_default_forms_are_one_call(bench):
    func, forms = call_forms()
    work = bench.task(func)
    work.apply_async(*forms[0])
    for args, kwargs in forms:
        with pytest.raises(AlreadyQueued):
            work.apply_async(args, kwargs)


def test_keys_name_the_arguments_that_count(bench):
    work = bench.task(lambda customer, why: None, once={"keys": ["customer"]})
    work.delay(7, "a")
    with pytest.raises(AlreadyQueued):
        work.delay(7, "b")
    work.delay(8, "a")


def test_no_keys_at_all_make_one_lock_for_the_task(bench):
    work = bench.task(lambda n: None, once={"keys": []})
    work.delay(1)
    with pytest.raises(AlreadyQueued):
        work.delay(2)


def test_rich_arguments_make_keys(bench):
    def work(day: date, tags: set[str]) -> None: ...

    task = bench.task(work)
    task.delay(date(2026, 1, 2), {"a", "b"})
    with pytest.raises(AlreadyQueued):
        task.delay(date(2026, 1, 2), {"b", "a"})


def test_an_argument_without_a_key_is_refused_with_the_way_out(bench):
    work = bench.task(lambda x: None)
    with pytest.raises(UnkeyableArgument, match=r"keys=\[...\]"):
        work.delay(object())
    assert bench.locks() == []


# --- options ---


@pytest.mark.parametrize(
    ("once", "said"),
    [
        ({"kyes": ["a"]}, "once has no option 'kyes'; did you mean 'keys'?"),
        ({"keys": "a"}, "once keys is a list of argument names, got 'a'"),
        ({"keys": ["b"]}, "keys names 'b', which is not a parameter"),
        ({"graceful": 1}, "once graceful is True or False, got 1"),
        ({"timeout": 0}, "once timeout is seconds above 0"),
        ("yes", "once= takes a dict or Once"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_where_the_task_is_defined(bench, once, said):
    with pytest.raises(OptionError) as caught:
        bench.task(lambda a: None, once=once)
    assert said in str(caught.value)


def test_once_can_be_given_as_an_object(bench):
    work = bench.task(lambda: None, once=Once(graceful=True, timeout=10))
    work.delay()
    assert work.delay().state == "REJECTED"
    with pytest.raises(OptionError, match="graceful"):
        bench.app.task(name="other", base=QueueOnce, once=Once(graceful="yes"))(lambda: None)


def test_options_of_a_call_stand_over_those_of_the_task_and_leave_the_others(bench):
    work = bench.task(lambda customer, why: None, once={"keys": ["customer"]})
    work.delay(7, "a")
    assert work.apply_async((7, "b"), once={"graceful": True}).state == "REJECTED"
    assert work.using(once={"graceful": True}).delay(7, "c").state == "REJECTED"
    with pytest.raises(OptionError, match="once has no option"):
        work.using(once={"gracefull": True})


def test_without_the_base_and_without_a_list_there_is_no_such_option(bench):
    with pytest.raises(OptionError, match="has no option 'once'"):
        bench.app.task(name="plain", once={})(lambda: None)


@pytest.mark.parametrize("listed", [QueueOnceMiddleware(), "once", {"use": "once"}])
def test_in_the_app_s_list_it_serves_every_task_that_says_once(make_bench, listed):
    bench = make_bench([listed])
    with bench.harness:
        once = bench.app.task(name="once", once={})(lambda: None)
        plain = bench.app.task(name="plain")(lambda: None)
        based = bench.app.task(name="based", base=QueueOnce)(lambda: None)
        assert once.chain.names == plain.chain.names == based.chain.names == ("once",)
        for task, twice in ((once, False), (plain, True), (based, False)):
            task.delay()
            if twice:
                task.delay()
            else:
                with pytest.raises(AlreadyQueued):
                    task.delay()


# --- every ending frees the lock ---


@pytest.mark.parametrize(
    "body",
    [
        lambda: None,
        lambda: 1 / 0,
        lambda: Drop("x"),
        lambda: Fail("x"),
        lambda: object(),
        pytest.param(lambda: exec("raise SystemExit"), id="exit"),
    ],
)
def test_the_end_of_a_run_frees_the_lock(bench, body):
    work = bench.task(body)
    first = work.delay()
    assert bench.locks() == [first.id]
    bench.harness.run_until_idle()
    assert bench.locks() == [] and work.delay().state == "PENDING"


def expire(bench, handle):
    bench.harness.clock.advance(61)
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
        bench.harness.clock.advance(10)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda bench, handle: handle.cancel(), id="cancel"),
        pytest.param(lambda bench, handle: handle.revoke(), id="revoke"),
        pytest.param(lambda bench, handle: bench.engine.purge("default"), id="purge"),
        expire,
        cancel_running,
        crash,
    ],
)
def test_an_ending_that_the_broker_makes_frees_the_lock_with_no_worker_of_the_app(bench, end):
    work = bench.task(lambda: None)
    first = work.apply_async(expires=60)
    end(bench, first)
    assert first.ready() and bench.locks() == []
    assert work.delay().state == "PENDING"


def test_an_expired_message_keeps_nobody_out_though_no_process_has_reaped_it(bench, clock):
    work = bench.task(lambda: None)
    first = work.apply_async(expires=60)
    clock.advance(61)
    second = work.delay()
    assert (first.state, first.record().reason) == ("REVOKED", "expired")
    assert bench.locks() == [second.id] and bench.run() == 1


def test_damage_on_the_way_frees_the_lock(bench):
    first = bench.task(lambda: None).delay()
    delivery = bench.harness.claim().deliveries[0]
    bench.harness.settle(msgspec.structs.replace(delivery, payload=b"\xc1"))
    assert first.failed() and bench.locks() == []


def test_a_message_parked_to_death_by_another_deployment_frees_the_lock(bench, engine, clock):
    first = bench.task(lambda: None).delay()
    with Harness(Reliq("shop", broker="memory://", park_for=90), clock=clock, engine=engine) as other:
        assert other.run_until_idle(advance=True) == 3
    assert first.failed() and "unknown task" in first.record().reason and bench.locks() == []


# --- while it lives ---


@pytest.mark.parametrize("again", [Retry(7200), Snooze(7200)])
def test_a_message_that_waits_to_run_again_keeps_its_lock_beyond_the_timeout(bench, clock, again):
    runs = []
    work = bench.task(lambda: again if not runs.append(1) and len(runs) == 1 else None)
    first = work.delay()
    bench.harness.run_until_idle()
    clock.advance(7199)
    with pytest.raises(AlreadyQueued) as caught:
        work.delay()
    assert (caught.value.existing_id, caught.value.state, caught.value.countdown) == (first.id, "due", 3601.0)
    clock.advance(1)
    bench.harness.run_until_idle()
    assert first.successful() and bench.locks() == []


def test_the_timeout_counts_from_the_due_time(bench, clock):
    work = bench.task(lambda: None, once={"timeout": 60})
    work.apply_async(countdown=1000)
    clock.advance(1059)
    with pytest.raises(AlreadyQueued):
        work.delay()
    clock.advance(2)
    second = work.delay()
    assert bench.locks() == [second.id]


def test_the_end_of_a_message_whose_lock_lapsed_does_not_free_its_successor_s(bench, clock):
    work = bench.task(lambda: None, once={"timeout": 60})
    work.delay()
    clock.advance(61)
    second = work.delay()
    bench.harness.run_one()
    assert bench.locks() == [second.id]


def test_a_running_message_holds_its_lock_however_long_it_runs(bench, clock):
    work = bench.task(lambda: None, once={"timeout": 10})
    work.delay()
    bench.harness.claim()
    for _ in range(10):
        clock.advance(20)
        bench.harness.claim()
    with pytest.raises(AlreadyQueued):
        work.delay()


def test_a_crash_keeps_the_lock_for_the_next_attempt(bench):
    work = bench.task(lambda: None)
    first = work.delay()
    bench.harness.crash()
    assert bench.locks() == [first.id]
    bench.harness.run_until_idle(advance=True)
    assert first.successful() and bench.locks() == []


def test_unlock_before_run_frees_the_lock_at_the_start(bench):
    seen = []
    work = bench.task(lambda: seen.append(bench.locks()), once={"unlock_before_run": True})
    work.delay()
    with pytest.raises(AlreadyQueued):
        work.delay()
    bench.harness.run_until_idle()
    assert seen == [[]]


def test_unlock_before_run_takes_a_later_call_s_lock_from_nobody(bench):
    again = []

    def body():
        if not again:
            again.append(work.apply_async(countdown=60))
            return Retry(5)
        return None

    work = bench.task(body, once={"unlock_before_run": True})
    first = work.delay()
    bench.harness.run_one()
    assert bench.locks() == [again[0].id] and first.state == "RETRY"
    bench.clock.advance(5)
    bench.harness.run_one()  # whose start would let go of its own lock
    assert bench.locks() == [again[0].id] and first.state == "SUCCESS"


def test_the_same_id_again_is_the_same_message_not_a_second_one(bench):
    work = bench.task(lambda: None)
    one, two = work.apply_async(task_id="x"), work.apply_async(task_id="x")
    assert one == two and bench.locks() == ["x"]


def test_a_link_to_a_task_that_must_be_locked_is_refused(bench):
    work = bench.task(lambda: None)
    other = bench.app.task(name="other")(lambda: None)
    with pytest.raises(OptionError, match="cannot be a link: its middleware 'once' decides at the publish"):
        other.apply_async(link=work.si())


# --- batches and outages ---


def test_a_duplicate_inside_a_batch_is_refused_like_any_other(bench):
    work = bench.task(lambda n: None)
    one, two, again = bench.app.publish_many(work, [(1,), (2,), (1,)])
    assert isinstance(again, AlreadyQueued) and again.existing_id == one.id
    assert sorted(bench.locks()) == sorted([one.id, two.id])
    graceful = bench.app.publish_many(work, [(3,), (3,), (1,)], once={"graceful": True})
    assert [h.state for h in graceful] == ["PENDING", "REJECTED", "REJECTED"]
    assert graceful[1].existing_id == graceful[0].id


def test_an_unknown_outcome_keeps_the_lock_and_the_same_id_finds_out(bench, clock):
    from reliq.errors import BrokerUnavailable

    work = bench.task(lambda: None)
    engine = bench.engine

    class LosesTheReply:
        def __getattr__(self, name):
            return getattr(engine, name)

        def publish(self, publications):
            engine.publish(publications)
            raise BrokerUnavailable("the reply was lost")

    undo = bench.app.use_engine(LosesTheReply(), clock)
    with pytest.raises(PublishUnknown) as caught:
        work.delay()
    undo()
    assert bench.locks() == [caught.value.id]
    assert work.apply_async(task_id=caught.value.id).state == "PENDING"
    assert bench.harness.run_until_idle() == 1 and bench.locks() == []
