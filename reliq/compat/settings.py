"""Celery's settings that have no counterpart here; those that have one are aliases in `reliq.settings`."""

from __future__ import annotations

from typing import Any, Literal

from reliq.compat.names import Name
from reliq.compat.spellings import OLD_SETTINGS

_Status = Literal["works", "always", "use", "not_yet"]


def _rows(status: _Status, names: str, text: str, *values: Any) -> dict[str, Name]:
    return {name: Name(status, text=text, values=values) for name in names.split()}


_JSON = tuple(kind([name]) for kind in (list, tuple, set) for name in ("json", "application/json"))
_RESULTS = "results are kept by the broker; remove it"
_URL = "options of a broker are part of its URL"
_QUEUE = "queues need no declaration: name them with queue=, routes and reliq worker -Q"
_LOG = "use log_level and log_format"
_SCHEDULE = "schedules are planned"
_EVENTS = "events are planned"
_CONTROL = "remote control is planned"
_SIGNING = "signing of messages is planned"
_SLOTS = "use concurrency, threads, or reliq worker -P solo"

CELERY_SETTINGS: dict[str, Name] = {
    # --- what is always so ---
    **_rows("always", "task_acks_late", "tasks are always acknowledged after they ran; remove it", True),
    **_rows(
        "always",
        "task_reject_on_worker_lost",
        "a task whose worker died is always run again (see `max_crashes`); remove it",
        True,
    ),
    **_rows(
        "always",
        "task_acks_on_failure_or_timeout",
        "a failed task is a dead letter (`reliq dlq list`); remove it",
        True,
    ),
    **_rows("always", "task_track_started", "every claim is recorded; remove it", True),
    **_rows("always", "task_store_errors_even_if_ignored", "errors are always recorded; remove it", True),
    **_rows("always", "task_remote_tracebacks", "tracebacks are always recorded; remove it", True),
    **_rows("always", "task_create_missing_queues", f"{_QUEUE}; remove it", True),
    **_rows("always", "task_publish_retry", "a publish is tried again until its deadline of 5 s", True),
    **_rows(
        "always", "task_serializer", "arguments travel as JSON and are rebuilt from the annotations", "json"
    ),
    **_rows("always", "result_serializer", "results travel as JSON; remove it", "json"),
    **_rows("always", "accept_content result_accept_content", "only JSON is accepted; remove it", *_JSON),
    **_rows("always", "result_extended", "name, arguments and queue are always recorded; remove it", True),
    **_rows("always", "enable_utc", "every moment is kept in UTC; remove it", True),
    **_rows(
        "always",
        "broker_connection_retry broker_connection_retry_on_startup broker_channel_error_retry",
        "a worker always waits for its broker; remove it",
        True,
    ),
    **_rows(
        "always", "broker_connection_max_retries", "a worker waits for its broker without limit", None, 0
    ),
    **_rows("always", "worker_disable_rate_limits", "there are no rate limits yet; remove it", True),
    **_rows(
        "always",
        "worker_deduplicate_successful_tasks",
        "a message is settled exactly once; remove it",
        True,
    ),
    **_rows("always", "worker_enable_prefetch_count_reduction", "prefetch adapts; remove it", True),
    **_rows("always", "worker_redirect_stdouts", "what a task prints is not redirected; use a logger", False),
    **_rows("always", "worker_hijack_root_logger", "`reliq worker` sets the root logger up; remove it", True),
    # --- what something else does ---
    **_rows("use", "result_backend", _RESULTS, None),
    **_rows(
        "use",
        "result_cache_max result_exchange result_exchange_type result_persistent result_backend_always_retry "
        "result_backend_max_sleep_between_retries_ms result_backend_base_sleep_between_retries_ms "
        "result_backend_max_retries result_backend_thread_safe result_backend_transport_options "
        "override_backends cache_backend cache_backend_options "
        "redis_backend_use_ssl redis_backend_health_check_interval redis_backend_credential_provider "
        "redis_host redis_port redis_db redis_username redis_password redis_max_connections redis_client_name "
        "redis_socket_timeout redis_socket_connect_timeout redis_socket_keepalive redis_retry_on_timeout "
        "database_url database_engine_options database_short_lived_sessions database_table_schemas "
        "database_table_names database_create_tables_at_setup "
        "cassandra_servers cassandra_bundle_path cassandra_port cassandra_keyspace cassandra_table "
        "cassandra_read_consistency cassandra_write_consistency cassandra_entry_ttl cassandra_auth_provider "
        "cassandra_auth_kwargs cassandra_options "
        "s3_access_key_id s3_secret_access_key s3_bucket s3_base_path s3_endpoint_url s3_region "
        "azureblockblob_container_name azureblockblob_base_path azureblockblob_retry_initial_backoff_sec "
        "azureblockblob_retry_increment_base azureblockblob_retry_max_attempts azureblockblob_connection_timeout "
        "azureblockblob_read_timeout gcs_bucket gcs_project gcs_base_path gcs_ttl "
        "cosmosdbsql_database_name cosmosdbsql_collection_name cosmosdbsql_consistency_level "
        "cosmosdbsql_max_retry_attempts cosmosdbsql_max_retry_wait_time "
        "couchbase_backend_settings arangodb_backend_settings mongodb_backend_settings "
        "elasticsearch_retry_on_timeout elasticsearch_max_retries elasticsearch_timeout "
        "elasticsearch_save_meta_as_text",
        _RESULTS,
    ),
    **_rows(
        "use",
        "broker_read_url broker_write_url broker_transport broker_host broker_port broker_user broker_password "
        "broker_vhost",
        "use broker, one URL",
    ),
    **_rows(
        "use",
        "broker_transport_options broker_connection_timeout broker_pool_limit broker_heartbeat "
        "broker_heartbeat_checkrate broker_login_method broker_use_ssl broker_failover_strategy "
        "broker_native_delayed_delivery_queue_type",
        _URL,
    ),
    **_rows(
        "use",
        "task_queues task_default_exchange task_default_exchange_type task_default_routing_key "
        "task_default_queue_type task_create_missing_queue_type task_create_missing_queue_exchange_type "
        "worker_detect_quorum_queues",
        _QUEUE,
    ),
    **_rows("use", "task_queue_max_priority", "every queue has the priorities 0 to 9; remove it"),
    **_rows("use", "task_inherit_parent_priority", "give priority= where the child is published", False),
    **_rows("use", "task_default_delivery_mode", "durability is the broker's: see its URL"),
    **_rows(
        "use", "task_publish_retry_policy", "a publish is tried again until its deadline of 5 s, then raises"
    ),
    **_rows(
        "use", "task_always_eager", "use the `memory://` broker with `reliq.testing`, or task.apply()", False
    ),
    **_rows("use", "task_eager_propagates", "use task.apply(throw=True)", False),
    **_rows("use", "task_store_eager_result", "use `reliq.testing`: it keeps records", False),
    **_rows("use", "task_cls", "subclass reliq.Task and give it as base="),
    **_rows("use", "worker_prefetch_multiplier", "prefetch adapts to the length of the tasks; remove it"),
    **_rows(
        "use",
        "worker_eta_task_limit worker_timer worker_timer_precision",
        "what is not due waits in the broker; remove it",
    ),
    **_rows("use", "worker_pool worker_pool_putlocks worker_consumer worker_agent", _SLOTS),
    **_rows("use", "worker_lost_wait", "a dead process is known at once; remove it"),
    **_rows("use", "worker_proc_alive_timeout", "a process that does not start is replaced; remove it"),
    **_rows("use", "worker_state_db", "what was cancelled is known to the broker; remove it", None),
    **_rows("use", "worker_soft_shutdown_timeout", "use shutdown_timeout", 0, 0.0),
    **_rows("use", "worker_enable_soft_shutdown_on_idle", "an idle worker stops at once; remove it", False),
    **_rows(
        "use",
        "worker_cancel_long_running_tasks_on_connection_loss",
        "a task runs on; its settlement counts while its lease lives (see `lease`)",
    ),
    **_rows(
        "use", "worker_log_format worker_task_log_format worker_log_color worker_redirect_stdouts_level", _LOG
    ),
    # --- what is planned ---
    **_rows("not_yet", "task_annotations", "give the options where the task is defined", None),
    **_rows("not_yet", "task_default_rate_limit", "global rate limits are planned", None),
    **_rows("not_yet", "task_compression result_compression", "compression of bodies is planned", None),
    **_rows("not_yet", "task_protocol", "Celery's wire protocol is planned"),
    **_rows(
        "not_yet",
        "task_allow_error_cb_on_chord_header result_chord_retry_interval result_chord_join_timeout",
        "workflows are planned",
    ),
    **_rows("not_yet", "worker_direct", "a queue for each worker is planned", False),
    **_rows("not_yet", "worker_autoscaler", "autoscaling is planned"),
    **_rows("not_yet", "worker_enable_remote_control worker_pool_restarts", _CONTROL, False),
    **_rows(
        "not_yet",
        "control_queue_ttl control_queue_expires control_queue_exclusive control_queue_durable control_exchange",
        _CONTROL,
    ),
    **_rows("not_yet", "worker_send_task_events task_send_sent_event", _EVENTS, False),
    **_rows(
        "not_yet",
        "event_queue_ttl event_queue_expires event_queue_prefix event_queue_exclusive event_queue_durable "
        "event_exchange event_serializer",
        _EVENTS,
    ),
    **_rows("not_yet", "beat_schedule", _SCHEDULE, {}),
    **_rows(
        "not_yet",
        "beat_scheduler beat_schedule_filename beat_sync_every beat_max_loop_interval beat_cron_starting_deadline",
        _SCHEDULE,
    ),
    **_rows(
        "not_yet",
        "security_key security_key_password security_certificate security_cert_store security_digest",
        _SIGNING,
    ),
}

_BARE = ("broker_", "cassandra_", "s3_", "azureblockblob_")  # their old names are the new ones in upper case


def setting_named(spelling: str) -> Name | None:
    """The row of a setting, in either of Celery's spellings or as Django projects write it (CELERY_ before it)."""
    plain = spelling.lower().removeprefix("celery_") if spelling.isupper() else spelling
    return CELERY_SETTINGS.get(OLD_SETTINGS.get(spelling, plain))


def old_name(name: str) -> str:
    """How a setting was spelt before Celery 4.0."""
    for old, new in OLD_SETTINGS.items():
        if new == name:
            return old
    return name.upper() if name.startswith(_BARE) else f"CELERY_{name.upper()}"
