"""Every row of the app's table."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from reliq import Reliq
from reliq.compat.apps import APP_NAMES
from reliq.errors import CeleryNameError, OptionError, UnknownSetting, UnknownTask


def discovered(app):
    app.autodiscover_tasks([], force=True)
    return True


def configured(app):
    app.config_from_object({"task_default_queue": "q"})
    return app.conf.default_queue == "q"


# name -> what it gives for an app called shop that has the task `add`
WORKS = {
    "task": lambda a: a.task(name="other")(lambda: 1).name == "other",
    "send_task": lambda a: a.send_task("add", (1, 2)).state == "PENDING",
    "tasks": lambda a: list(a.tasks) == ["add"],
    "conf": lambda a: a.conf.default_queue == "default",
    "main": lambda a: a.main == "shop",
    "config_from_object": configured,
    "autodiscover_tasks": discovered,
    "AsyncResult": lambda a: a.AsyncResult(a.tasks["add"].delay(1, 2).id).state == "PENDING",
    "signature": lambda a: a.signature("add", (1, 2), countdown=5).delay().record().state == "due",
    "current_task": lambda a: a.current_task is None,
    "timezone": lambda a: a.timezone == ZoneInfo("UTC"),
    "now": lambda a: a.now().tzinfo == ZoneInfo("UTC"),
    "gen_task_name": lambda a: a.gen_task_name("add", "shop.tasks") == "shop.tasks.add",
    "close": lambda a: a.close() is None,
    "clock": lambda a: isinstance(a.clock.now_ms(), int),
}  # fmt: skip


@pytest.fixture
def app():
    app = Reliq("shop", broker="memory://")
    app.task(name="add")(lambda a, b: a + b)
    return app


@pytest.mark.parametrize("name", WORKS)
def test_a_name_that_works(app, name):
    assert WORKS[name](app)


def test_every_name_that_works_has_its_test():
    assert {name for name, entry in APP_NAMES.items() if entry.status == "works"} == WORKS.keys()


@pytest.mark.parametrize("name", [n for n, entry in APP_NAMES.items() if entry.status != "works"])
def test_a_name_that_is_not_there_says_what_to_use(app, name):
    with pytest.raises(CeleryNameError) as caught:
        getattr(app, name)
    assert f"app.{name}" in str(caught.value) and APP_NAMES[name].text in str(caught.value)


def test_the_current_task_is_the_one_that_runs(app):
    task = app.task(name="t")(lambda: app.current_task.name)
    assert task.apply().get() == "t"


def test_now_is_the_clock_s_moment_in_the_zone_of_the_app(app, harness):
    app.conf.__dict__["timezone"] = "Europe/Berlin"
    assert app.now() == datetime(2026, 1, 1, tzinfo=UTC) and app.now().hour == 1


def test_a_signature_of_an_unknown_task_names_the_nearest(app):
    with pytest.raises(UnknownTask, match="did you mean 'add'"):
        app.signature("ad")


def test_a_configuration_is_read_from_djangos_settings(app):
    class Settings:
        CELERY_TASK_DEFAULT_QUEUE = "mail"
        CELERY_TASK_ACKS_LATE = True
        DEBUG = True

    app.config_from_object(Settings, namespace="CELERY")
    assert app.conf.default_queue == "mail"
    Settings.CELERY_BEAT_SCHEDULE = {"a": {}}
    with pytest.raises(UnknownSetting, match="CELERY_BEAT_SCHEDULE.*not there yet"):
        app.config_from_object(Settings(), namespace="CELERY", force=True)
    with pytest.raises(OptionError, match="silent"):
        app.config_from_object(Settings, silent=True)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    for name, body in {"with_tasks": "import sys; sys.seen.append('with_tasks')", "without": None}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        if body:
            (tmp_path / name / "tasks.py").write_text(body)
            (tmp_path / name / "jobs.py").write_text("import sys; sys.seen.append('jobs')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "seen", [], raising=False)
    yield ["with_tasks", "without"]
    for name in [n for n in sys.modules if n.partition(".")[0] in ("with_tasks", "without")]:
        del sys.modules[name]


def test_tasks_are_discovered_when_the_app_s_tasks_are_imported(app, packages):
    app.autodiscover_tasks(packages)
    app.autodiscover_tasks(lambda: packages[:1], related_name="jobs")
    app.autodiscover_tasks(packages, related_name=None)
    assert sys.seen == []
    app.import_tasks()
    assert sys.seen == ["with_tasks", "jobs"]
    app.import_tasks()
    assert sys.seen == ["with_tasks", "jobs"]


def test_tasks_are_discovered_at_once_where_that_is_asked_for(app, packages):
    app.autodiscover_tasks(packages, force=True)
    assert sys.seen == ["with_tasks"]
    with pytest.raises(OptionError, match="takes the packages"):
        app.autodiscover_tasks()
    with pytest.raises(ModuleNotFoundError):
        app.autodiscover_tasks(["no_such_package"], force=True)
