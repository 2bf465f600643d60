"""The flags of `celery worker`, as `reliq worker` takes them."""

from __future__ import annotations

from reliq.compat.names import Name

_NO_CHATTER = "workers do not talk to one another: the flag asks for what is so"
_SCHEDULE = "schedules are planned"
_DAEMON = "use systemd, a container or another supervisor"

# fmt: off
WORKER_FLAGS: dict[str, Name] = {
    "-A": Name("works", "--app"),
    "-b": Name("works", "--broker"),
    "-Q": Name("works", "--queues", text="a,b is fair, a=3,b=1 weighs"),
    "--queues": Name("works"),
    "-c": Name("works", "--concurrency"),
    "--concurrency": Name("works"),
    "-P": Name("works", "--pool", text="prefork and solo; threads, gevent and eventlet say what to use"),
    "--pool": Name("works"),
    "-l": Name("works", "--log-level"),
    "--loglevel": Name("works", "--log-level"),
    "-I": Name("works", "--imports"),
    "--include": Name("works", "--imports"),
    "--time-limit": Name("works"),
    "--soft-time-limit": Name("works"),
    "--max-tasks-per-child": Name("works"),
    "--max-memory-per-child": Name("works"),
    "--without-gossip": Name("always", text=_NO_CHATTER, values=(True,)),
    "--without-mingle": Name("always", text=_NO_CHATTER, values=(True,)),
    "--without-heartbeat": Name("always", text=_NO_CHATTER, values=(True,)),
    "-O": Name("always", text="a process takes what it can run soon", values=("fair", "default")),
    "--optimization": Name("always", text="a process takes what it can run soon", values=("fair", "default")),
    "--heartbeat-interval": Name("use", text="use --lease: a worker renews three times in each"),
    "--prefetch-multiplier": Name("use", text="prefetch adapts to the length of the tasks; drop the flag"),
    "--disable-prefetch": Name("use", text="prefetch adapts to the length of the tasks; drop the flag"),
    "-n": Name("use", text="owners are named by host and process"),
    "--hostname": Name("use", text="owners are named by host and process"),
    "-D": Name("use", text=_DAEMON),
    "--detach": Name("use", text=_DAEMON),
    "--pidfile": Name("use", text=f"{_DAEMON}; see --health-file"),
    "-f": Name("use", text="a worker logs to stderr: redirect it, or let a supervisor"),
    "--logfile": Name("use", text="a worker logs to stderr: redirect it, or let a supervisor"),
    "--uid": Name("use", text=_DAEMON),
    "--gid": Name("use", text=_DAEMON),
    "--umask": Name("use", text=_DAEMON),
    "--executable": Name("use", text=_DAEMON),
    "--workdir": Name("use", text="change the folder before: cd FOLDER && reliq worker"),
    "-S": Name("use", text="what was cancelled is known to the broker"),
    "--statedb": Name("use", text="what was cancelled is known to the broker"),
    "--purge": Name("use", text="stop what publishes, then `reliq cancel`"),
    "--discard": Name("use", text="stop what publishes, then `reliq cancel`"),
    "-X": Name("use", text="name the queues to serve with -Q"),
    "--exclude-queues": Name("use", text="name the queues to serve with -Q"),
    "--result-backend": Name("use", text="results are kept by the broker"),
    "--loader": Name("use", text="`-A` finds the app"),
    "--config": Name("use", text="app.conf.read(...) in the app, or RELIQ_... in the environment"),
    "--no-color": Name("use", text="the log has no colours"),
    "--autoscale": Name("not_yet", text="autoscaling is planned; use -c"),
    "-E": Name("not_yet", text="events are planned"),
    "--events": Name("not_yet", text="events are planned"),
    "--task-events": Name("not_yet", text="events are planned"),
    "-B": Name("not_yet", text=_SCHEDULE),
    "--beat": Name("not_yet", text=_SCHEDULE),
    "-s": Name("not_yet", text=_SCHEDULE),
    "--schedule": Name("not_yet", text=_SCHEDULE),
    "--schedule-filename": Name("not_yet", text=_SCHEDULE),
    "--scheduler": Name("not_yet", text=_SCHEDULE),
}
# fmt: on

#: Flags that stand alone; the others take a value.
ALONE = frozenset(
    {
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--disable-prefetch",
        "-D",
        "--detach",
        "--purge",
        "--discard",
        "--no-color",
        "-E",
        "--events",
        "--task-events",
        "-B",
        "--beat",
    }
)
