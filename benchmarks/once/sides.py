"""Who is measured: reliq with and without, and celery with celery-once in an environment of its own."""

from __future__ import annotations

from benchmarks.once.settings import Settings
from benchmarks.race.settings import split
from benchmarks.race.sides import CELERY, Side, Start

APPS = "benchmarks.once.apps"
VARIANTS = {
    "plain": "no lock",
    "once": "base=QueueOnce, until=done",
    "both": "the same, and Idempotency with idempotency=True",
}
_REQUIREMENTS = (*CELERY, "celery-once==3.0.1")
VISIBILITY = 10  # seconds; celery comes with an hour


def _reliq(processes: int, threads: int) -> list[tuple[str, ...]]:
    more = ("--threads", str(threads)) if threads > 1 else ()
    arguments = ("-A", f"{APPS}.reliq_app:app", "-c", str(processes), "-l", "warning", *more)
    return [("-m", "reliq", "worker", *arguments)]


def _celery() -> Start:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
    base = ("-m", "celery", "-A", f"{APPS}.celery_app:app", "worker", *quiet)

    def start(processes: int, threads: int) -> list[tuple[str, ...]]:
        if threads > 1:
            return [(*base, "-P", "threads", "-c", str(threads))]
        return [(*base, "-P", "prefork", "-c", str(processes))]

    return start


def reliq(variant: str, *, name: str = "") -> Side:
    """reliq with one of the variants."""
    return Side(
        name or variant, "reliq_app", "late", VARIANTS[variant], _reliq,
        environment={"ONCE_VARIANT": variant}, peer=False,
    )  # fmt: skip


BESIDE: tuple[Side, ...] = (
    reliq("once", name="reliq"),
    Side(
        "celery-once", "celery_app", "early", "prefork, both as they come, no events, no gossip, no results",
        _celery(), _REQUIREMENTS, environment={"ONCE_CELERY": "default"},
    ),
    Side(
        "celery-once-late", "celery_app", "late", "the same, acks_late, reject_on_worker_lost, prefetch 64",
        _celery(), _REQUIREMENTS, environment={"ONCE_CELERY": "late", "ONCE_PREFETCH": "64"},
    ),
)  # fmt: skip


def chosen(settings: Settings) -> tuple[Side, ...]:
    """Who takes part in the comparison; `ValueError` names those there are."""
    names = [side.name for side in BESIDE]
    wanted = split(settings.only) or names
    if unknown := set(wanted) - set(names):
        raise ValueError(f"no side is named {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return tuple(side for side in BESIDE if side.name in wanted)
