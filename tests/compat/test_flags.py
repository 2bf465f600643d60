"""Every row of the table of worker flags."""

from __future__ import annotations

import itertools
import os
import sys

import pytest
from click.testing import CliRunner

from reliq.cli.main import main
from reliq.compat.flags import ALONE, WORKER_FLAGS

_numbers = itertools.count()

# flag -> its value, and what it does to the app and the worker's options
WORKS = {
    "-A": (None, lambda app, options, pool: app.name == "shop"),
    "-b": ("memory://other", lambda app, options, pool: app.conf.broker == "memory://other"),
    "-Q": ("a,b=3", lambda app, options, pool: options.queues == (("a", 1.0), ("b", 3.0))),
    "--queues": ("a", lambda app, options, pool: options.queues == (("a", 1.0),)),
    "-c": ("3", lambda app, options, pool: options.concurrency == 3),
    "--concurrency": ("3", lambda app, options, pool: options.concurrency == 3),
    "-P": ("solo", lambda app, options, pool: pool == "solo"),
    "--pool": ("prefork", lambda app, options, pool: pool == "processes"),
    "-l": ("WARNING", lambda app, options, pool: options.log_level == "warning"),
    "--loglevel": ("debug", lambda app, options, pool: options.log_level == "debug"),
    "-I": ("string", lambda app, options, pool: app.conf.imports == ("json", "string")),
    "--include": ("string", lambda app, options, pool: app.conf.imports == ("json", "string")),
    "--time-limit": ("9", lambda app, options, pool: app.conf.time_limit == 9.0),
    "--soft-time-limit": ("4.5", lambda app, options, pool: app.conf.soft_time_limit == 4.5),
    "--max-tasks-per-child": ("7", lambda app, options, pool: options.max_tasks_per_child == 7),
    "--max-memory-per-child": ("7", lambda app, options, pool: options.max_memory_per_child == 7),
}


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Runs `reliq worker` up to the point where it would start; the result, and what it would run."""
    module = f"flags_app_{next(_numbers)}"
    (tmp_path / f"{module}.py").write_text(
        "from reliq import Reliq\napp = Reliq('shop', broker='memory://', imports=['json'])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    started = []
    monkeypatch.setattr("reliq.cli.worker._run", lambda *run: started.append(run) or 0)
    monkeypatch.setattr("reliq.log.setup", lambda *_: None)

    def run(*flags):
        result = CliRunner().invoke(main, ["worker", "-A", module, *flags])
        return result, started[0] if started else None

    yield run
    sys.modules.pop(module, None)


@pytest.mark.parametrize("flag", WORKS)
def test_a_flag_that_works(worker, flag):
    value, seen = WORKS[flag]
    result, run = worker(*([flag, value] if value else []))
    assert result.exit_code == 0, result.output
    assert seen(*run)


def test_every_flag_that_works_has_its_test():
    assert {flag for flag, entry in WORKER_FLAGS.items() if entry.status == "works"} == WORKS.keys()


REFUSED = [
    flag
    for flag, entry in WORKER_FLAGS.items()
    if entry.status != "works" and not (flag in ALONE and entry.allows(True))
]


@pytest.mark.parametrize("flag", REFUSED)
def test_a_flag_that_is_not_there_is_a_usage_error_that_says_what_to_do(worker, flag):
    entry = WORKER_FLAGS[flag]
    result, run = worker(flag, *([] if flag in ALONE else ["something"]))
    assert (result.exit_code, run) == (2, None)
    assert flag in result.output and entry.text in " ".join(result.output.split())


@pytest.mark.parametrize("flag", [f for f, entry in WORKER_FLAGS.items() if entry.values])
def test_a_flag_that_asks_for_what_is_so_is_accepted(worker, flag):
    for value in WORKER_FLAGS[flag].values:
        result, run = worker(flag, *([] if flag in ALONE else [value]))
        assert result.exit_code == 0 and run is not None


@pytest.mark.parametrize("pool", ["threads", "gevent", "eventlet"])
def test_a_pool_that_is_not_there_says_what_to_use(worker, pool):
    result, run = worker("-P", pool)
    assert (result.exit_code, run) == (2, None) and "--threads N" in result.output


def test_the_help_shows_none_of_the_flags_that_only_answer(worker):
    shown = worker("--help")[0].output
    assert "--without-gossip" not in shown and "--autoscale" not in shown and "--time-limit" in shown
