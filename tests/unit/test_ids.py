"""Message ids."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliq.errors import OptionError
from reliq.policy.ids import check_id, follow_up_id, is_random, new_id

RANDOM = "01a1fd9f-1042-7f3f-974d-44ef2bb4d1a2"


def test_an_id_is_a_version_7_uuid_of_now() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(made)) == 1000
    for text in made:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert before <= parsed.int >> 80 <= after
        assert is_random(text)


def test_ids_are_ordered_by_time() -> None:
    first = new_id()
    until = time.time_ns() // 1_000_000 + 2
    while time.time_ns() // 1_000_000 < until:  # the next millisecond but one
        pass
    assert first < new_id()


def test_threads_share_no_id() -> None:
    made: list[list[str]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda own=own: own.extend(new_id() for _ in range(5000))) for own in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*made)) == 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_never_repeats_its_parent() -> None:
    new_id()  # so that a batch is begun
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send([new_id() for _ in range(300)]))
    child.start()
    theirs = receiver.recv()
    child.join()
    ours = [new_id() for _ in range(300)]
    # The time differs anyway: what must differ is the random end.
    assert not {text[14:] for text in theirs} & {text[14:] for text in ours}


@given(st.text(min_size=1, max_size=50), st.integers(0, 100), st.integers(0, 100))
@settings(deadline=None)
def test_a_follow_up_has_the_same_id_every_time(parent: str, n: int, m: int) -> None:
    assert (follow_up_id(parent, n) == follow_up_id(parent, m)) is (n == m)
    assert uuid.UUID(follow_up_id(parent, n)).version == 5
    assert not is_random(follow_up_id(parent, n))


def test_follow_up_ids_are_stable_for_ever() -> None:
    assert follow_up_id("order-1", 0) == "623cce87-ad47-5ae4-a921-7e1adf109ee8"


@pytest.mark.parametrize("id", ["order-1", "", str(uuid.UUID(int=0)), RANDOM.upper(), RANDOM + "\n"])
def test_a_chosen_id_is_told_from_a_random_one(id: str) -> None:
    assert not is_random(id)


@pytest.mark.parametrize("id", ["a", "order 1/2", "ü" * 255, "{x}:*"])
def test_a_chosen_id_is_taken_as_it_is(id: str) -> None:
    assert check_id(id) == id


@pytest.mark.parametrize(
    "id", ["", "a" * 256, "a\nb", "\x00", "\x7f", "\x85", "\u2028", "\ud800", 7, None, b"x"]
)
def test_an_id_that_cannot_be_one_is_refused(id: object) -> None:
    with pytest.raises(OptionError, match="task id"):
        check_id(id)  # type: ignore[arg-type]
