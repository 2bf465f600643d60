"""The measures on SQLite: huey, the bare loop and reliq take turns in each round, so that all meet the same machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bare_loop, huey_peer, reliq_side, tally
from benchmarks.figures import Figures, percentile

DURABILITIES = ("off", "normal", "full")


@dataclass(frozen=True, slots=True)
class Settings:
    """How much of everything; the goals are stated for the defaults."""

    rounds: int = 3
    messages: int = 20_000
    batch: int = 100
    waiting: int = 100_000
    samples: int = 500
    pause: float = 0.05
    idle_seconds: float = 10.0
    naps: int = 1_000
    seed: int = 1


def run(settings: Settings, say: Callable[[str], None]) -> Figures:
    """All rounds."""
    figures = Figures()
    for number in range(1, settings.rounds + 1):
        for name, measure in MEASURES.items():
            say(f"round {number} of {settings.rounds}: {name}")
            folder = Path(tempfile.mkdtemp(prefix="reliq-bench-"))
            try:
                measure(settings, folder, figures)
            finally:
                shutil.rmtree(folder)
    return figures


def _huey(settings: Settings, folder: Path, figures: Figures) -> None:
    path = folder / "huey.sqlite3"
    figures.add("publish one by one, huey, off", "/s", huey_peer.publish(path, settings.messages))
    figures.add("drain, huey, off", "/s", huey_peer.drain(path, settings.messages, folder / "tally"))


def _bare(durability: str) -> Callable[[Settings, Path, Figures], None]:
    def measure(settings: Settings, folder: Path, figures: Figures) -> None:
        os.environ[tally.FOLDER] = str(folder)
        notes = tally.Tally()
        for per, how in ((1, "one by one"), (settings.batch, "in bulk")):
            db = bare_loop.open_table(folder / f"{per}.sqlite3", durability)
            rate = bare_loop.publish(db, settings.messages, per=per)
            figures.add(f"publish {how}, bare loop, {durability}", "/s", rate)
            if per == 1:
                rate = bare_loop.drain(db, notes.hit, batch=settings.batch)
                figures.add(f"drain, bare loop, {durability}", "/s", rate)
            db.close()

    return measure


def _reliq(durability: str) -> Callable[[Settings, Path, Figures], None]:
    def measure(settings: Settings, folder: Path, figures: Figures) -> None:
        one, bulk = (f"sqlite:///{folder}/{name}.sqlite3?durability={durability}" for name in ("one", "bulk"))
        rate = reliq_side.publish(one, settings.messages, per=1)
        figures.add(f"publish one by one, reliq, {durability}", "/s", rate)
        rate = reliq_side.publish(bulk, settings.messages, per=settings.batch)
        figures.add(f"publish in bulk, reliq, {durability}", "/s", rate)
        rate, _ = reliq_side.drain(one, settings.messages, folder / "tally-1")
        figures.add(f"drain, reliq, {durability}", "/s", rate)
        rate, share = reliq_side.drain(bulk, settings.messages, folder / "tally-2", processes=2)
        figures.add(f"drain with 2 processes, reliq, {durability}", "/s", rate)
        figures.add(f"larger share of 2 processes, reliq, {durability}", "", share)

    return measure


def _waiting(settings: Settings, folder: Path, figures: Figures) -> None:
    plain, crowded = (f"sqlite:///{folder}/{name}.sqlite3" for name in ("plain", "crowded"))
    reliq_side.publish_due(crowded, settings.waiting, seconds=3600)
    for url, name in ((plain, "none waits"), (crowded, "many wait")):
        idle = reliq_side.idle_use(url, folder / f"idle {name}", seconds=0.5)
        figures.add(f"memory of a worker, {name}", "MB", idle.tree / 1e6)
        reliq_side.publish(url, settings.messages, per=settings.batch)
        waiting = settings.waiting if url == crowded else 0
        rate, _ = reliq_side.drain(url, settings.messages, folder / f"tally {name}", waiting=waiting)
        figures.add(f"drain, {name}", "/s", rate)


def _idle(settings: Settings, folder: Path, figures: Figures) -> None:
    idle = reliq_side.idle_use(
        f"sqlite:///{folder}/idle.sqlite3", folder / "idle", seconds=settings.idle_seconds
    )
    figures.add("idle worker", "% of a core", idle.cores * 100)
    figures.add("child, resident", "MB", idle.child / 1e6)
    figures.add("child, proportional", "MB", idle.child_pss / 1e6)


def _latency(settings: Settings, folder: Path, figures: Figures) -> None:
    url = f"sqlite:///{folder}/latency.sqlite3"
    latencies = reliq_side.idle_latencies(
        url, folder / "stamps", samples=settings.samples, pause=settings.pause, seed=settings.seed
    )
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        figures.add(f"idle latency {name}", "ms", percentile(latencies, share) * 1000)


def _naps(settings: Settings, folder: Path, figures: Figures) -> None:
    seconds = reliq_side.nap_together(
        f"sqlite:///{folder}/naps.sqlite3", folder / "stamps", number=settings.naps
    )
    figures.add("async tasks of 1 s, all at once", "s", seconds)


def _start(settings: Settings, folder: Path, figures: Figures) -> None:
    figures.add("import reliq", "ms", reliq_side.import_time() * 1000)
    figures.add("reliq --help", "ms", reliq_side.help_time() * 1000)


MEASURES: dict[str, Callable[[Settings, Path, Figures], None]] = {
    "huey": _huey,
    **{
        f"{name}, durability {durability}": side(durability)
        for durability in DURABILITIES
        for name, side in (("bare loop", _bare), ("reliq", _reliq))
    },
    "messages that wait": _waiting,
    "idle worker": _idle,
    "idle latency": _latency,
    "async tasks": _naps,
    "start": _start,
}
