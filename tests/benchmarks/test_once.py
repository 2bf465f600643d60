"""The harness of `python -m benchmarks once`: its flags, sides, goals and tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import parse
from benchmarks.figures import Figures
from benchmarks.once import sides
from benchmarks.once.commands import BOTH, IDEMPOTENT, LOCKS, NO_LOCK, Asked
from benchmarks.once.goals import goals
from benchmarks.once.kills import as_killed
from benchmarks.once.monitor import Seen
from benchmarks.once.report import as_data, as_text, judged
from benchmarks.once.run import Outcome, run
from benchmarks.once.settings import PARTS, Settings


def figures(*, once: float, both: float) -> Figures:
    """Two rounds, of which the second was slow for all."""
    found = Figures()
    for slow in (1, 3):
        for variant, micros in (("plain", 20.0), ("once", once), ("both", both)):
            found.add(f"drain, time, {variant}", "us/message", micros * slow)
    return found


def asked(publish: int = 1, settle: int = 1) -> Asked:
    one = Seen(("EVALSHA",), ("HSET",) * 3)
    return Asked(Seen(("EVALSHA",) * publish, ("HSET",) * 5), one, Seen(("EVALSHA",) * settle, ("HDEL",) * 2))


def outcome(found: Figures | None = None, **commands: Asked) -> Outcome:
    ways = {name: asked() for name in (NO_LOCK, *LOCKS, IDEMPOTENT, BOTH)} | commands
    return Outcome(
        sides.chosen(Settings()), found or Figures(), "redis 7.0.15", {}, ways, ["kills, x: it broke"]
    )


def test_flags_become_settings() -> None:
    _, settings, path = parse(["once", "--parts", "overhead", "--rounds", "7", "--json", "x.json"])
    assert settings == Settings(rounds=7, parts="overhead") and path == Path("x.json")


def test_unknown_parts_and_sides_are_refused() -> None:
    with pytest.raises(ValueError, match=f"no part is named kill; there are {', '.join(PARTS)}"):
        run(Settings(parts="kill"), print)
    with pytest.raises(ValueError, match="no side is named celery; there are reliq, celery-once"):
        sides.chosen(Settings(only="celery"))


def test_every_requirement_of_a_peer_is_pinned() -> None:
    for side in sides.BESIDE:
        assert bool(side.requirements) == side.peer
        assert all("==" in requirement for requirement in side.requirements)


def test_only_peers_are_given_another_recovery() -> None:
    reliq, default, late = sides.BESIDE
    assert as_killed(reliq) == reliq
    assert as_killed(default).environment == {
        "ONCE_CELERY": "default", "ONCE_PREFETCH": "1", "ONCE_VISIBILITY": "10",
    }  # fmt: skip
    assert late.environment["ONCE_PREFETCH"] == "64" and as_killed(late).environment["ONCE_PREFETCH"] == "1"


def test_the_overhead_is_the_median_of_the_rounds_ratios() -> None:
    once, both, *_ = goals()
    found = figures(once=22.9, both=25.2)
    assert once.value(found) == pytest.approx(1.145) and once.met(found) is True
    assert both.value(found) == pytest.approx(1.26) and both.met(found) is False


def test_a_command_too_many_misses_the_goal() -> None:
    found = {text: met for text, _, _, met in judged(outcome(**{"until=done": asked(publish=2, settle=2)}))}
    assert [text for text, met in found.items() if met is False] == [
        "commands of a publish, until=done",
        "added to a settlement, until=done",
    ]


def test_the_tables_tell_what_was_found_and_what_failed() -> None:
    found = outcome(figures(once=22.0, both=30.0), **{"until=start": asked(settle=2)})
    lines = list(as_text(found, Settings()))
    (row,) = [line.split() for line in lines if line.startswith("until=start ")]
    assert row == ["until=start", "1", "(5)", "1", "(3)", "1", "(2)"]
    assert any(line.startswith("drain, time") for line in lines) and any("MISSED" in line for line in lines)
    assert lines[-1] == "FAILED: kills, x: it broke"
    data = as_data(found, Settings())
    assert data["commands"]["until=start"]["settle"] == {"client": ("EVALSHA", "EVALSHA"), "lua": 2}
    assert data["sides"]["celery-once"]["killed with"]["ONCE_VISIBILITY"] == "10"
