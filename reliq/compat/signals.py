"""The signals of Celery."""

from __future__ import annotations

from reliq.compat.names import Name

_BEAT = "schedules are planned"
_START = "use Middleware.startup, which runs in each process, or Middleware.services, for its parent"
_LOG = "use the settings log_level and log_format, or logging itself"

# fmt: off
SIGNALS: dict[str, Name] = {
    "before_task_publish": Name("works", text="sender is the task's name; texts put into headers travel"),
    "after_task_publish": Name("works", text="the same, when the broker has accepted it"),
    "task_prerun": Name("works", text="after all middleware let it run"),
    "task_postrun": Name("works", text="after every run, before the broker hears of it"),
    "task_success": Name("works", text="before the broker hears of it"),
    "task_failure": Name("works", text="the same; not for a message that ended without its task (expired, crashed)"),
    "task_retry": Name("works", text="before the broker hears of it"),
    "task_revoked": Name("works", text="of a running task that is stopped; a waiting one is dropped by the broker"),
    "worker_process_init": Name("works", text="in each process, before its first claim"),
    "worker_process_shutdown": Name("works", text="in each process, after its last settlement"),
    "worker_ready": Name("works", text="in the parent, when it starts its processes"),
    "worker_shutdown": Name("works", text="in the parent, when its processes have ended"),
    "worker_init": Name("use", text="use worker_ready, or code of the app's module"),
    "worker_shutting_down": Name("use", text="use worker_shutdown, or worker_process_shutdown"),
    "worker_before_create_process": Name("use", text=_START),
    "celeryd_init": Name("use", text="use settings"),
    "celeryd_after_setup": Name("use", text="use worker_ready"),
    "import_modules": Name("use", text="use the setting imports"),
    "user_preload_options": Name("use", text="use settings, or RELIQ_... in the environment"),
    "setup_logging": Name("use", text=_LOG),
    "after_setup_logger": Name("use", text=_LOG),
    "after_setup_task_logger": Name("use", text=_LOG),
    "task_received": Name("use", text="a worker fetches what it may have to give back; use task_prerun"),
    "task_rejected": Name("use", text="what is undecodable is quarantined: `reliq dlq list`"),
    "task_unknown": Name("use", text="a message for an unknown task is parked, with a log: `reliq status`"),
    "task_internal_error": Name("use", text="such a run fails: use task_failure"),
    "task_sent": Name("use", text="use after_task_publish"),
    "heartbeat_sent": Name("use", text="use `reliq health`"),
    "eventlet_pool_started": Name("use", text="make the tasks async, or say --threads N"),
    "eventlet_pool_preshutdown": Name("use", text="make the tasks async, or say --threads N"),
    "eventlet_pool_postshutdown": Name("use", text="make the tasks async, or say --threads N"),
    "eventlet_pool_apply": Name("use", text="make the tasks async, or say --threads N"),
    "beat_init": Name("not_yet", text=_BEAT),
    "beat_embedded_init": Name("not_yet", text=_BEAT),
}
# fmt: on
