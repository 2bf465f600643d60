"""Sentinels that fail over, clusters whose slots move: found again by itself, nothing confirmed lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from reliq.errors import BrokerRefused, BrokerUnavailable
from reliq.ports.broker import Engine
from reliq.ports.values import Settlement
from reliq.testing.servers import RedisCluster, SentinelGroup, find_redis
from tests.engines.redis.conftest import DEADLINE, Connect, drain, publication, publish, within

TAG = "{reliq:shop}:"


class Publisher:
    """Publishes in a thread until it is left; knows what was confirmed, and how long a call took at most."""

    def __init__(self, engine: Engine) -> None:
        self.confirmed: list[str] = []
        self.longest = 0.0
        self.failures: list[BaseException] = []
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * DEADLINE)
        assert not self._thread.is_alive()

    def await_confirmed(self, count: int, *, seconds: float) -> None:
        """Until so many more were confirmed."""
        wanted, end = len(self.confirmed) + count, time.monotonic() + seconds
        while len(self.confirmed) < wanted:
            assert time.monotonic() < end, f"nothing is confirmed; {self.failures[-1:]}"
            time.sleep(0.005)

    def _run(self) -> None:
        n = 0
        while not self._stop.wait(0.002):
            n += 1
            while not self._stop.is_set():  # the same id until it is certain
                begun = time.monotonic()
                try:
                    (answer,) = self._engine.publish([publication(f"m-{n}")])
                    assert answer.status in ("accepted", "duplicate")
                    self.confirmed.append(f"m-{n}")
                    break
                except BrokerUnavailable as error:
                    self.failures.append(error)
                    self._stop.wait(0.01)
                finally:
                    self.longest = max(self.longest, time.monotonic() - begun)


# --- sentinels ---


@pytest.fixture
def group(reliq_redis_sentinel: SentinelGroup) -> Iterator[SentinelGroup]:
    reliq_redis_sentinel.flush()
    yield reliq_redis_sentinel
    reliq_redis_sentinel.heal()


@pytest.mark.xdist_group("redis-sentinel")
def test_after_a_fail_over_the_same_engine_goes_on(connected: Connect, group: SentinelGroup) -> None:
    engine = connected(group.url)
    before = publish(engine)
    talk = group.master.talk()
    talk.do("SET", "fence", 1)
    assert talk.do("WAIT", 2, 5000) == 2
    talk.close()
    group.fail_over()
    with within():
        after = publish(engine)
    assert drain(engine) == [before, after]


@pytest.mark.xdist_group("redis-sentinel")
def test_a_killed_master_is_replaced_and_publishing_goes_on_within_five_seconds(
    connected: Connect, group: SentinelGroup
) -> None:
    with Publisher(connected(group.url)) as publisher:
        publisher.await_confirmed(20, seconds=10)
        group.kill_master()
        publisher.await_confirmed(20, seconds=5)
    assert publisher.longest <= DEADLINE


@pytest.mark.xdist_group("redis-sentinel")
def test_with_replicas_that_are_waited_for_a_killed_master_takes_nothing_confirmed(
    connected: Connect, group: SentinelGroup
) -> None:
    engine = connected(group.url + "?wait_replicas=2&wait_timeout=2")
    with Publisher(engine) as publisher:
        publisher.await_confirmed(50, seconds=20)
        group.kill_master()
    group.heal()
    ran = drain(connected(group.url))
    assert set(publisher.confirmed) <= set(ran)
    assert len(ran) == len(set(ran))


@pytest.mark.xdist_group("redis-sentinel")
def test_a_sentinel_that_is_gone_is_passed_over(connected: Connect, group: SentinelGroup) -> None:
    group.sentinels[0].kill()
    with within():
        publish(connected(group.url))


@pytest.mark.xdist_group("redis-sentinel")
def test_without_any_sentinel_the_error_names_them_in_time(connected: Connect, group: SentinelGroup) -> None:
    for sentinel in group.sentinels:
        sentinel.kill()
    with within(), pytest.raises(BrokerUnavailable, match=str(group.sentinels[0].address[1])):
        publish(connected(group.url))
    for sentinel in group.sentinels:
        sentinel.start()


# --- cluster ---


@pytest.fixture
def cluster(reliq_redis_cluster: RedisCluster) -> RedisCluster:
    reliq_redis_cluster.flush()
    return reliq_redis_cluster


@pytest.mark.xdist_group("redis-cluster")
def test_a_moved_slot_is_followed(connected: Connect, cluster: RedisCluster) -> None:
    engine = connected(cluster.url)
    ids = [publish(engine) for _ in range(5)]
    for _ in range(3):
        cluster.move_slot(TAG)
        with within(2):
            ids.append(publish(engine))
    assert drain(engine) == ids
    assert engine.audit().balanced


@pytest.mark.xdist_group("redis-cluster")
def test_a_blocked_claim_is_woken_after_its_slot_moved(connected: Connect, cluster: RedisCluster) -> None:
    engine, other = connected(cluster.url), connected(cluster.url)
    engine.register("owner", 60)
    publish(other, queue="another")
    cluster.move_slot(TAG)
    id = publish(other)
    with within():
        claimed: list[str] = []
        for seq in range(1, 5):
            claimed += [
                d.receipt.id for d in engine.claim("owner", ["q"], limit=1, seq=seq, wait=1.0).deliveries
            ]
    assert claimed == [id]


@pytest.mark.xdist_group("redis-cluster")
def test_a_slot_on_its_way_is_waited_for_and_nothing_is_torn(
    connected: Connect, cluster: RedisCluster
) -> None:
    engine = connected(cluster.url)
    with Publisher(engine) as publisher:
        publisher.await_confirmed(20, seconds=10)
        source = cluster.owner_of(TAG)
        with cluster.moving(TAG) as target:
            keys = source.do("CLUSTER", "GETKEYSINSLOT", cluster.slot_of(TAG), 1000)
            for key in keys[: len(keys) // 2]:  # the rest stays for a while
                cluster.move_key(key, source, target)
            moving = len(publisher.confirmed)
            time.sleep(0.3)  # publishes meet a slot that is half here, half there
            assert len(publisher.confirmed) <= moving + 1, "no script runs where only some of its keys are"
        publisher.await_confirmed(20, seconds=DEADLINE)
    assert engine.audit().balanced
    assert drain(engine) == publisher.confirmed
    assert engine.audit().balanced


@pytest.mark.xdist_group("redis-cluster")
def test_a_slot_that_is_long_on_its_way_refuses_for_certain_and_then_goes_on(
    connected: Connect, cluster: RedisCluster, hasty: None
) -> None:
    engine = connected(cluster.url)
    engine.register("owner", 60)
    before = publish(engine)
    (delivery,) = engine.claim("owner", ["q"], limit=1, seq=1).deliveries
    done = Settlement(delivery.receipt, "done")
    with cluster.moving(TAG) as target:
        for call in (
            lambda: engine.publish([publication("meanwhile")]),
            lambda: engine.settle([done]),
            lambda: engine.claim("owner", ["q"], limit=1, seq=2),
        ):
            with within(), pytest.raises(BrokerUnavailable, match="ASK") as failed:
                call()
            assert failed.value.certain
        # Had it been followed, the target had keys by now that the move brings as well: MIGRATE says BUSYKEY.
        assert target.do("CLUSTER", "COUNTKEYSINSLOT", cluster.slot_of(TAG)) == 0
    assert [answer.status for answer in engine.settle([done])] == ["applied"]
    (answer,) = engine.publish([publication("meanwhile")])
    assert answer.status == "accepted"
    assert drain(engine) == ["meanwhile"]
    record = engine.get(before)
    assert record is not None and record.state == "done"
    assert engine.audit().balanced


def test_a_clusters_password_is_used_for_every_node(
    connected: Connect, reliq_redis_binary: None, hasty: None
) -> None:
    with RedisCluster(password="p/w d") as cluster:
        engine = connected(cluster.url)
        ids = [publish(engine)]
        for _ in range(2):
            cluster.move_slot(TAG)
            with within(2):
                ids.append(publish(engine))
        assert drain(engine) == ids
        with within(), pytest.raises(BrokerRefused, match="password") as failed:
            publish(connected(cluster.url.replace("p%2Fw%20d", "wrong:one")))
        assert "wrong:one" not in str(failed.value)
        with within(), pytest.raises(BrokerRefused, match="password"):
            publish(connected(cluster.url.replace(":p%2Fw%20d@", "")))


def test_the_nodes_of_a_cluster_speak_tls(connected: Connect, reliq_redis_binary: None) -> None:
    if not find_redis().has_tls:
        pytest.skip("this redis-server was built without TLS")
    with RedisCluster(tls=True, password="secret") as cluster:
        assert cluster.url.startswith("rediss+cluster://")
        engine = connected(cluster.url)
        ids = [publish(engine)]
        for _ in range(2):
            cluster.move_slot(TAG)
            with within(2):
                ids.append(publish(engine))
        assert drain(engine) == ids


@pytest.mark.xdist_group("redis-cluster")
def test_a_seed_that_is_gone_is_passed_over(connected: Connect, cluster: RedisCluster) -> None:
    url = cluster.url.replace("redis+cluster://", "redis+cluster://127.0.0.1:1,")
    with within():
        publish(connected(url))


@pytest.mark.xdist_group("redis-cluster")
def test_a_node_that_is_gone_and_comes_back_is_found_again(connected: Connect, cluster: RedisCluster) -> None:
    engine = connected(cluster.url)
    publish(engine)
    owner = cluster.owner_of(TAG)
    owner.kill()
    try:
        with within(), pytest.raises(BrokerUnavailable):
            publish(engine)
    finally:
        owner.start()
    end = time.monotonic() + 20
    while True:
        try:
            publish(engine)
            return
        except BrokerUnavailable:
            assert time.monotonic() < end
