"""The swift way and the long way come to the same: whatever a batch holds, all keys of the server are compared.

Records alone may differ for a while: where a message is done by the swift way, what it held goes with it untouched.  So
those are compared as they are seen, and as they are when the records of the messages have gone.

Messages hold records, some of those are changed by others, and then all is settled: in one batch, each by itself, with
a claim, beside a stale settlement, which sends a batch the long way, and as if each verdict were a special one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reliq.engines.redis import pack
from reliq.engines.redis.engine import RedisEngine
from reliq.policy.clock import VirtualClock
from reliq.ports import records
from reliq.ports.values import Publication, Receipt, Settlement
from reliq.testing.servers import RedisServer
from reliq.wire.message import Add, Effect, Ending, Envelope, FollowUp, Put, Remove, Touch
from tests.engines.redis.conftest import Connect

IDS = ("a", "b", "c", "d", "e")
OWNERS = ("one", "two")
STALE = Settlement(Receipt("nobody", "nobody", 1), "done")

# All keys under a namespace and what they have, as text that says each byte.
DUMP = """
local function shown(text)
  return (text:gsub('[^%w%p ]', function(c) return string.format('<%02x>', c:byte()) end))
end
local all = {}
local function add(key, parts)
  for i = 1, #parts do parts[i] = shown(parts[i]) end
  all[#all + 1] = shown(key:sub(#ARGV[1] + 1)) .. ' ' .. table.concat(parts, ' ')
end
local function sorted(parts) table.sort(parts) return parts end
local function pairs_of(flat)
  local parts = {}
  for i = 1, #flat, 2 do parts[#parts + 1] = flat[i] .. '=' .. flat[i + 1] end
  return sorted(parts)
end
for _, key in ipairs(redis.call('KEYS', '*')) do
  if key:sub(1, #ARGV[1]) == ARGV[1] and not key:find(':said:', 1, true) then
    local kind = redis.call('TYPE', key).ok
    if kind == 'hash' then add(key, pairs_of(redis.call('HGETALL', key)))
    elseif kind == 'zset' then add(key, pairs_of(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')))
    elseif kind == 'set' then add(key, sorted(redis.call('SMEMBERS', key)))
    elseif kind == 'list' then add(key, redis.call('LRANGE', key, 0, -1))
    else add(key, { redis.call('GET', key) }) end
  end
end
return sorted(all)
"""

# --- what is drawn ------------------------------------------------------------------------------------------------

ttls = st.sampled_from([None, None, 60_000, 60_000, 1_000, 0])


class Held(NamedTuple):
    """A message, and what it takes with its publish."""

    publication: Publication
    keys: tuple[str, ...]


class Story(NamedTuple):
    """Messages, what happens to what they hold, and how they are settled: (which message, verdict)."""

    held: list[Held]
    events: list[tuple[Any, ...]]
    verdicts: list[tuple[int, dict[str, Any]]]


def odd_effects(id: str, keys: Sequence[str]) -> st.SearchStrategy[Effect]:
    key, who = st.sampled_from([*keys, "shared"]), st.sampled_from([id, id, None, *IDS[:2]])
    return st.one_of(
        st.builds(Remove, key, who, st.sampled_from([None, b"held"])),
        st.builds(Touch, key, ttls, who, st.booleans()),
        st.builds(Put, key, st.sampled_from([b"", b"new"]), ttls, who, st.booleans()),
    )


def common_end(kind: str, id: str, keys: Sequence[str], life: int) -> tuple[Ending, ...]:
    """What locks, slots and idempotency records do."""
    frees = tuple(Remove(key, holder=id) for key in keys)
    lives = tuple(Touch(key, life, id) for key in keys)
    endings: dict[str, tuple[Ending, ...]] = {
        "frees": (Ending("any", frees),),
        "completes": (Ending("done", lives), Ending("failed", frees), Ending("dropped", frees)),
        "holds": (Ending("done", frees), Ending("failed", lives)),  # on failure
        "both": (Ending("done", lives[:1]), Ending("any", frees[1:])),
        "twice": (Ending("any", lives), Ending("done", frees)),
        "picky": (Ending("any", tuple(Remove(key, holder=id, value=b"other") for key in keys)),),
        "none": (),
    }
    return endings[kind]


def odd_end(draw: st.DrawFn, id: str, keys: Sequence[str]) -> tuple[Ending, ...]:
    after = FollowUp(Envelope(v=1, id=f"after-{id}", task="after", queue="later"), "")
    return tuple(
        Ending(
            draw(st.sampled_from(["done", "any", "failed"])),
            tuple(draw(st.lists(odd_effects(id, keys), max_size=2))),
            draw(st.sampled_from([(), (), (after,)])),
        )
        for _ in range(draw(st.integers(0, 2)))
    )


def odd_verdict(draw: st.DrawFn, id: str, keys: Sequence[str], life: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["done", "done", "done", "failed", "dropped", "retry"]))
    effects = st.one_of(
        st.just(()),
        st.builds(Put, st.sampled_from(keys), st.just(b"result"), st.just(2_000), st.just(id)).map(
            lambda put: (put,)
        ),
        st.lists(odd_effects(id, keys), max_size=2).map(tuple),
    )
    return {"kind": kind, "effects": draw(effects)}


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Mostly batches of which the swift way could settle all; few of them have something odd about them."""
    held, verdicts = [], []
    life = draw(st.sampled_from([1_000, 5_000]))
    kinds = st.sampled_from(
        draw(
            st.sampled_from(
                [["frees"], ["completes"], ["frees", "holds", "both", "none"], ["twice", "picky"]]
            )
        )
    )
    valued = draw(st.booleans())
    odd = draw(st.sampled_from([0, 0, 0, 0, 1, 4]))  # of ten messages
    for n, id in enumerate(IDS[: draw(st.integers(1, len(IDS)))]):
        keys = tuple(f"{id}-{k}" for k in range(draw(st.sampled_from([1, 1, 2, 3]))))
        kind = draw(kinds)
        is_odd = draw(st.integers(0, 9)) < odd
        ending = odd_end(draw, id, keys) if is_odd else common_end(kind, id, keys, life)
        said: dict[str, Any] = {"kind": "done", "value": id.encode() if valued else None}
        if draw(st.integers(0, 9)) < odd:
            said = odd_verdict(draw, id, keys, life)
        elif kind in ("completes", "both") and draw(st.integers(0, 3)):
            said["effects"] = (Put(keys[0], b"result", life, id),)
        envelope = Envelope(
            v=1,
            id=id,
            task="task",
            queue=draw(st.sampled_from(["one", "one", "one", "two"])),
            keep=draw(st.sampled_from([9_000, 9_000, 500])),
            keep_result=draw(st.sampled_from([True, True, False])),
            on_end=ending,
        )
        guards = tuple(Add(key, b"held", draw(ttls), id) for key in keys)
        held.append(Held(Publication(envelope, guards), keys))
        verdicts += [(n, said)] * draw(
            st.sampled_from([1, 1, 1, 1, 1, 1, 1, 0, 2] if odd else [1] * 15 + [2])
        )
    key = st.sampled_from([key for one in held for key in one.keys])
    event = st.one_of(
        st.tuples(st.just("put"), key, st.sampled_from([None, *IDS])),
        st.tuples(st.just("touch"), key, st.sampled_from([None, 0.5, 9.0])),
        st.tuples(st.just("drop"), key),
        st.tuples(st.just("lose"), st.sampled_from(["record", "message", "on_end"]), key),
        st.tuples(st.just("pass"), st.sampled_from([0.4, 1.0, 6.0])),
        st.tuples(st.just("reap")),
    )
    events = draw(
        st.sampled_from([st.just([]), st.just([]), st.lists(event, min_size=1, max_size=3)]).flatmap(
            lambda s: s
        )
    )
    return Story(held, events, draw(st.permutations(verdicts)))


# --- how it is told -----------------------------------------------------------------------------------------------


def settle(engine: RedisEngine, some: Sequence[Settlement]) -> int | list[int]:
    """How many effects of each were skipped, -1 repeated, -2 stale; a number: so many went the swift way."""
    arguments: list[bytes] = []
    packed = pack.pack(pack.settlements(some, arguments, 3))
    told: int | list[int] = pack.unpack(engine._server.run("settle", packed, *arguments))
    return told


def listed(told: int | list[int]) -> list[int]:
    return [0] * told if isinstance(told, int) else told


def each(engine: RedisEngine, all: Sequence[Settlement]) -> list[int]:
    return [answer for one in all for answer in listed(settle(engine, [one]))]


def the_long_way(engine: RedisEngine, all: Sequence[Settlement]) -> list[int]:
    *told, stale = listed(settle(engine, [*all, STALE]))
    assert stale == -2
    return told


def one_after_another(engine: RedisEngine, all: Sequence[Settlement]) -> int | list[int]:
    """As if each were special: no batch of such is looked at together."""
    return settle(engine, [replace(one, reason="") if one.kind == "done" else one for one in all])


def each_the_long_way(engine: RedisEngine, all: Sequence[Settlement]) -> list[int]:
    return [listed(settle(engine, [STALE, one]))[1] for one in all]


def with_a_claim(engine: RedisEngine, all: Sequence[Settlement]) -> list[int]:
    answers = engine.claim(OWNERS[0], ["none"], limit=1, seq=9, settlements=all).settled
    return [{"applied": one.skipped, "repeated": -1, "stale": -2}[one.status] for one in answers]


WAYS: tuple[Callable[[RedisEngine, Sequence[Settlement]], int | list[int]], ...] = (
    one_after_another,
    the_long_way,
    each_the_long_way,
    settle,
    each,
    with_a_claim,
)


class Telling:
    """The same story on several engines at the same moments, each with a namespace of its own on one server."""

    def __init__(self, connected: Callable[..., Any], server: RedisServer) -> None:
        self.clock = VirtualClock()
        self.engines: list[RedisEngine] = [
            connected(server.url, app=way.__name__, clock=self.clock) for way in WAYS
        ]
        self.talk = server.talk()
        self.swift = self.told = 0

    def tell(self, story: Story) -> None:
        """Settle every way; all of them must say the same, and leave the same behind."""
        self.talk.do("FLUSHALL")
        receipts: dict[str, Receipt] = {}
        for engine in self.engines:
            engine.publish([one.publication for one in story.held])
            for owner in OWNERS:
                engine.register(owner, 3_600)
                for delivery in engine.claim(owner, [owner], limit=9, seq=1).deliveries:
                    receipts[delivery.receipt.id] = delivery.receipt
        for event in story.events:
            self.happen(*event)
        verdicts = [
            Settlement(receipts[story.held[n].publication.envelope.id], **said) for n, said in story.verdicts
        ]
        answers = [way(engine, verdicts) for way, engine in zip(WAYS, self.engines, strict=True)]
        assert len({tuple(listed(told)) for told in answers}) == 1, answers
        self.swift += sum(isinstance(told, int) for told in answers) * bool(verdicts)
        for later in (0.0, 2.0, 20.0):
            self.clock.advance(later)
            if later:
                self.happen("reap")
            self.compare(whole=later > 10)
        self.told += 1

    def compare(self, *, whole: bool) -> None:
        """The same must be seen, and, when all is over, the same be there."""
        expected: Any = None
        for way, engine in zip(WAYS, self.engines, strict=True):
            dump = [
                line
                for line in self.dump(way.__name__)
                if whole or not line.startswith(("record ", "lapsing"))
            ]
            seen = dump, sorted(records(engine, ""))
            expected = expected or seen
            assert seen == expected, f"{way.__name__} differs from {WAYS[0].__name__}"

    def happen(self, what: str, *more: Any) -> None:
        if what == "pass":
            self.clock.advance(more[0])
        for way, engine in zip(WAYS, self.engines, strict=True):
            if what == "put":
                engine.store_put(more[0], b"other", holder=more[1])
            elif what == "touch":
                engine.store_touch(more[0], ttl=more[1])
            elif what == "drop":
                engine.store_drop(more[0])
            elif what == "lose":  # somebody deletes it beside us
                where, key = more
                self.talk.do("HDEL", space(way.__name__) + where, key if where == "record" else key[0])
            elif what == "reap":
                engine.reap()

    def dump(self, app: str) -> list[str]:
        return self.talk.do("EVAL", DUMP, 0, space(app))  # type: ignore[no-any-return]


def space(app: str) -> str:
    return f"{{reliq:{app}}}:"


@pytest.fixture
def telling(connected: Connect, server: RedisServer) -> Iterator[Telling]:
    telling = Telling(connected, server)
    yield telling
    telling.talk.close()


SHARED = settings(
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def tell_many(telling: Telling, settings: settings) -> None:
    settings(given(story=stories())(telling.tell))()
    assert telling.swift > telling.told / 5, "hardly any batch went the swift way"


def test_however_a_batch_is_settled_the_same_is_left_behind(telling: Telling) -> None:
    tell_many(telling, settings(SHARED, max_examples=60, derandomize=True))


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_however_a_batch_is_settled_the_same_is_left_behind_in_many_stories(telling: Telling) -> None:
    tell_many(telling, settings(SHARED, max_examples=5_000))
