"""`reliq worker`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from reliq.cli.celery import celery_flags
from reliq.cli.target import Target, common_options, pass_target
from reliq.errors import BrokerError, ConfigError, OptionError

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.worker.options import WorkerOptions

_POOLS = ("processes", "solo")
_ANSWERED = {
    "prefork": "processes",
    "threads": "say --threads N: each process then runs N tasks at once",
    "gevent": "make the tasks async, or say --threads N",
    "eventlet": "make the tasks async, or say --threads N",
}


def _pool(ctx: click.Context, param: click.Parameter, value: str) -> str:
    value = value.lower()
    answer = _ANSWERED.get(value, value)
    if answer in _POOLS:
        return answer
    if value in _ANSWERED:
        raise click.BadParameter(f"{value} is Celery's; here, {answer}")
    raise click.BadParameter(f"{value!r}; there are {' and '.join(_POOLS)}")


@click.command()
@click.option(
    "-Q", "--queues", metavar="A,B", help="Queues: a,b is fair, a=3,b=1 weighs. Default: those of the tasks."
)
@click.option("-c", "--concurrency", type=int, metavar="N", help="Processes. Default: one per core.")
@click.option("--threads", type=int, metavar="N", help="Tasks at once in each process.")
@click.option(
    "-P",
    "--pool",
    default="processes",
    metavar="POOL",
    callback=_pool,
    help="processes, or solo: all in this one.",
)
@click.option("--lease", metavar="SECONDS", help="How long a silent worker keeps its tasks.")
@click.option("--shutdown-timeout", metavar="SECONDS", help="What running tasks get after SIGTERM.")
@click.option("--max-tasks-per-child", type=int, metavar="N", help="Replace a process after N tasks.")
@click.option(
    "--max-memory-per-child", type=int, metavar="KIB", help="Replace a process above so much memory."
)
@click.option("--time-limit", metavar="SECONDS", help="Kill the process of a task that runs longer.")
@click.option(
    "--soft-time-limit", metavar="SECONDS", help="Raise SoftTimeLimitExceeded in a task that runs longer."
)
@click.option(
    "-I", "--imports", "--include", metavar="A,B", help="Modules with tasks, beside those of the app."
)
@click.option("-l", "--log-level", "--loglevel", metavar="LEVEL", help="debug, info, warning, error.")
@click.option("--log-format", metavar="FORMAT", help="text or json.")
@click.option("--health-file", metavar="PATH", help="Where `reliq health --file` looks.")
@click.option("--no-beat", is_flag=True, hidden=True)
@click.option("--end-with", type=int, metavar="FD", hidden=True)  # a pipe: the worker dies when it is closed
@celery_flags
@common_options
@pass_target
def command(
    target: Target,
    /,
    queues: str | None,
    pool: str,
    health_file: str | None,
    no_beat: bool,
    end_with: int | None,
    **settings: Any,
) -> None:
    """Run tasks until told to stop: SIGTERM or Ctrl-C lets running ones finish, a second one stops at once."""
    from reliq import log
    from reliq.loader import import_tasks
    from reliq.worker import posix
    from reliq.worker.options import WorkerOptions, parse_queues

    if end_with is not None:
        posix.end_with(end_with)
    app = target.app
    if settings["imports"]:
        settings["imports"] = ",".join([*app.conf.imports, settings["imports"]])
    _override(target, app, settings)
    import_tasks(app, target.named_app or "")
    conf = app.conf
    weighed = parse_queues(queues) if queues else tuple((queue, 1.0) for queue in _queues_of(app))
    options = WorkerOptions(
        app=target.named_app or "",
        queues=weighed,
        concurrency=conf.concurrency,
        threads=conf.threads,
        async_slots=conf.async_slots,
        lease=conf.lease,
        renew_every=conf.renew_every,
        grace=conf.shutdown_timeout,
        max_tasks_per_child=conf.max_tasks_per_child,
        max_memory_per_child=conf.max_memory_per_child,
        health=health_file,
        log_level=conf.log_level,
        log_format=conf.log_format,
    )
    log.setup(conf.log_level, conf.log_format)
    # A wrong order is told now, not at the first message.
    chains = {task.chain.names for task in app.tasks.values()}
    say = click.echo if conf.log_format == "text" else logging.getLogger("reliq.worker").info
    for line in banner(app, options, pool, chains):
        say(line)
    code = _run(app, options, pool)
    if code:
        raise click.exceptions.Exit(code)


def _run(app: Reliq, options: WorkerOptions, pool: str) -> int:
    if pool == "solo":
        from reliq.worker.solo import Solo

        return int(Solo(app, options).run() or 0)
    if sys.platform == "win32":
        raise OptionError("On Windows a worker runs in one process: reliq worker -P solo")
    if not app.broker.capabilities.shared:
        raise ConfigError(
            f"{app.broker.url} lives in one process, and a worker's tasks run in others: name a file, "
            "as in sqlite:///shop.db, or say -P solo"
        )
    from reliq.worker.supervisor import Supervisor

    return Supervisor(app, options).run()


def _override(target: Target, app: Reliq, settings: dict[str, Any]) -> None:
    """Options of the command line into the configuration, and into the environment for the children."""
    given = {name: value for name, value in settings.items() if value is not None}
    for name, value in given.items():
        app.conf.override({name: value}, source=f"--{name.replace('_', '-')}")
        os.environ[f"RELIQ_{name.upper()}"] = str(value)
    if target.url is not None:
        os.environ["RELIQ_BROKER"] = target.url


def _queues_of(app: Reliq) -> list[str]:
    """The default queue, then those that the tasks and the routes name."""
    routed = [route if isinstance(route, str) else route.get("queue") for route in app.conf.routes.values()]
    named = sorted({task.queue for task in app.tasks.values()} | {queue for queue in routed if queue})
    return [app.conf.default_queue, *(queue for queue in named if queue != app.conf.default_queue)]


def banner(app: Reliq, options: WorkerOptions, pool: str, chains: set[tuple[str, ...]]) -> list[str]:
    """What runs where, in at most 12 lines."""
    import reliq
    from reliq.policy.redaction import redact

    broker = app.broker
    with contextlib.suppress(BrokerError):
        broker.queues()  # a server says what it promises once it was reached
    tasks = sorted(app.tasks)
    processes = "this process" if pool == "solo" else _many(options.children, "process", "processes")
    threads = f", {options.threads} threads each" if options.threads > 1 else ""
    rows = [
        ("app", f"{app.name}  (-A {options.app})"),
        ("broker", redact(broker.url)),
        ("durability", broker.capabilities.durability),
        (
            "queues",
            ", ".join(name if weight == 1 else f"{name}={weight:g}" for name, weight in options.queues),
        ),
        ("tasks", _some(tasks)),
        ("middleware", _chain(chains)),
        ("runs in", f"{processes}{threads}, lease {options.lease:g} s, pid {os.getpid()}"),
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        rows.append(("note", "running as root: so do the tasks"))
    if not tasks:
        rows.append(("note", "no tasks: are their modules imported? (setting `imports`)"))
    width = max(len(name) for name, _ in rows)
    return [f"reliq {reliq.__version__}", *(f"  {name:<{width}}  {value}" for name, value in rows), ""]


def _chain(chains: set[tuple[str, ...]]) -> str:
    """The longest chain; the others are for `reliq tasks`."""
    longest = max(chains, key=len, default=())
    if not longest:
        return "none"
    others = "  (not the same for all: reliq tasks)" if len(chains) > 1 else ""
    return " > ".join([*longest, "task"]) + others


def _some(names: list[str], shown: int = 4) -> str:
    if not names:
        return "none"
    more = f", and {len(names) - shown} more" if len(names) > shown else ""
    return f"{len(names)}: {', '.join(names[:shown])}{more}"


def _many(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
