"""The race's harness: its flags, sides, goals, tables and verdicts.  What it measures is for a quiet machine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.__main__ import parse
from benchmarks.faults_peers import contestants
from benchmarks.figures import Figures
from benchmarks.race import environments, sides
from benchmarks.race.apps import produce
from benchmarks.race.goals import best, goals
from benchmarks.race.kills import judge
from benchmarks.race.known import behind
from benchmarks.race.measures import MEASURES
from benchmarks.race.programs import Program
from benchmarks.race.report import as_data, as_text, quantities
from benchmarks.race.run import Outcome
from benchmarks.race.settings import HELP, Settings
from reliq.testing.faults import Fact, tree
from reliq.testing.servers import found_redis, lacking

ROOT = Path(__file__).parents[2]


def figures(**rates: float) -> Figures:
    """One round of the drain with one process."""
    found = Figures()
    for side, rate in rates.items():
        found.add(f"drain, 1 process, {side}", "/s", rate)
    return found


def test_flags_become_settings() -> None:
    arguments = ["race", "--only", "celery,reliq", "--rounds", "1", "--due-in", "0.5", "--json", "x.json"]
    _, settings, path = parse(arguments)
    assert settings == Settings(only="celery,reliq", rounds=1, due_in=0.5)
    assert path == Path("x.json")


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["race", "--onyl", "celery"])
    assert "--onyl" in capsys.readouterr().err


def test_every_measure_is_named_in_the_help() -> None:
    assert HELP["measures"].removeprefix("only these: ").split(", ") == list(MEASURES)


def test_only_and_also_choose_the_sides() -> None:
    assert [side.name for side in sides.chosen()] == ["bare", "reliq", "celery", "dramatiq", "taskiq", "huey"]
    assert [side.name for side in sides.chosen("reliq, celery")] == ["reliq", "celery"]
    assert [side.name for side in sides.chosen("reliq", "rq,arq")] == ["reliq", "arq", "rq"]
    with pytest.raises(ValueError, match="no side is named celrey; there are bare, reliq"):
        sides.chosen("celrey")


def test_an_unknown_contestant_is_refused() -> None:
    assert [one.name for one in contestants("celery,reliq")] == ["reliq", "celery"]
    with pytest.raises(ValueError, match="no contestant is named arq; there are reliq, celery-default"):
        contestants("arq")


def test_every_requirement_of_a_peer_is_pinned() -> None:
    for side in sides.SIDES + sides.MORE:
        assert bool(side.requirements) == side.peer
        assert all("==" in requirement for requirement in side.requirements)


def test_an_environment_changes_with_its_versions() -> None:
    assert environments.digest(["a==1", "b==2"]) == environments.digest(["b==2", "a==1"])
    assert environments.digest(["a==1"]) != environments.digest(["a==2"])
    assert environments.python_of("reliq", ()) == Path(sys.executable)


def test_the_best_peer_of_the_run_sets_the_goal() -> None:
    found = figures(celery=900, dramatiq=4_000, reliq=41_000, bare=280_000)
    assert best(found, "drain, 1 process", ["celery", "dramatiq"]) == "dramatiq"
    first, aim, minute, second, *_ = goals(found, ["celery", "dramatiq"])
    assert first.text == "drain, 1 process / best peer, dramatiq"
    assert (first.value(found), first.met(found)) == (10.25, True)
    assert aim.met(found) is False and minute.met(found) is True and second.met(found) is None


def test_without_a_peer_no_ratio_is_judged() -> None:
    found = figures(reliq=41_000)
    assert best(found, "drain, 1 process", []) == "no peer"
    assert next(goals(found, [])).met(found) is None


def test_a_peer_below_what_is_known_of_it_is_told() -> None:
    known = 4_307 / 280_000
    assert list(behind(figures(dramatiq=known * 0.81, bare=1.0), ["dramatiq"])) == []
    (sentence,) = behind(figures(dramatiq=known * 0.79, bare=1.0), ["dramatiq"])
    assert sentence.startswith("dramatiq falls behind: drain, 1 process is 79%")


def test_a_peer_is_behind_only_where_faster_round_trips_do_not_explain_it() -> None:
    for trips, number in ((8_100, 1), (0.8 * 8_100, 0)):
        measured = figures(dramatiq=0.7 * 4_307, bare=280_000)
        measured.add("publish one by one, bare", "/s", trips)
        assert len(list(behind(measured, ["dramatiq"]))) == number


def test_publishing_is_judged_by_the_slices_that_were_neighbours() -> None:
    found = figures()
    for slowed in (1, 4, 2):  # the machine
        found.add("publish one by one, in turn, bare", "/s", 8_000 / slowed)
        found.add("publish one by one, in turn, reliq", "/s", 6_400 / slowed)
    found.add("publish one by one, bare", "/s", 8_000)
    found.add("publish one by one, reliq", "/s", 2_000)
    (goal,) = [goal for goal in goals(found, []) if goal.text == "publish one by one / bare RPUSH"]
    assert (goal.value(found), goal.met(found)) == (0.8, True)


def test_slices_take_turns_and_each_side_is_first_every_other_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    own = SimpleNamespace(send=lambda name, args: sent.append("own"))
    other = SimpleNamespace(send=lambda name, args: sent.append("other"), warm=lambda: None)
    monkeypatch.setitem(sys.modules, "benchmarks.race.apps.fake", other)  # type: ignore[arg-type]
    rates = asyncio.run(produce.in_turn(own, "fake", "3", "2"))
    assert sent[::2] == sent[1::2] == ["own", "other", "other", "own", "own", "other"]
    assert {name: len(found) for name, found in rates.items()} == {"own": 3, "other": 3}


def test_a_ratio_over_uneven_rounds_is_that_of_the_medians() -> None:
    found = Figures()
    for sample in (10.0, 20.0, 30.0):
        found.add("upper", "", sample)
    found.add("lower", "", 5.0)
    assert found.ratio("upper", "lower") == 4.0
    found.add("nothing", "", 0.0)
    assert found.ratio("upper", "nothing") is None


def test_the_table_has_a_column_for_each_side_and_tells_what_failed() -> None:
    found = figures(reliq=9_000, celery=900, bare=280_000)
    taking_part = sides.chosen("bare,reliq,celery")
    versions = {side.name: {"celery": "5.7.0", "redis": "8.1.0"} for side in taking_part}
    outcome = Outcome(taking_part, found, "redis 7.0.15", versions, ["round 1, cpu, celery: it broke"])
    assert quantities(found, ["reliq", "celery"]) == {"drain, 1 process": "/s"}
    lines = list(as_text(outcome, Settings()))
    (row, ratios) = [line.split() for line in lines if line.startswith("drain, 1 process  ")]
    assert row[4::2] == ["280,000", "9,000", "900"]
    assert ratios[3:] == ["0.0321", "1", "10"]
    assert lines[-1] == "FAILED: round 1, cpu, celery: it broke"
    assert any(line.endswith("MISSED") for line in lines) and any("celery 5.7.0" in line for line in lines)
    assert any("lease 30.0" in line for line in lines)
    data = as_data(outcome, Settings())
    assert data["failures"] == outcome.failures and data["sides"]["celery"]["acks"] == "late"


def test_a_journal_tells_what_was_lost_and_what_was_done_twice() -> None:
    facts = [
        *(Fact("confirmed", id, 0.0, 1) for id in "abcd"),
        Fact("started", "a", 1.0, 10),
        Fact("ended", "a", 1.1, 10),
        Fact("started", "b", 1.2, 10),
        Fact("killed", "", 1.3, 1, {"pids": "9,10"}),
        Fact("started", "b", 2.0, 11),
        Fact("ended", "b", 2.1, 11),
        Fact("started", "a", 2.2, 11),
        Fact("ended", "a", 2.3, 11),
        Fact("started", "c", 2.4, 11),
    ]
    found = judge(facts, kills=1)
    assert (found.confirmed, found.lost, found.cut) == (4, 2, 1)
    assert (found.duplicated, found.repeated, found.kills) == (2, 1, 1)
    assert found.seconds == pytest.approx(1.3)


def test_a_program_that_fails_says_what_it_said(tmp_path: Path) -> None:
    program = Program(
        [sys.executable, "-c", "import sys; print('because'); sys.exit(3)"],
        log=tmp_path / "log",
        environment=os.environ,
    )
    with pytest.raises(RuntimeError, match=r"ended with status 3:\nbecause"):
        program.answer(30)
    program.stop()


def test_a_program_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)"
    )
    program = Program([sys.executable, "-c", stubborn], log=tmp_path / "log", environment=os.environ)
    until = time.monotonic() + 20
    while len(family := program.tree()) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(family) == 2
    program.stop(timeout=0.1)
    assert not any(process.alive for process in family)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_race_leaves_nothing_running(tmp_path: Path, signum: int) -> None:
    if next(found_redis(), None) is None:
        lacking("no redis-server")
    arguments = ["--only", "bare", "--messages", "100000", "--rounds", "99", "--measures", "throughput"]
    race = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "race", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert race.stderr is not None
    said = ""
    while "throughput, bare" not in said:
        line = race.stderr.readline()
        if not line:
            pytest.fail(said)
        said += line
    until = time.monotonic() + 20
    while len(family := tree(race.pid)) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(family) >= 4  # itself, the server and its watcher, a producer
    race.send_signal(signum)
    race.communicate(timeout=30)
    assert race.returncode in (130, 128 + signum)
    assert not any(process.alive for process in family)
    assert list(tmp_path.iterdir()) == []
