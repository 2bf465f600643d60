"""QueueOnce inside of Idempotency: a second send gets the first one's message, not a refusal."""

from __future__ import annotations

import pytest

from reliq import Reliq
from reliq.errors import OptionError
from reliq_idempotency import Idempotency
from reliq_once import AlreadyQueued, QueueOnce, QueueOnceMiddleware


def test_a_second_send_is_joined_before_it_could_be_refused(make_bench):
    bench = make_bench([Idempotency(ttl=100), QueueOnceMiddleware()])
    work = bench.task(lambda a, b: (a, b), once={"keys": ["a"]}, idempotency={"keys": ["a", "b"]})
    first = work.delay(1, 1)
    assert work.delay(1, 1) == first
    with pytest.raises(AlreadyQueued):
        work.delay(1, 2)  # another send of the same key of QueueOnce
    bench.run()
    assert work.delay(1, 1).get(timeout=0) == [1, 1] and bench.locks() == []


def test_a_replaced_message_frees_both(make_bench):
    bench = make_bench([Idempotency(ttl=100), QueueOnceMiddleware()])
    work = bench.task(
        lambda a, b: b, once={"keys": ["a"], "on_conflict": "replace"}, idempotency={"keys": ["a", "b"]}
    )
    old, new = work.delay(1, 1), work.delay(1, 2)
    assert old.record().state == "dropped"
    again = work.delay(1, 1)
    assert again != old and new.record().state == "dropped"
    bench.run()
    assert again.get(timeout=0) == 1 and bench.locks() == []


def test_the_other_order_is_refused():
    app = Reliq("shop", broker="memory://", middleware=[QueueOnceMiddleware(), Idempotency(ttl=100)])
    with pytest.raises(OptionError, match="'once' must stand inside 'idempotency'"):
        app.task(name="work", base=QueueOnce)(lambda: None).chain  # noqa: B018
