"""What a message with a lock asks of Redis, as its MONITOR sees it: one command from the client to publish it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks.once.commands import BOTH, IDEMPOTENT, LOCKS, NO_LOCK, Asked, count_commands

#: Those whose run lets go of the lock, takes a slot, or looks for a newer call.
LOOK = {"until=start": 1, "while_running=1": 1, "on_conflict=rerun": 1, "debounce=(5, 60)": 1}


@pytest.fixture(scope="module")
def asked(reliq_redis) -> Mapping[str, Asked]:
    reliq_redis.flush()
    return dict(count_commands(reliq_redis.url, *reliq_redis.address))


@pytest.mark.parametrize("way", [NO_LOCK, *LOCKS, IDEMPOTENT, BOTH])
def test_a_publish_is_one_command_whatever_it_locks(asked, way):
    looks = ["EVALSHA"] if way.startswith("debounce") else []  # when the burst of calls began
    assert list(asked[way].publish.client) == [*looks, "EVALSHA"]


@pytest.mark.parametrize("way", [NO_LOCK, *LOCKS, IDEMPOTENT, BOTH])
def test_a_lock_that_stands_until_the_end_adds_no_command_to_run_and_settlement(asked, way):
    assert len(asked[way].settle.client) == 1 + LOOK.get(way, 0)


def test_scripts_are_told_apart_from_the_client(asked):
    without, locked = asked[NO_LOCK], asked["until=done"]
    assert len(locked.publish.lua) > len(without.publish.lua) > 1
    assert {"HSET", "ZADD"} <= set(locked.publish.lua) and "EVALSHA" not in locked.publish.lua


def test_each_call_that_is_refused_is_seen(asked):
    assert all(seen.duplicate.client for seen in asked.values())
