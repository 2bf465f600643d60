"""Who takes part: pinned versions, how a worker is started, what it promises, and the best settings found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.race.settings import split

APPS = "benchmarks.race.apps"
_REDIS = ("redis==8.1.0", "hiredis==3.5.0")

#: The command lines of so many processes with so many threads, without the interpreter.
Start = Callable[[int, int], list[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the race.

    requirements  empty: this interpreter, with the reliq under test
    share         of the messages of the others that it is given: rates this low show with fewer
    busy          what to add to the command line for the other queue too; None where that was not set up
    later         whether it was set up for messages that are due later
    waits, burns  what is started in place of the worker for the idle latency and for the processor time
    """

    name: str
    app: str
    acks: str
    settings: str
    start: Start
    requirements: tuple[str, ...] = ()
    share: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)
    busy: tuple[str, ...] | None = None
    later: bool = True
    variants: bool = True
    peer: bool = True
    waits: Start | None = None
    burns: Start | None = None


def _celery(pool: str) -> Start:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
    base = ("-m", "celery", "-A", f"{APPS}.celery_app:app", "worker", *quiet, "-P", pool)

    def start(processes: int, threads: int) -> list[tuple[str, ...]]:
        if pool == "solo":
            return [(*base, "-n", f"solo{number}@race") for number in range(processes)]
        return [(*base, "-c", str(processes))]

    return start


def _forking(*command: str, flag: str) -> Start:
    return lambda processes, threads: [(*command, flag, str(processes))]


def _several(*command: str) -> Start:
    return lambda processes, threads: [command] * processes


def reliq_worker(processes: int, threads: int) -> list[tuple[str, ...]]:
    """What is timed, and what the faults are done to."""
    more = ("--threads", str(threads)) if threads > 1 else ()
    arguments = ("-A", f"{APPS}.reliq_app:app", "-c", str(processes), "-l", "warning", *more)
    return [("-m", "reliq", "worker", *arguments)]


CELERY = ("celery==5.7.0", "kombu==5.7.0", "packaging==26.3", *_REDIS)

SIDES: tuple[Side, ...] = (
    Side(
        "bare", "bare_app", "late", "a list, one hash per owner, leases per owner, claims of 100, pipelined",
        _several("-m", f"{APPS}.bare_app"), share=4.0, later=False, variants=False, peer=False,
        waits=_several("-m", f"{APPS}.bare_app", "wait"), burns=_several("-m", f"{APPS}.bare_app", "burn"),
    ),
    Side(
        "reliq", "reliq_app", "late", "as it comes, results off; one slot per process, all rules on",
        reliq_worker, busy=("-Q", "default,busy"), peer=False,
    ),
    Side(
        "celery", "celery_app", "late", "prefork, acks_late, reject_on_worker_lost, prefetch 64, no events, no gossip",
        _celery("prefork"), CELERY, share=0.2, busy=("-Q", "celery,busy"),
    ),
    Side(
        "dramatiq", "dramatiq_app", "late", "8 threads, queue_prefetch 200, its usual middleware, one queue",
        _forking("-m", "dramatiq", f"{APPS}.dramatiq_app:broker", "-t", "8", "-Q", "default", flag="-p"),
        ("dramatiq==2.2.1", *_REDIS), share=0.5, environment={"dramatiq_queue_prefetch": "200"},
        busy=("-Q", "default", "busy"),
    ),
    Side(
        "taskiq", "taskiq_app", "late", "Redis stream, async tasks, uvloop, when_executed, no parsing, prefetch 100",
        _forking(
            "-m", "taskiq", "worker", f"{APPS}.taskiq_app:broker", "--ack-type", "when_executed", "--no-parse",
            "--max-prefetch", "100", "--log-level", "WARNING", flag="--workers",
        ),
        ("taskiq==0.13.0", "taskiq-redis==1.2.4", "uvloop==0.22.1", *_REDIS), share=0.5, later=False,
    ),
    Side(
        "huey", "huey_app", "at most once", "RedisHuey (blocking), 8 threads, no periodic tasks",
        _several("-m", "huey.bin.huey_consumer", f"{APPS}.huey_app.huey", "-k", "thread", "-w", "8", "-n", "-q"),
        ("huey==3.5.4", *_REDIS), share=0.5,
    ),
)  # fmt: skip

MORE: tuple[Side, ...] = (
    Side(
        "celery-solo", "celery_app", "late", "as celery, but one solo worker per process",
        _celery("solo"), CELERY, share=0.2, later=False, variants=False,
    ),
    Side(
        "arq", "arq_app", "late", "poll_delay 10 ms, max_jobs 100, keep_result 0",
        _several("-m", "arq", f"{APPS}.arq_app.Worker"),
        ("arq==0.28.0", "redis==5.3.1", "hiredis==3.5.0"), share=0.4, later=False, variants=False,
    ),
    Side(
        "rq", "rq_app", "registry", "SimpleWorker, result_ttl 0",
        _several(
            "-m", "rq.cli", "worker", "-w", "rq.worker.SimpleWorker", "-q", "--maintenance-interval", "5", "--url",
            "{url}",
        ),
        ("rq==2.12.0", *_REDIS), share=0.05, later=False, variants=False,
    ),
    Side(
        "saq", "saq_app", "late", "concurrency 100, no results",
        _several("-m", "saq", f"{APPS}.saq_app.settings", "-q"),
        ("saq==0.26.4", "redis==7.4.1", "hiredis==3.5.0", "typing_extensions==4.16.0"),
        share=0.4, later=False, variants=False,
    ),
    Side(
        "streaq", "streaq_app", "late", "concurrency 100, ttl 0",
        _forking("-m", "streaq", "run", f"{APPS}.streaq_app:worker", flag="--workers"),
        ("streaq==7.2.0", "coredis==6.9.0"), share=0.3, later=False, variants=False,
    ),
)  # fmt: skip


def chosen(only: str = "", also: str = "") -> tuple[Side, ...]:
    """The sides that take part, in the order of the tables; `ValueError` names those there are."""
    known = {side.name: side for side in SIDES + MORE}
    wanted: Sequence[str] = split(only) or [side.name for side in SIDES]
    wanted = [*wanted, *split(also)]
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"no side is named {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(side for name, side in known.items() if name in wanted)
