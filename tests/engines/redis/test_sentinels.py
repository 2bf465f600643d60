"""Which master is followed: the one of the latest fail-over, and no other one that still takes writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reliq.engines.redis.sentinels import Master, Sentinels
from reliq.errors import BrokerRefused, BrokerUnavailable
from reliq.testing.servers import SentinelGroup, find_redis
from tests.engines.redis.conftest import Connect, drain, publish, within

pytestmark = pytest.mark.xdist_group("redis-sentinel")


@pytest.fixture
def group(reliq_redis_sentinel: SentinelGroup) -> Iterator[SentinelGroup]:
    reliq_redis_sentinel.flush()
    yield reliq_redis_sentinel
    reliq_redis_sentinel.heal()


# --- who is the master ---


def test_a_master_that_was_replaced_while_it_lives_is_left_at_once(
    connected: Connect, group: SentinelGroup
) -> None:
    engine, old = connected(group.url), group.master
    publish(engine)
    new = connected(group.fail_over().url)
    assert old.info("replication")["role"] == "master"  # for ten seconds: what it takes then is thrown away
    with within(4.0):
        while new.get(publish(engine)) is None:
            pass


def test_a_blocked_claim_leaves_a_replaced_master_too(connected: Connect, group: SentinelGroup) -> None:
    engine = connected(group.url)
    engine.register("owner", 60)
    new = connected(group.fail_over().url)
    id = publish(new)
    new.register("owner", 60)
    with within():
        claimed: list[str] = []
        for seq in range(1, 10):
            try:
                found = engine.claim("owner", ["q"], limit=1, seq=seq, wait=1.0).deliveries
            except BrokerUnavailable:
                continue
            claimed += [delivery.receipt.id for delivery in found]
            if claimed:
                break
    assert claimed == [id]


def test_a_replica_that_the_sentinels_name_is_not_read(
    connected: Connect, group: SentinelGroup, monkeypatch: pytest.MonkeyPatch, hasty: None
) -> None:
    replica = group.replicas[0]
    monkeypatch.setattr(Sentinels, "ask", lambda *_: Master(*replica.address, 0))
    with within(), pytest.raises(BrokerUnavailable, match="which is a replica"):
        connected(group.url).get("any")


def test_a_replica_that_becomes_the_master_is_waited_for(
    connected: Connect, group: SentinelGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, ask = [Master(*group.replicas[0].address, 0)] * 3, Sentinels.ask
    monkeypatch.setattr(Sentinels, "ask", lambda *given: early.pop() if early else ask(*given))
    with within():
        publish(connected(group.url))
    assert early == []


def _sentinels() -> Sentinels:
    return Sentinels("name", [("a", 1), ("b", 2), ("c", 3)], lambda *_: None)


def test_a_sentinel_that_has_not_heard_of_the_last_fail_over_is_passed_over() -> None:
    sentinels = _sentinels()
    old, new = Master("old", 1, 3), Master("new", 2, 4)
    assert sentinels.choose([old, new]) == old, "nobody knows better yet, and the others need not be asked"
    assert sentinels.choose(iter([new])) == new
    assert sentinels.choose(iter([old, old, new])) == new


def test_when_all_sentinels_begin_anew_the_newest_of_them_counts() -> None:
    sentinels = _sentinels()
    sentinels.choose([Master("old", 1, 9)])
    assert sentinels.choose([Master("x", 2, 0), Master("y", 3, 1), Master("x", 2, 0)]) == Master("y", 3, 1)
    assert sentinels.choose([Master("z", 4, 1)]) == Master("z", 4, 1)


class Scripted:
    """A connection to a sentinel that says what it is told to."""

    def __init__(self, address: tuple[str, int] | None, epoch: int) -> None:
        self.address = address
        self.epoch = epoch
        self._asked = ""

    def connect(self) -> None:
        if self.address is None:
            raise ConnectionRefusedError("gone")

    def disconnect(self) -> None: ...

    def send_command(self, *words: str) -> None:
        self._asked = words[1]

    def read_response(self) -> Any:
        if self._asked == "MASTER":
            return {b"config-epoch": b"%d" % self.epoch}
        assert self.address is not None
        return [self.address[0].encode(), b"%d" % self.address[1]]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ([(("old", 1), 3), (("old", 1), 3), (("old", 1), 3)], None),
        ([(("old", 1), 3), (("new", 2), 4), (("old", 1), 3)], ("new", 2)),
        ([(("older", 9), 2), (("old", 1), 3), (("old", 1), 3)], None),
        ([(("new", 2), 0), (("new", 2), 0), (("new", 2), 0)], ("new", 2)),
        ([(("new", 2), 0), (None, 0), (("new", 2), 0)], None),
    ],
    ids=["the same", "a later fail-over", "an earlier one", "all set up anew", "one is silent"],
)
def test_a_master_is_left_for_a_later_one_or_when_all_agree(
    said: list[tuple[tuple[str, int] | None, int]], left: tuple[str, int] | None
) -> None:
    seeds = [("a", 1), ("b", 2), ("c", 3)]
    told = dict(zip(seeds, said, strict=True))
    sentinels = Sentinels("name", seeds, lambda seed, _: Scripted(*told[seed]))
    connections: dict[Any, Any] = {}
    heard: dict[Any, Any] = {}
    others = [sentinels._other(seed, Master("old", 1, 3), connections, heard) for seed in seeds]
    assert next((other for other in others if other), None) == left


# --- logins and TLS ---


def use(connected: Connect, group: SentinelGroup) -> None:
    """Publish, fail over, publish, work both off."""
    engine = connected(group.url)
    before = publish(engine)
    talk = group.master.talk()
    talk.do("SET", "fence", 1)
    assert talk.do("WAIT", 2, 5000) == 2
    talk.close()
    new = group.kill_master()
    with within():
        after = publish(engine)
    assert drain(connected(group.url)) == [before, after]
    assert int(new.do("DBSIZE")) > 0


@pytest.fixture(scope="module")
def locked(reliq_redis_binary: None) -> Iterator[SentinelGroup]:
    with SentinelGroup(password="p/w d", sentinel_password="se:cret@") as group:
        yield group


def test_sentinels_have_a_password_of_their_own(connected: Connect, locked: SentinelGroup) -> None:
    use(connected, locked)
    locked.heal()


def test_a_password_of_the_sentinels_is_not_shown(connected: Connect, locked: SentinelGroup) -> None:
    shown = connected(locked.url).url
    assert "cret" not in shown and "p/w" not in shown and "p%2Fw" not in shown


def test_a_sentinel_wants_a_user_that_may_ask_for_the_master_alone(
    connected: Connect, locked: SentinelGroup
) -> None:
    may = ["+sentinel|get-master-addr-by-name", "+sentinel|master"]
    if find_redis().version < (7,) and find_redis().name == "redis":
        may = ["+sentinel"]
    for sentinel in locked.sentinels:
        sentinel.do("ACL", "SETUSER", "asker", "reset", "on", ">of its own", *may)
    url = locked.url.partition("?")[0] + "?sentinel_username=asker&sentinel_password=of%20its%20own"
    publish(connected(url))


@pytest.mark.parametrize("query", ["", "?sentinel_password=wrong"], ids=["none", "wrong"])
def test_without_the_sentinels_password_the_error_names_the_option(
    connected: Connect, locked: SentinelGroup, query: str
) -> None:
    with within(), pytest.raises(BrokerRefused, match="sentinel_password=") as failed:
        publish(connected(locked.url.partition("?")[0] + query))
    assert "wrong" not in str(failed.value).lower().replace("wrongpass", "")


def test_the_masters_password_is_asked_for_by_the_master(connected: Connect, locked: SentinelGroup) -> None:
    with within(), pytest.raises(BrokerRefused, match="check user, password"):
        publish(connected(locked.url.replace("p%2Fw%20d", "other")))


def test_masters_and_sentinels_speak_tls(connected: Connect, reliq_redis_binary: None) -> None:
    if not find_redis().has_tls:
        pytest.skip("this redis-server was built without TLS")
    with SentinelGroup(tls=True, password="pass", sentinel_password="word") as group:
        assert group.url.startswith("rediss+sentinel://")
        use(connected, group)
        untrusted = group.url.partition("?")[0] + "?sentinel_password=word"
        with within(), pytest.raises(BrokerUnavailable, match="certificate"):
            publish(connected(untrusted))
