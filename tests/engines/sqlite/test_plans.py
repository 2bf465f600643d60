"""The statements of the hot path use the indexes meant for them, however many messages there are."""

from __future__ import annotations

from typing import Any

import pytest

from reliq.engines.sqlite import (  # fmt: skip
    SqliteEngine,
    claim,
    operators,
    owners,
    reap,
    rows,
    settle,
    store,
)
from reliq.engines.sqlite.rows import COLUMNS, FROM


def hot() -> list[tuple[str, str]]:
    found = [
        (f"{module.__name__.rpartition('.')[2]}.{name}", text)
        for module in (claim, owners, reap, rows, settle, store)
        for name, text in vars(module).items()
        if name.startswith("_")
        and isinstance(text, str)
        and text.split(" ")[0] in ("SELECT", "UPDATE", "DELETE", "WITH")
        and "{" not in text
        and "FROM FROM" not in text
    ]
    found = [(name, text) for name, text in found if name not in ("claim._BATCH",)]
    found += [
        ("reap._TOMBSTONES, lapsed", reap._TOMBSTONES.format(lapsed="<= ?")),
        ("reap._TOMBSTONES, free", reap._TOMBSTONES.format(lapsed="IS NULL")),
        *(
            (
                f"operators._PURGED, {index}",
                f"SELECT {COLUMNS} {FROM} " + operators._PURGED.format(index=index, state=state),
            )
            for index, state in operators._WAITING
        ),
        ("claim._EXPIRED", f"SELECT {COLUMNS} {FROM} {claim._EXPIRED}"),
        ("owners._HELD", f"SELECT {COLUMNS} {FROM} {owners._HELD}"),
    ]
    return found


@pytest.mark.parametrize(("name", "sql"), hot(), ids=[name for name, _ in hot()])
def test_no_statement_walks_over_all_messages(engine: SqliteEngine, name: str, sql: str) -> None:
    def plan(execute: Any) -> list[str]:
        highest = max((int(c) for c in "123456" if f"?{c}" in sql), default=0)
        values = [None] * (highest or sql.count("?"))
        return [row[3] for row in execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()]

    steps = engine._link.read(plan)
    assert steps
    for step in steps:
        if step.startswith("SCAN"):
            table = step.split()[1]
            # The oldest row by its key, the queues of one call, a walk along an index, and tables that stay small.
            assert table not in ("message", "m", "store", "idx") or "LIMIT 1" in sql, steps


def test_the_ready_index_gives_the_order_without_sorting(engine: SqliteEngine) -> None:
    def plan(execute: Any) -> str:
        return " ".join(
            row[3] for row in execute(f"EXPLAIN QUERY PLAN {claim._LEASE_READY}", [None] * 8).fetchall()
        )

    steps = engine._link.read(plan)
    assert "message_ready (queue=?)" in steps
    assert "TEMP B-TREE" not in steps


def test_a_batch_of_one_queue_is_read_in_its_order_without_sorting(engine: SqliteEngine) -> None:
    def plan(execute: Any) -> str:
        return " ".join(
            row[3] for row in execute(f"EXPLAIN QUERY PLAN {claim._BATCH_ONE}", (1, 1)).fetchall()
        )

    steps = engine._link.read(plan)
    assert "message_leased (owner=? AND claim=?)" in steps
    assert "TEMP B-TREE" not in steps


def test_a_settlement_finds_its_messages_by_id(engine: SqliteEngine) -> None:
    def plan(execute: Any) -> str:
        return " ".join(
            row[3] for row in execute(f"EXPLAIN QUERY PLAN {settle._PLAIN}", [None] * 6).fetchall()
        )

    assert "message_id (id=?)" in engine._link.read(plan)
