"""What the walk draws: publications, verdicts, and which step comes next."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from reliq.ports.values import Publication
from reliq.wire.message import (
    Absent,
    Add,
    CancelMessage,
    Effect,
    Ending,
    Envelope,
    FollowUp,
    Guard,
    Incr,
    IndexPut,
    IndexRemove,
    NotLeased,
    Put,
    Remove,
    Touch,
)

IDS = ["a", "b", "c", "d", "e", "f", "g", "h"]
FOLLOWERS = ["x", "y", "z"]
KEYS = ["k", "l"]
QUEUES = ["q", "r"]

# --- what is published and said -----------------------------------------------------------------------------------

ids = st.sampled_from(IDS)
keys = st.sampled_from(KEYS)
queues = st.sampled_from(QUEUES)
ttls = st.sampled_from([None, 0, 1_000, 4_000])
holders = st.sampled_from([None, *IDS[:3]])


def effects(id: st.SearchStrategy[str | None] = holders) -> st.SearchStrategy[tuple[Effect, ...]]:
    one: st.SearchStrategy[Any] = st.one_of(
        st.builds(Put, keys, st.sampled_from([b"", b"7"]), ttls, id, st.booleans()),
        st.builds(Remove, keys, id),
        st.builds(Remove, keys, value=st.just(b"7")),
        st.builds(Touch, keys, ttls, id, st.booleans()),
        st.builds(Incr, keys, st.sampled_from([1, -2]), ttls),
        st.builds(CancelMessage, ids, st.just("replaced")),
        st.builds(IndexPut, st.just("i"), ids, st.integers(0, 3)),
        st.builds(IndexRemove, st.just("i"), ids),
    )
    return st.lists(one, max_size=2).map(tuple)


def follow_ups() -> st.SearchStrategy[tuple[FollowUp, ...]]:
    envelope = st.builds(
        Envelope,
        v=st.just(1),
        id=st.sampled_from(FOLLOWERS),
        task=st.just("after"),
        queue=queues,
        body=st.sampled_from([b"[[],{}]", b'[[1],{"k":2}]']),
        delay=st.sampled_from([None, 1_000]),
        keep=st.just(1_000),
    )
    one = st.builds(FollowUp, envelope, st.sampled_from(["", "result", "id"]))
    return st.lists(one, max_size=1).map(tuple)


def endings(id: str) -> st.SearchStrategy[tuple[Ending, ...]]:
    frees = Ending("any", (Remove("k", holder=id),))
    classes = st.sampled_from(["done", "failed", "dropped", "any"])
    other = st.builds(Ending, classes, effects(st.sampled_from([None, id])), follow_ups())
    return st.lists(st.one_of(st.just(frees), other), max_size=2).map(tuple)


def guards(id: str) -> st.SearchStrategy[tuple[Guard, ...]]:
    one: st.SearchStrategy[Any] = st.one_of(
        st.builds(
            Add,
            keys,
            st.just(b"held"),
            ttls,
            st.sampled_from([None, id]),
            st.booleans(),
            st.booleans(),
            st.sampled_from([None, None, "replaced"]),
            st.booleans(),
        ),
        st.builds(Absent, keys),
        st.builds(NotLeased, ids),
    )
    return st.one_of(st.just(()), st.lists(one, max_size=2).map(tuple))


# One draw each instead of a dozen: plain ones more often than odd ones.
ODDITIES: list[dict[str, Any]] = [
    {},
    {},
    {"keep": 0, "keep_failed": 90_000},
    {"priority": 5, "keep_result": False},
    {"max_crashes": 1},
    {"max_crashes": 2, "chosen": True},
    {"delay": 1_000},
    {"delay": 4_000, "priority": 5},
    {"expires_in": 2_000},
    {"delay": 1_000, "expires_after_due": 1_000},
    {"delay": 4_000, "expires_in": 2_000, "keep": 90_000},
    {"delay": 0, "expires_in": 4_000, "keep": 0},
]


# Strategies are made once: making them costs far more than drawing from them.
ENDINGS = {id: endings(id) for id in IDS}
GUARDS = {id: guards(id) for id in IDS}
REPLAYS = {id: st.just(()) | GUARDS[id] for id in IDS}
SOME_EFFECTS = st.just(()) | effects()


@st.composite
def draw_publication(draw: st.DrawFn) -> Publication:
    id = draw(ids)
    odd = {"keep": 3_000, "keep_failed": 3_000, **draw(st.sampled_from(ODDITIES))}
    on_replay = draw(REPLAYS[id])
    envelope = Envelope(
        v=1, id=id, task="task", queue=draw(queues), on_end=draw(ENDINGS[id]), on_replay=on_replay, **odd
    )
    return Publication(envelope, draw(GUARDS[id]), draw(SOME_EFFECTS))


publications = draw_publication()


VERDICTS: list[dict[str, Any]] = [
    {"kind": "done", "value": b'{"a":null}'},
    {"kind": "done", "reason": "because"},
    {"kind": "failed", "error": b"error", "reason": "because"},
    {"kind": "failed"},
    {"kind": "dropped", "reason": "because"},
    {"kind": "retry"},
    {"kind": "retry", "after": 1_000, "error": b"error"},
    {"kind": "retry", "after": 4_000, "reason": "because"},
    {"kind": "snooze", "after": 1_000},
    {"kind": "snooze", "value": b"1"},
]
said = st.builds(
    lambda verdict, effects, follow_ups: {**verdict, "effects": effects, "follow_ups": follow_ups},
    st.sampled_from(VERDICTS),
    SOME_EFFECTS,
    st.just(()) | follow_ups(),
)
number = st.integers(0, 30)  # picks one of what there is, by its remainder
lost = st.sampled_from([False, False, True])  # the reply was lost, so the call is made again

# --- steps --------------------------------------------------------------------------------------------------------

# How often each is drawn, and with what.  One rule that draws a step by weight, not a rule for each: hypothesis would
# switch half of the rules off in every walk, and what breaks brokers takes all of them.
STEPS: list[tuple[int, str, dict[str, st.SearchStrategy[Any]]]] = [
    (4, "publish", {"items": st.lists(publications, min_size=1, max_size=3), "twice": lost}),
    (
        8,
        "claim",
        {
            "pick": number,
            "names": st.sampled_from([["q", "r"], ["r", "q"], ["q", "r"], ["r", "q"], ["q"], ["r"]]),
            "limit": st.sampled_from([1, 1, 2, 2, 10, 0]),
            "back": st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2]),
            "verdicts": st.lists(st.tuples(number, said), max_size=2),
            "twice": lost,
        },
    ),
    (5, "settle", {"verdicts": st.lists(st.tuples(number, said), min_size=1, max_size=3), "twice": lost}),
    (2, "give_back", {"picks": st.lists(number, min_size=1, max_size=3), "twice": lost}),
    (
        4,
        "die",
        {
            "pick": number,
            "begun": st.sampled_from(["none", "some", "all", "unknown"]),
            "guilty": st.none() | st.none() | said,
            "twice": lost,
        },
    ),
    (1, "renew", {"pick": number, "twice": lost}),
    (2, "reap", {"grace": st.sampled_from([0.0, 2.0]), "twice": lost}),
    (
        4,
        "operate",
        {
            "name": st.sampled_from(["cancel"] * 4 + ["replay"] * 3 + ["remove", "forget", "purge"]),
            "pick": number,
            "queue": st.none() | queues,
            "twice": lost,
        },
    ),
    (1, "apply", {"key": keys, "effects": effects(), "add": st.booleans(), "holder": holders}),
    (5, "pass_time", {"seconds": st.sampled_from([0.001, 0.5, 1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 10.0, 70.0])}),
    (1, "disturb", {"what": st.sampled_from([-2, 2, None])}),
]
steps = st.one_of(
    [
        st.tuples(st.just(name), st.fixed_dictionaries(drawn))
        for often, name, drawn in STEPS
        for _ in range(often)
    ]
)
