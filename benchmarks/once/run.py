"""All parts: the overhead and the comparison in rounds, in each of which every side takes its turn; the rest once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from benchmarks.figures import Figures
from benchmarks.once.beside import beside
from benchmarks.once.commands import Asked, count_commands
from benchmarks.once.kills import kills
from benchmarks.once.overhead import overhead
from benchmarks.once.settings import PARTS, Settings
from benchmarks.once.sides import chosen
from benchmarks.race.interruption import ending_on_signals
from benchmarks.race.rig import Rig
from benchmarks.race.run import versions_of
from benchmarks.race.server import HOST, serving
from benchmarks.race.settings import Settings as RaceSettings
from benchmarks.race.sides import Side

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What a run found; `failures` are the measures that could not be made, and why."""

    sides: tuple[Side, ...]
    figures: Figures
    redis: str
    versions: dict[str, dict[str, str]]
    commands: dict[str, Asked] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def run(settings: Settings, say: Say) -> Outcome:
    """Whatever was started has ended when this returns or raises."""
    if unknown := set(settings.steps) - set(PARTS):
        raise ValueError(f"no part is named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    sides, parts = chosen(settings), settings.steps or PARTS
    needs_peers = bool({"beside", "kills"} & set(parts))
    with ending_on_signals(), tempfile.TemporaryDirectory(prefix="reliq-once-") as folder:
        versions = {s.name: versions_of(s, say) for s in sides if needs_peers or not s.peer}
        with serving() as server:
            rig = Rig(RaceSettings(seed=settings.seed), server, Path(folder))
            found = Outcome(sides, rig.figures, server.version, versions)
            doing = _Doing(found, say)
            for number in range(1, settings.rounds + 1):
                if "overhead" in parts:
                    doing.it(
                        f"round {number}: overhead", lambda: overhead(rig, settings.messages, settings.batch)
                    )
                for side in sides if "beside" in parts else ():
                    doing.it(
                        f"round {number}: beside, {side.name}",
                        lambda side=side: beside(rig, side, settings.peer_messages),
                    )
            if "commands" in parts:
                server.clear()
                url = f"redis://{HOST}:{server.port}/0"
                doing.it("commands", lambda: found.commands.update(count_commands(url, HOST, server.port)))
            for side in sides if "kills" in parts else ():
                doing.it(f"kills, {side.name}", lambda side=side: kills(rig, side, settings))
            return found


@dataclass(slots=True)
class _Doing:
    """Says what is done, and keeps what fails from the rest."""

    found: Outcome
    say: Say

    def it(self, name: str, measure: Callable[[], None]) -> None:
        self.say(name)
        begun = monotonic()
        try:
            measure()
            self.say(f"    {monotonic() - begun:.0f} s")
        except (RuntimeError, TimeoutError) as error:
            self.found.failures.append(f"{name}: {error}")
            self.say(self.found.failures[-1])
