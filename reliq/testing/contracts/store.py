"""The contract of `reliq.ports.store.Store`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reliq.ports import records
from reliq.ports.broker import Engine
from reliq.ports.values import Value
from reliq.testing.contracts.base import Contract, MovableClock
from reliq.testing.contracts.bench import Bench
from reliq.wire.message import IndexPut, IndexRemove


class StoreContract(Contract):
    """Small records, each with a life of its own; and ordered indexes."""

    # --- get and put ---

    def test_nothing_is_under_a_key_never_written(self, engine: Engine) -> None:
        assert engine.store_get("never") is None

    def test_what_was_put_is_there(self, engine: Engine) -> None:
        written = engine.store_put("key", b"data", holder="me")
        assert written == Value(b"data", 1, None, "me") == engine.store_get("key")

    @pytest.mark.parametrize("data", [b"", b"\x00\xff", b"x" * 100_000])
    def test_any_bytes_come_back(self, engine: Engine, data: bytes) -> None:
        engine.store_put("key", data)
        value = engine.store_get("key")
        assert value is not None
        assert value.data == data

    def test_a_put_replaces_whatever_stands_there_and_makes_a_new_version(self, engine: Engine) -> None:
        engine.store_put("key", b"1", ttl=60.0, holder="me")
        assert engine.store_put("key", b"2") == Value(b"2", 2, None, None)
        assert engine.store_get("key") == Value(b"2", 2, None, None)

    def test_a_key_has_1_to_512_characters(self, engine: Engine) -> None:
        engine.store_put("k" * 512, b"1")
        uses: list[Callable[[str], Any]] = [
            engine.store_get,
            lambda key: engine.store_put(key, b""),
            lambda key: engine.store_add(key, b""),
            lambda key: engine.store_swap(key, b"", version=0),
            lambda key: engine.store_touch(key, ttl=1.0),
            engine.store_drop,
            engine.store_incr,
        ]
        for key in ("", "k" * 513):
            for use in uses:
                with pytest.raises(ValueError, match="512"):
                    use(key)

    # --- lives ---

    def test_a_record_lapses_after_its_ttl(self, engine: Engine, clock: MovableClock) -> None:
        value = engine.store_put("key", b"1", ttl=1.5)
        assert value.expires == clock.now_ms() + 1_500
        clock.advance(1.499)
        assert engine.store_get("key") == value
        clock.advance(0.001)
        assert engine.store_get("key") is None

    def test_a_lapsed_record_is_as_if_absent_for_everything(
        self, engine: Engine, clock: MovableClock
    ) -> None:
        def lapsed() -> None:
            engine.store_put("key", b"5", holder="me")
            engine.store_put("key", b"5", ttl=1.0, holder="me")
            clock.advance(1)

        lapsed()
        assert engine.store_put("key", b"1").version == 1
        lapsed()
        assert engine.store_add("key", b"1")
        lapsed()
        assert not engine.store_swap("key", b"1", version=2)
        assert engine.store_swap("key", b"1", version=0)
        lapsed()
        assert not engine.store_touch("key", ttl=9.0)
        assert not engine.store_drop("key")
        assert not engine.store_drop("key", holder="me")
        assert sorted(records(engine, "")) == []
        assert engine.store_incr("key") == 1
        assert engine.store_get("key") == Value(b"1", 1, None, None)

    def test_a_record_without_a_ttl_stays_for_ever(self, engine: Engine, clock: MovableClock) -> None:
        engine.store_put("key", b"1")
        clock.advance(100_000_000)
        engine.reap()
        assert engine.store_get("key") is not None

    # --- add ---

    def test_add_writes_only_where_nothing_live_stands(self, engine: Engine, clock: MovableClock) -> None:
        assert engine.store_add("key", b"1", ttl=1.0, holder="me")
        assert not engine.store_add("key", b"2", holder="me")
        assert engine.store_get("key") == Value(b"1", 1, clock.now_ms() + 1_000, "me")
        clock.advance(1)
        assert engine.store_add("key", b"2")
        assert engine.store_get("key") == Value(b"2", 1, None, None)

    # --- swap ---

    def test_swap_writes_only_over_the_version_it_names(self, engine: Engine) -> None:
        assert not engine.store_swap("key", b"1", version=1)
        assert engine.store_get("key") is None
        assert engine.store_swap("key", b"1", version=0)
        assert not engine.store_swap("key", b"2", version=0)
        assert engine.store_swap("key", b"2", version=1)
        assert not engine.store_swap("key", b"3", version=1)
        assert engine.store_get("key") == Value(b"2", 2, None, None)

    def test_swap_gives_a_new_life_and_keeps_the_holder(self, engine: Engine, clock: MovableClock) -> None:
        engine.store_put("key", b"1", holder="me")
        assert engine.store_swap("key", b"2", version=1, ttl=2.0)
        assert engine.store_get("key") == Value(b"2", 2, clock.now_ms() + 2_000, "me")

    # --- touch ---

    def test_touch_gives_a_new_life_from_now_and_keeps_the_rest(
        self, engine: Engine, clock: MovableClock
    ) -> None:
        engine.store_put("key", b"1", ttl=5.0, holder="me")
        clock.advance(4)
        assert engine.store_touch("key", ttl=3.0)
        assert engine.store_get("key") == Value(b"1", 1, clock.now_ms() + 3_000, "me")
        assert engine.store_touch("key", ttl=None)
        assert engine.store_get("key") == Value(b"1", 1, None, "me")
        clock.advance(10)
        engine.reap()
        assert engine.store_get("key") is not None

    def test_there_is_nothing_to_touch_under_an_absent_key(self, engine: Engine) -> None:
        assert not engine.store_touch("key", ttl=1.0)
        assert engine.store_get("key") is None

    # --- drop ---

    def test_drop_removes_a_live_record_once(self, engine: Engine) -> None:
        engine.store_put("key", b"1", holder="me")
        assert engine.store_drop("key")
        assert engine.store_get("key") is None
        assert not engine.store_drop("key")
        assert engine.store_put("key", b"1").version == 1

    def test_drop_with_a_holder_removes_only_its_own(self, engine: Engine) -> None:
        engine.store_put("mine", b"", holder="me")
        engine.store_put("nobody's", b"")
        assert not engine.store_drop("mine", holder="you")
        assert not engine.store_drop("nobody's", holder="you")
        assert engine.store_drop("mine", holder="me")
        assert engine.store_get("nobody's") is not None

    # --- incr ---

    def test_incr_counts_from_0_and_gives_the_sum(self, engine: Engine) -> None:
        assert engine.store_incr("n") == 1
        assert engine.store_incr("n", 5) == 6
        assert engine.store_incr("n", -8) == -2
        assert engine.store_get("n") == Value(b"-2", 3, None, None)

    def test_incr_does_not_pass_its_limit(self, engine: Engine) -> None:
        assert engine.store_incr("n", 2, limit=3) == 2
        before = engine.store_get("n")
        assert engine.store_incr("n", 2, limit=3) is None
        assert engine.store_get("n") == before
        assert engine.store_incr("n", 1, limit=3) == 3
        assert engine.store_incr("n", 1, limit=3) is None
        assert engine.store_incr("n", -1, limit=3) == 2

    def test_incr_that_would_pass_its_limit_makes_no_record(self, engine: Engine) -> None:
        assert engine.store_incr("n", 5, limit=3) is None
        assert engine.store_get("n") is None

    def test_incr_gives_a_ttl_to_a_new_record_only(self, engine: Engine, clock: MovableClock) -> None:
        engine.store_incr("n", ttl=5.0)
        expires = clock.now_ms() + 5_000
        clock.advance(3)
        engine.store_incr("n", ttl=5.0)
        assert engine.store_get("n") == Value(b"2", 2, expires, None)
        clock.advance(2)
        assert engine.store_incr("n", ttl=5.0) == 1
        engine.store_put("for ever", b"1")
        assert engine.store_incr("for ever", ttl=5.0) == 2
        assert engine.store_get("for ever") == Value(b"2", 2, None, None)

    def test_incr_keeps_the_holder(self, engine: Engine) -> None:
        engine.store_put("n", b"4", holder="me")
        assert engine.store_incr("n") == 5
        assert engine.store_get("n") == Value(b"5", 2, None, "me")

    def test_incr_of_something_else_than_an_integer_is_an_error_and_changes_nothing(
        self, engine: Engine
    ) -> None:
        engine.store_put("n", b"four")
        with pytest.raises(ValueError, match="int"):
            engine.store_incr("n")
        assert engine.store_get("n") == Value(b"four", 1, None, None)

    # --- scan ---

    def test_scan_gives_live_records_of_a_prefix(self, engine: Engine, clock: MovableClock) -> None:
        for key in ("b/2", "a/9", "b/10", "b/1", "c/1", "b"):
            engine.store_put(key, key.encode())
        engine.store_put("b/15", b"", ttl=1.0)
        clock.advance(1)
        assert [key for key, _ in sorted(records(engine, "b/"))] == ["b/1", "b/10", "b/2"]
        assert sorted(records(engine, "b/"))[0] == ("b/1", Value(b"b/1", 1, None, None))
        assert [key for key, _ in sorted(records(engine, ""))] == ["a/9", "b", "b/1", "b/10", "b/2", "c/1"]
        assert sorted(records(engine, "x")) == []

    def test_scan_reads_in_pages(self, engine: Engine) -> None:
        keys = [f"k/{n}" for n in range(7)]
        for key in keys:
            engine.store_put(key, b"")
        found, cursors = set(), [""]
        while cursors[-1] or len(cursors) == 1:
            part = engine.store_scan("k/", limit=3, cursor=cursors[-1])
            found |= {key for key, _ in part.records}
            cursors.append(part.cursor)
            assert len(cursors) < 10
        assert found == set(keys)
        # Each once, also where a part repeats what another had.
        assert sorted(key for key, _ in records(engine, "k/")) == keys

    def test_scan_takes_a_prefix_literally(self, engine: Engine) -> None:
        for key in ("a_1", "a%1", "a*1", "ab1", "A_1", "a[1"):
            engine.store_put(key, b"")
        for prefix in ("a_", "a%", "a*", "a[", "A"):
            assert [key for key, _ in sorted(records(engine, prefix))] == [
                f"{prefix}1" if prefix != "A" else "A_1"
            ]
        for key in ("\0a", "\0b", "\U0010ffff", "\U0010ffff\U0010ffff", "\U0010ffff1"):
            engine.store_put(key, b"")
        assert [key for key, _ in sorted(records(engine, "\0"))] == ["\0a", "\0b"]
        last = "\U0010ffff"
        assert [key for key, _ in sorted(records(engine, last))] == [last, f"{last}1", last + last]
        assert [key for key, _ in sorted(records(engine, last + last))] == [last + last]

    def test_keys_are_any_text(self, engine: Engine) -> None:
        keys = sorted(["ключ", "键", "🔑", "a b", "a\nb", "ü"])
        for key in keys:
            engine.store_put(key, key.encode())
        assert [key for key, _ in sorted(records(engine, ""))] == keys
        assert [key for key, _ in sorted(records(engine, "键"))] == ["键"]

    # --- indexes ---

    def test_an_index_gives_its_members_at_or_before_a_moment_earliest_first(
        self, engine: Engine, bench: Bench
    ) -> None:
        bench.apply(
            IndexPut("i", "c", 30), IndexPut("i", "a", 10), IndexPut("i", "b", 20), IndexPut("j", "x", 1)
        )
        assert engine.index_due("i", before=20) == [("a", 10), ("b", 20)]
        assert engine.index_due("i", before=9) == []
        assert engine.index_due("i", before=99, limit=2) == [("a", 10), ("b", 20)]
        assert engine.index_due("none", before=99) == []

    def test_members_at_one_moment_come_in_their_own_order(self, engine: Engine, bench: Bench) -> None:
        bench.apply(*(IndexPut("i", member, 5) for member in "cab"))
        assert engine.index_due("i", before=5) == [("a", 5), ("b", 5), ("c", 5)]

    def test_a_member_stands_once_where_it_was_put_last(self, engine: Engine, bench: Bench) -> None:
        bench.apply(IndexPut("i", "a", 10))
        bench.apply(IndexPut("i", "a", 30))
        assert engine.index_due("i", before=10) == []
        assert engine.index_due("i", before=30) == [("a", 30)]

    def test_a_member_can_be_taken_out(self, engine: Engine, bench: Bench) -> None:
        bench.apply(IndexPut("i", "a", 10), IndexPut("i", "b", 10))
        assert bench.apply(IndexRemove("i", "a")).skipped == 0
        assert bench.apply(IndexRemove("i", "a")).skipped == 1
        assert engine.index_due("i", before=10) == [("b", 10)]

    # --- apply ---

    def test_applying_nothing_is_fine(self, engine: Engine) -> None:
        applied = engine.apply([], [])
        assert (applied.ok, applied.found, applied.skipped) == (True, None, 0)
