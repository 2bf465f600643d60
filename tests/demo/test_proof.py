"""What the demo's proof accepts and what it does not; and what its plan and counts are made of."""

from __future__ import annotations

from typing import Any

from reliq.demo.plan import make_plan
from reliq.demo.proof import Proof, prove, tally
from reliq.demo.sources import ROOT, Counts, count_all, count_file, source_files
from reliq.ports.values import Audit, Record
from reliq.testing.faults.journal import Fact

ONE = Counts(1, 2, 3, 40, 0)


def counted(id: str, fence: int, counts: Counts = ONE) -> Fact:
    return Fact(
        "counted", id, 0.0, 1, {"fence": str(fence), **{k: str(v) for k, v in counts._asdict().items()}}
    )


def done(id: str, fence: int) -> Record:
    return Record(id=id, task="count", queue="q", state="done", fence=fence)


def proof(facts: list[Fact], *records: Record, published: Any = None, expected: Counts = ONE) -> Proof:
    books = {r.id: r for r in records}
    return prove(
        published=published if published is not None else {id: f"{id}.py" for id in books},
        records=books,
        facts=facts,
        audit=Audit(len(books), {"done": len(books)}),
        expected=expected,
    )


def broken(proof: Proof) -> list[str]:
    return [claim for claim, against in proof.claims if against]


def test_a_run_that_was_settled_counts() -> None:
    assert proof([counted("a", 5)], done("a", 5)).holds


def test_of_two_finished_runs_only_the_settled_one_counts() -> None:
    found = proof([counted("a", 5, Counts(9, 9, 9, 9, 9)), counted("a", 6)], done("a", 6))
    assert found.holds and found.discarded == 1 and found.counted == ONE


def test_a_settlement_without_a_run_is_found() -> None:
    found = proof([], done("a", 5))
    assert broken(found) == [
        "every completion the broker accepted stands in a journal, once",
        "the totals are equal",
    ]


def test_a_settlement_of_another_run_is_found() -> None:
    assert not proof([counted("a", 5)], done("a", 6)).holds


def test_a_run_counted_twice_is_found() -> None:
    assert not proof([counted("a", 5), counted("a", 5)], done("a", 5), expected=ONE.plus(ONE)).holds


def test_a_message_that_has_not_ended_or_is_gone_is_found() -> None:
    waiting = Record(id="b", task="count", queue="q", state="ready")
    assert "every accepted message has ended" in broken(proof([counted("a", 5)], done("a", 5), waiting))
    assert "every accepted message has ended" in broken(
        proof([counted("a", 5)], done("a", 5), published={"a": "a.py", "gone": None})
    )


def test_a_stranger_is_found() -> None:
    assert "only published messages ran" in broken(proof([counted("a", 5), counted("x", 1)], done("a", 5)))


def test_the_table_counts_runs_by_their_cause() -> None:
    facts = [Fact("started", id, 0.0, 1) for id in ("a", "a", "b", "b", "c", "c", "c")]
    records = [
        done("a", 1),
        Record(id="b", task="t", queue="q", state="done", retries=1),
        Record(id="c", task="t", queue="q", state="failed", reason="crashed 3 times"),
    ]
    found = tally({r.id: r for r in records}, facts, refused=4)
    assert (found.published, found.refused, found.run) == (3, 4, 7)
    assert (found.repeated, found.retried, found.quarantined) == (3, 1, 1)


def test_the_same_seed_makes_the_same_plan() -> None:
    paths = [f"{i}.py" for i in range(500)]
    assert make_plan(paths, 1) == make_plan(paths, 1) != make_plan(paths, 2)
    plan = make_plan(paths, 1)
    assert plan.duplicates == 50 and len({path for path, _ in plan.calls}) == 500
    assert sorted(trouble for _, trouble in {*plan.calls})[-13:] == ["crash"] * 3 + ["hiccup"] * 10


def test_counts_are_those_of_the_file() -> None:
    source = (ROOT / "this.py").read_text()
    assert count_file("this.py") == Counts(1, 0, 0, source.count("\n"), 0)
    assert count_all(["this.py", "bisect.py"]) == count_file("this.py").plus(count_file("bisect.py"))
    assert count_file("bisect.py").functions == 4
    assert len(source_files()) > 300 and "bisect.py" in source_files()
