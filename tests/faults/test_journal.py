"""Journals, their check, and the processes and engines that faults are tried on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reliq.errors import BrokerUnavailable
from reliq.ports.values import Audit, Record, Transition
from reliq.testing.faults import Faulty, Journal, at, check, kill_tree, read, seeded, tree
from reliq.testing.faults.journal import Fact


def record(id: str, state: Any = "done", **fields: Any) -> Record:
    fields.setdefault("reason", None if state == "done" else "because")
    fields.setdefault("transitions", (Transition(0, "ready"), Transition(1, state)))
    return Record(id=id, task="t", queue="q", state=state, **fields)


class Books:
    """A broker that has these records."""

    def __init__(self, *records: Record, accepted: int | None = None) -> None:
        self._records = {r.id: r for r in records}
        self._accepted = len(records) if accepted is None else accepted

    def list(self, *, queue: str | None, limit: int, after: str | None) -> list[Record]:
        return [r for r in self._records.values() if after is None or r.id > after][:limit]

    def get(self, id: str) -> Record | None:
        return self._records.get(id)

    def audit(self) -> Audit:
        return Audit(self._accepted, {"done": len(self._records)})


def facts(*lines: tuple[Any, ...]) -> list[Fact]:
    return [
        Fact(kind, id, float(at), pid, dict(details)) for at, (kind, id, pid, *details) in enumerate(lines)
    ]


def published(*ids: str) -> list[tuple[Any, ...]]:
    return [(kind, id, 1) for id in ids for kind in ("attempted", "confirmed")]


def run(id: str, fence: int = 1, pid: int = 2) -> list[tuple[Any, ...]]:
    return [("started", id, pid, ("fence", str(fence))), ("ended", id, pid)]


def broken(*args: Any, **kwargs: Any) -> set[str]:
    return {invariant for invariant, _ in check(*args, **kwargs).broken}


def test_facts_survive_the_file_with_all_they_say(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.note("started", "a\tb\nc d=é", fence=7, file="a b\n=%.py")
    (fact,) = read(tmp_path / "j")
    assert (fact.kind, fact.id, fact.pid) == ("started", "a\tb\nc d=é", os.getpid())
    assert fact.details == {"fence": "7", "file": "a b\n=%.py"}


def test_many_threads_and_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path)
    code = f"from reliq.testing.faults import Journal; j = Journal({str(path)!r}); [j.note('x') for _ in range(500)]"
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda: [journal.note("x", str(i)) for i in range(500)]) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.wait(timeout=30) for p in others] == [0, 0]
    assert len(read(path)) == 2000


def test_an_unfinished_line_is_no_fact(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.note("started", "a")
    with open(tmp_path / "j", "a") as file:
        file.write("ended\ta\t1.")
    assert [f.kind for f in read(tmp_path / "j")] == ["started"]


def test_a_clean_run_is_ok() -> None:
    report = check(facts(*published("a", "b"), *run("a"), *run("b")), Books(record("a"), record("b")))
    assert report.ok
    assert (report.attempted, report.confirmed, report.done, report.duplicated) == (2, 2, 2, 0)
    assert "lost 0" in str(report)


def test_a_confirmed_id_without_an_end_is_lost() -> None:
    report = check(facts(*published("a", "b"), *run("a")), Books(record("a")))
    assert report.lost == ["b"]
    assert "BROKEN I1: b was confirmed and is nowhere" in str(report)
    assert broken(facts(*published("a")), Books(record("a", "ready"))) >= {"I1"}


def test_an_end_without_a_reason_is_a_fault() -> None:
    assert broken(facts(*published("a")), Books(record("a", "failed", reason=None))) == {"I1"}


def test_a_stranger_that_ran_is_unexpected() -> None:
    assert broken(facts(*run("x")), Books(record("x"))) == {"I2"}
    assert broken(facts(*run("x")), Books(record("x")), children=True) == set()
    assert broken(facts(*published("a"), *run("a")), Books(record("a"), record("x"))) == {"I2"}


def test_one_claim_started_twice_is_two_live_copies() -> None:
    assert broken(facts(*published("a"), *run("a"), *run("a", pid=3)), Books(record("a"))) == {"I3"}


def test_two_accepted_settlements_are_one_too_many() -> None:
    settled = ("settled", "a", 2, ("answer", "applied"), ("state", "done"))
    stale = ("settled", "a", 2, ("answer", "stale"), ("state", "done"))
    assert broken(facts(*published("a"), settled, stale), Books(record("a"))) == set()
    assert broken(facts(*published("a"), settled, settled), Books(record("a"))) == {"I4"}


def test_a_story_with_two_ends_is_one_too_many() -> None:
    twice = record("a", transitions=(Transition(1, "done"), Transition(2, "done")))
    assert broken(facts(*published("a"), *run("a"), *run("a", 2)), Books(twice)) == {"I4"}


def test_extra_runs_beyond_what_was_leased_at_the_kills_are_a_fault() -> None:
    story = [*published("a"), *run("a")[:1], ("killed", "", 1, ("pids", "2"), ("leased", "0")), *run("a", 2)]
    assert broken(facts(*story), Books(record("a"))) == {"I5"}
    story[3] = ("killed", "", 1, ("pids", "2"), ("leased", "1"))
    report = check(facts(*story), Books(record("a")))
    assert report.ok and report.duplicated == 1 and "(<= 1 leased at the kills)" in str(report)


def test_more_runs_than_allowed_are_a_fault() -> None:
    runs = [fact for fence in range(6) for fact in run("a", fence)]
    assert broken(facts(*published("a"), *runs), Books(record("a"))) == {"I6"}
    assert broken(facts(*published("a"), *runs), Books(record("a")), max_retries=2) == set()


def test_a_message_that_waits_too_long_after_a_kill_is_a_fault() -> None:
    story = [*published("a"), *run("a")[:1], ("killed", "", 1, ("pids", "2")), ("tick", "", 1), *run("a", 2)]
    assert check(facts(*story), Books(record("a"))).slowest_reclaim == 2.0
    assert broken(facts(*story), Books(record("a")), reclaim_within=1.0) == {"I7"}


def test_books_that_do_not_balance_are_a_fault() -> None:
    assert broken(facts(*published("a")), Books(record("a"), accepted=2)) == {"I11"}


def test_a_tree_is_killed_whole_and_by_its_own_pids() -> None:
    grandchild = "import time; time.sleep(60)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    root = subprocess.Popen([sys.executable, "-c", child])
    while len(tree(root.pid)) < 2:
        assert root.poll() is None
    family = kill_tree(root.pid)
    assert root.wait(timeout=10) == -signal.SIGKILL
    assert len(family) == 2 and not any(p.alive for p in family)
    assert tree(root.pid) == []


def test_a_pid_that_was_given_to_another_process_gets_no_signal() -> None:
    me = tree(os.getpid())[0]
    stranger = me._replace(born="0")
    assert not stranger.alive
    assert not stranger.send(signal.SIGKILL)


def test_an_engine_fails_before_or_after_the_operation_it_was_told_to() -> None:
    calls: list[str] = []
    engine = SimpleNamespace(
        url="x://", publish=lambda: calls.append("publish"), settle=lambda: calls.append("settle")
    )
    faulty = Faulty(engine, at(2, "before"))
    faulty.publish()
    with pytest.raises(BrokerUnavailable, match="was not sent"):
        faulty.settle()
    assert calls == ["publish"] and faulty.url == "x://"
    faulty = Faulty(engine, at(1, "after", operations=frozenset({"settle"})))
    faulty.publish()
    with pytest.raises(BrokerUnavailable, match="reply .* was lost"):
        faulty.settle()
    assert calls == ["publish", "publish", "settle"]
    assert faulty.log == [("publish", None), ("settle", "after")] and faulty.faults == 1


def test_the_same_seed_gives_the_same_faults() -> None:
    def faults(seed: int) -> list[Any]:
        plan = seeded(seed, rate=0.3)
        return [plan(n, "claim") for n in range(200)]

    assert faults(1) == faults(1) != faults(2)
    assert {None, "before", "after"} == set(faults(1))
