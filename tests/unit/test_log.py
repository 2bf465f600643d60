"""Logs: one line per record, nothing forged, nothing secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from reliq.context import _current
from reliq.errors import ConfigError
from reliq.log import TextFormatter, escape, get_task_logger, setup


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(format: str, say: object = None, level: str = "info") -> list[str]:
    stream = io.StringIO()
    setup(level, format, stream=stream)
    assert callable(say)
    say(logging.getLogger("reliq.test"))
    return stream.getvalue().splitlines()


def test_text_is_one_line_with_its_fields() -> None:
    [line] = lines(
        "text",
        lambda log: log.info("task done", extra={"task": "shop.pay", "attempt": 2, "kwargs": "secret"}),
    )
    assert line.endswith("INFO    reliq.test: task done task=shop.pay attempt=2")
    assert "secret" not in line


def test_json_is_one_object_per_line() -> None:
    [line] = lines("json", lambda log: log.warning("done %s", "x", extra={"id": "1", "duration": 0.25}))
    record = json.loads(line)
    at = record.pop("at")
    assert at.endswith("Z")
    assert record == {
        "level": "warning",
        "logger": "reliq.test",
        "message": "done x",
        "id": "1",
        "duration": 0.25,
    }


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_value_cannot_forge_a_line_or_steer_the_terminal(format: str) -> None:
    evil = "x\n2026-01-01 INFO reliq: all paid\x1b[2J\u2028\u202e\r"
    [line] = lines(format, lambda log: log.info("reason %s", evil, extra={"task": evil}))
    assert not set(line) & set("\x1b\r\u2028\u202e")


def test_a_traceback_stays_below_its_line_and_behind_a_bar() -> None:
    def fail(log: logging.Logger) -> None:
        try:
            raise ValueError("no\n2026-01-01 INFO reliq: forged redis://u:hunter2@h/0")
        except ValueError:
            log.exception("it failed")

    first, *rest = lines("text", fail)
    assert first.endswith("it failed")
    assert rest and all(line.startswith("  | ") for line in rest)
    [line] = lines("json", fail)
    assert "ValueError" in json.loads(line)["traceback"]
    assert "hunter2" not in line + "".join(rest)


def test_values_are_capped() -> None:
    assert escape("a" * 600) == "a" * 500 + "... (100 more)"
    [line] = lines("text", lambda log: log.info("x" * 10_000))
    assert len(line) < 4_200


def test_passwords_of_urls_are_hidden() -> None:
    [line] = lines("text", lambda log: log.info("cannot reach %s", "redis://u:hunter2@h/0"))
    assert line.endswith("cannot reach redis://u:***@h/0")


def test_a_wrong_format_string_costs_nothing_but_its_values() -> None:
    record = logging.makeLogRecord({"name": "reliq", "msg": "%d of them", "args": ("many",)})
    assert "%d of them (its arguments do not fit" in TextFormatter().format(record)


def test_a_second_setup_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    setup("info", "text", stream=first)
    setup("warning", "json", stream=second)
    logging.getLogger("reliq.test").info("quiet")
    logging.getLogger("reliq.test").warning("loud")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_an_unknown_level_or_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="text or json"):
        setup("loud", "text")


def test_a_task_logger_names_the_running_task() -> None:
    ctx = SimpleNamespace(task=SimpleNamespace(name="shop.pay"), id="m1", attempt=3)
    token = _current.set(ctx)  # type: ignore[arg-type]
    try:
        [line] = lines("text", lambda _: get_task_logger("shop").info("half way"))
    finally:
        _current.reset(token)
    assert line.endswith("half way task=shop.pay id=m1 attempt=3")
    [line] = lines("text", lambda _: get_task_logger("shop").info("outside"))
    assert line.endswith("outside")
