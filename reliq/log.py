"""Logs: one line per record, text or JSON, in which nothing that a message brought along can forge another line.

A transition's record carries the same `extra` everywhere: task, id, attempt, queue, worker, verdict.  Arguments and
results are never among them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import time
import traceback
from typing import Any, TextIO

from reliq.errors import ConfigError
from reliq.policy.redaction import redact

__all__ = ["EXTRA", "JsonFormatter", "TextFormatter", "get_task_logger", "setup"]

#: The fields a record may carry; anything else in `extra` is not written.
EXTRA = ("event", "task", "id", "attempt", "queue", "worker", "verdict", "reason", "duration")

_MAX_VALUE = 500
_MAX_MESSAGE = 4_000
_MAX_TRACEBACK = 16_000
# C0 and C1 controls, line and paragraph separators, and what turns the direction of writing round.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def setup(level: str = "info", format: str = "text", *, stream: TextIO | None = None) -> logging.Handler:
    """Write every logger's records from `level` on to `stream` (default: stderr); a second call replaces the first."""
    formatters = {"text": TextFormatter, "json": JsonFormatter}
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None or format not in formatters:
        raise ConfigError(f"Logs are text or json, from debug to critical; got {format!r}, {level!r}")
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(handler)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(formatters[format]())
    root.addHandler(handler)
    root.setLevel(number)
    logging.captureWarnings(True)
    return handler


def get_task_logger(name: str) -> logging.Logger:
    """A logger whose records carry the task, id and attempt that they were written in."""
    logger = logging.getLogger(name)
    if not any(isinstance(f, _CurrentTask) for f in logger.filters):
        logger.addFilter(_CurrentTask())
    return logger


class TextFormatter(logging.Formatter):
    """`time level logger message key=value ...`; a traceback follows on lines that begin with a bar."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        message = _message(record)
        fields = "".join(
            f" {name}={value}"
            for name, value in _extra(record).items()
            if name != "event" and not _said(value, message)  # the message says in words what happened
        )
        line = f"{at}.{int(record.msecs):03d} {record.levelname:<7} {escape(record.name)}: {message}{fields}"
        return "\n".join([line, *(f"  | {escape(part)}" for part in _traceback(record).split("\n") if part)])


class JsonFormatter(logging.Formatter):
    """One JSON object per line: at (UTC), level, logger, message, the extra fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "at": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_extra(record),
        }
        text = _traceback(record)
        if text:
            fields["traceback"] = text
        return json.dumps(fields, ensure_ascii=True, default=str)


def escape(text: str, limit: int = _MAX_VALUE) -> str:
    """Control characters as `\\n`, `\\x1b`, ...; at most `limit` characters and a note of how many were left out."""
    if len(text) > limit:
        text = f"{text[:limit]}... ({len(text) - limit:,} more)"
    return _CONTROLS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as error:  # a wrong format string must not cost the line
        message = f"{record.msg} (its arguments do not fit: {error})"
    return redact(escape(message, _MAX_MESSAGE))


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    values = ((name, getattr(record, name, None)) for name in EXTRA)
    return {name: _value(value) for name, value in values if value is not None}


def _said(value: Any, message: str) -> bool:
    """Whether a reader has it already; a short value may stand in a message by chance."""
    return isinstance(value, str) and len(value) > 5 and value in message


def _value(value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 6)
    return redact(escape(str(value)))


def _traceback(record: logging.LogRecord) -> str:
    text = ""
    if record.exc_info and record.exc_info[1] is not None:
        text = "".join(traceback.format_exception(record.exc_info[1]))
    elif record.exc_text:
        text = record.exc_text
    if record.stack_info:
        text = f"{text}\n{record.stack_info}"
    if len(text) > _MAX_TRACEBACK:  # the end tells most
        text = f"... ({len(text) - _MAX_TRACEBACK:,} characters left out)\n{text[-_MAX_TRACEBACK:]}"
    return redact(text.strip("\n"))


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that it can be found and replaced; a closed stream is not worth a crash."""

    def handleError(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            super().handleError(record)


class _CurrentTask(logging.Filter):
    """Adds what runs here to a record that does not say it itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        context = sys.modules.get("reliq.context")  # not loaded: nothing can run
        ctx = context._current.get() if context is not None else None
        if ctx is not None:
            for name, value in (("task", ctx.task.name), ("id", ctx.id), ("attempt", ctx.attempt)):
                if not hasattr(record, name):
                    setattr(record, name, value)
        return True
