"""The table of settings: their names, what they accept, their defaults, and Celery's spellings of them."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from reliq.policy import kinds
from reliq.policy.kinds import Kind


class Setting(msgspec.Struct, frozen=True):
    """One setting; `aliases` are Celery's new and old spellings of the same thing."""

    name: str
    kind: Kind
    default: Any
    doc: str
    aliases: tuple[str, ...] = ()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


_S = Setting

# fmt: off
SETTINGS: tuple[Setting, ...] = (
    # where
    _S("broker", kinds.URL, "sqlite://", "URL of the broker; sqlite:// is a file per app in your state folder",
       ("broker_url", "BROKER_URL", "CELERY_BROKER_URL")),
    _S("imports", kinds.NAMES, (), "modules with tasks, imported by the worker",
       ("include", "CELERY_IMPORTS", "CELERY_INCLUDE")),
    _S("middleware", kinds.MIDDLEWARE, (), "what hooks into a message's way, outermost first"),
    # what a task gets unless it says otherwise
    _S("default_queue", kinds.TEXT, "default", "queue of tasks that name none",
       ("task_default_queue", "CELERY_DEFAULT_QUEUE")),
    _S("default_priority", kinds.PRIORITY, 0, "priority of tasks that name none; 9 runs first",
       ("task_default_priority", "CELERY_DEFAULT_PRIORITY")),
    _S("routes", kinds.ROUTES, {}, "task name or pattern -> queue or options",
       ("task_routes", "CELERY_ROUTES")),
    _S("ignore_result", kinds.FLAG, False, "keep no results unless a task asks for it",
       ("task_ignore_result", "CELERY_IGNORE_RESULT")),
    _S("max_retries", kinds.optional(kinds.COUNT), 3, "retries before a task fails; none for no limit"),
    _S("retry_on", kinds.EXCEPTIONS, (), "exceptions that are retried; the others fail at once"),
    _S("max_crashes", kinds.POSITIVE, 3, "processes a message may take down before it is quarantined"),
    _S("max_snooze", kinds.SECONDS, 86_400.0, "how long after it was first due a message may still be put off"),
    _S("soft_time_limit", kinds.optional(kinds.DURATION), None, "seconds until a task gets SoftTimeLimitExceeded",
       ("task_soft_time_limit", "CELERYD_TASK_SOFT_TIME_LIMIT")),
    _S("time_limit", kinds.optional(kinds.DURATION), None, "seconds until a task's process is killed",
       ("task_time_limit", "CELERYD_TASK_TIME_LIMIT")),
    # how long records stay
    _S("result_ttl", kinds.SECONDS, 86_400.0, "how long the record of a finished task stays",
       ("result_expires", "CELERY_TASK_RESULT_EXPIRES")),
    _S("keep_done", kinds.SECONDS, 3_600.0, "how long the record of a task that ignores its result stays"),
    _S("dead_letter_ttl", kinds.SECONDS, 604_800.0, "how long the record of a failed task stays"),
    _S("park_for", kinds.SECONDS, 86_400.0, "how long a message for an unknown task waits before it fails"),
    _S("max_message", kinds.MESSAGE_SIZE, 262_144, "bytes of the largest message accepted"),
    # time
    _S("timezone", kinds.ZONE, "UTC", "time zone of schedules, and of naive datetimes where those are allowed",
       ("CELERY_TIMEZONE",)),
    _S("naive", kinds.choice("refuse", "app_timezone"), "refuse", "what to do with a datetime without a time zone"),
    # the worker
    _S("concurrency", kinds.POSITIVE, _cores(), "worker processes", ("worker_concurrency", "CELERYD_CONCURRENCY")),
    _S("threads", kinds.POSITIVE, 1, "tasks at once in each process"),
    _S("async_slots", kinds.POSITIVE, 1000, "async tasks at once in each process"),
    _S("lease", kinds.LEASE, 30.0, "seconds after which a silent worker's tasks are given to others"),
    _S("renew_every", kinds.optional(kinds.DURATION), None, "seconds between renewals; none: the worker chooses"),
    _S("shutdown_timeout", kinds.SECONDS, 25.0, "seconds that running tasks get after SIGTERM"),
    _S("max_tasks_per_child", kinds.optional(kinds.POSITIVE), None, "tasks after which a process is replaced",
       ("worker_max_tasks_per_child", "CELERYD_MAX_TASKS_PER_CHILD")),
    _S("max_memory_per_child", kinds.optional(kinds.POSITIVE), None, "KiB of memory after which a process is replaced",
       ("worker_max_memory_per_child", "CELERYD_MAX_MEMORY_PER_CHILD")),
    _S("log_level", kinds.LOG_LEVEL, "info", "debug, info, warning, error or critical"),
    _S("log_format", kinds.choice("text", "json"), "text", "how the worker writes its log"),
)

# fmt: on
