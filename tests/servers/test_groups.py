"""The test kit's groups of servers: sentinels that fail over, a cluster whose slots move."""

from __future__ import annotations

import pytest

from reliq.testing.servers import RedisCluster, Said, SentinelGroup


@pytest.mark.xdist_group("redis-sentinel")
class TestSentinels:
    def test_all_sentinels_name_one_master_whose_replicas_follow(
        self, reliq_redis_sentinel: SentinelGroup
    ) -> None:
        group = reliq_redis_sentinel
        talk = group.master.talk()
        talk.do("SET", "key", "1")
        assert talk.do("WAIT", 2, 5000) == 2  # for what this connection wrote
        talk.close()
        assert [replica.do("GET", "key") for replica in group.replicas] == ["1", "1"]

    def test_a_fail_over_promotes_a_replica(self, reliq_redis_sentinel: SentinelGroup) -> None:
        old = reliq_redis_sentinel.master
        new = reliq_redis_sentinel.fail_over()
        assert new is not old and old.running
        assert new.do("SET", "key", "2") == "OK"
        reliq_redis_sentinel.heal()
        with pytest.raises(Said, match="READONLY"):
            old.do("SET", "key", "3")

    def test_a_killed_master_is_replaced_and_comes_back_as_a_replica(
        self, reliq_redis_sentinel: SentinelGroup
    ) -> None:
        old = reliq_redis_sentinel.master
        new = reliq_redis_sentinel.kill_master()
        assert new is not old and not old.running
        reliq_redis_sentinel.heal()
        assert old in reliq_redis_sentinel.replicas


@pytest.mark.xdist_group("redis-cluster")
class TestCluster:
    def test_a_moved_slot_is_answered_with_moved_by_its_old_owner(
        self, reliq_redis_cluster: RedisCluster
    ) -> None:
        old = reliq_redis_cluster.owner_of("{tag}")
        old.do("SET", "{tag}1", "x")
        new = reliq_redis_cluster.move_slot("{tag}")
        assert new.do("GET", "{tag}1") == "x"
        assert reliq_redis_cluster.owner_of("{tag}") is new
        with pytest.raises(Said, match="MOVED"):
            old.do("GET", "{tag}1")

    def test_a_slot_on_its_way_is_answered_with_ask(self, reliq_redis_cluster: RedisCluster) -> None:
        source = reliq_redis_cluster.owner_of("{other}")
        source.do("SET", "{other}1", "x")
        with reliq_redis_cluster.moving("{other}") as target:
            assert source.do("GET", "{other}1") == "x"
            reliq_redis_cluster.move_key("{other}1", source, target)
            with pytest.raises(Said, match="ASK"):
                source.do("GET", "{other}1")
        assert target.do("GET", "{other}1") == "x"
