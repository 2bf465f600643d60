"""How much of everything is measured; the goals are stated for the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.race.settings import split


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags of `python -m benchmarks once`."""

    rounds: int = 3
    messages: int = 30_000
    batch: int = 100
    peer_messages: int = 2_000
    victims: int = 1_000
    together: int = 50
    calm: float = 25.0
    seed: int = 1
    parts: str = ""
    only: str = ""

    @property
    def steps(self) -> tuple[str, ...]:
        """The parts that are asked for; empty for all."""
        return split(self.parts)


PARTS = ("overhead", "commands", "beside", "kills")
HELP = {
    "messages": "messages of each drain without, with a lock, and with both",
    "peer_messages": "messages of each measure beside celery-once",
    "victims": "tasks that are killed while they run",
    "together": "so many of them in one worker, which is killed as a whole",
    "calm": "seconds without any start or end after which a peer is thought to be done",
    "parts": f"only these: {', '.join(PARTS)}",
    "only": "sides of the comparison, say reliq,celery-once",
}
