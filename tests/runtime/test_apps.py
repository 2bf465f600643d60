"""Apps: names of tasks, several apps and shared tasks, routes, settings, and the life of the connection."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import traceback

import pytest

import reliq
from reliq import Middleware, Reliq, ReliqError, Task, current
from reliq.errors import ConfigError, ConfigFrozen, OptionError, UnknownSetting, UnknownTask
from reliq.testing import Harness

# --- names ---


def test_a_task_is_named_after_its_module_and_function(app):
    @app.task
    def work() -> None: ...

    assert work.name == f"{__name__}.test_a_task_is_named_after_its_module_and_function.work"


def test_a_task_of_a_script_has_the_name_under_which_a_worker_finds_it(tmp_path):
    script = tmp_path / "orders.py"
    script.write_text(
        textwrap.dedent("""
        from reliq import Reliq
        app = Reliq("shop", broker="memory://")
        @app.task
        def charge(): ...
        print(charge.name)
        """)
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for command in ([str(script)], ["-m", "orders"]):
        out = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == "orders.charge"


def test_two_functions_cannot_have_one_name(app):
    app.task(name="work")(test_a_task_is_named_after_its_module_and_function)
    with pytest.raises(ReliqError, match="Two tasks are called 'work': .*give one of them another name="):
        app.task(name="work")(test_a_task_of_a_script_has_the_name_under_which_a_worker_finds_it)


@pytest.mark.parametrize("decorator", ["app.task", "reliq.task"])
def test_a_second_definition_in_one_module_is_refused_with_both_places_and_a_reload_is_not(
    decorator, tmp_path, monkeypatch
):
    module = f"twice_{decorator.partition('.')[0]}"
    source = (
        f"import reliq\napp = reliq.Reliq('shop', broker='memory://')\n@{decorator}\ndef work(): return 1\n"
    )
    file = tmp_path / f"{module}.py"
    file.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loaded = importlib.import_module(module)
    file.write_text(source + "# edited\n" * 3)
    importlib.reload(loaded)
    file.write_text(source.replace("return 1", "return 2 # edited"))
    assert importlib.reload(loaded).work() == 2
    file.write_text(source + f"\n@{decorator}\ndef work(): return 3\n")
    with pytest.raises(ReliqError) as refused:
        importlib.reload(loaded)
    assert f"{file}:3" in str(refused.value) and f"{file}:6" in str(refused.value)


def test_a_script_that_defines_a_task_twice_is_refused(tmp_path):
    script = tmp_path / "orders.py"
    script.write_text("import reliq\n" + "@reliq.task\ndef work(): ...\n" * 2)
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and f"{script}:2" in ran.stderr and f"{script}:4" in ran.stderr


def test_closures_of_one_factory_do_not_replace_one_another(app):
    def make(n):
        @app.task
        def work() -> int:
            return n

        return work

    make(1)
    with pytest.raises(ReliqError, match="Two tasks are called"):
        make(2)


def test_a_function_defined_again_replaces_the_earlier_definition(app):
    source = "def work():\n    return {n}\n"
    for n in (1, 2):
        module = {"__name__": "notebook"}
        exec(compile(source.format(n=n), "cell", "exec"), module)
        app.task(module["work"])
    assert app.tasks["notebook.work"]() == 2


@pytest.mark.parametrize("func", [lambda: None, functools.partial(print, 1)])
def test_a_function_without_a_name_needs_one(app, func):
    with pytest.raises(ReliqError, match=r"has no name of its own .* @task\(name='...'\)"):
        app.task(func)
    assert app.task(name="named")(func).name == "named"


def test_a_generator_is_no_task(app):
    def numbers():
        yield 1

    with pytest.raises(ReliqError, match="calling it runs nothing"):
        app.task(numbers)


def test_what_is_no_function_is_no_task(app):
    with pytest.raises(ReliqError, match="@task decorates a function, got 'queue'"):
        app.task("queue")
    with pytest.raises(ReliqError, match="base= takes a subclass"):
        app.task(base=int)(print)


def test_an_unknown_task_names_the_nearest(app):
    app.task(name="app.add")(lambda: None)
    with pytest.raises(UnknownTask, match=r"No task 'app.ad'; did you mean 'app.add'\?") as caught:
        app.find_task("app.ad")
    assert caught.value.nearest == "app.add"


# --- several apps, shared tasks ---


def test_a_shared_task_belongs_to_the_only_app(app, harness):
    @reliq.task(name="shared", queue="lib")
    def shared(n: int) -> int:
        return n

    handle = shared.delay(4)
    assert handle.record().queue == "lib" and shared(4) == 4
    harness.run_until_idle()
    assert handle.get(0) == 4
    assert shared.using(priority=3).delay(1).record().priority == 3
    assert shared.apply_async((1,), countdown=3).record().state == "due"


def test_a_shared_task_without_an_app_says_so():
    @reliq.task(name="shared")
    def shared() -> None: ...

    with pytest.raises(ReliqError, match="there is no app"):
        shared.delay()


def test_a_shared_task_with_several_apps_asks_which_unless_one_of_them_runs():
    one, two = Reliq("one", broker="memory://"), Reliq("two", broker="memory://")

    @reliq.task(name="shared")
    def shared() -> str:
        return current().app.name

    with pytest.raises(ReliqError, match=r"several apps \(one, two\); call app.tasks"):
        shared.delay()

    @two.task(name="outer")
    def outer() -> None:
        shared.delay()

    with Harness(one) as first, Harness(two) as second:
        outer.delay()
        handle = one.tasks["shared"].delay()
        assert (first.run_until_idle(), second.run_until_idle()) == (1, 2)
        assert handle.get(0) == "one"


def test_a_bound_shared_task_runs_in_the_app_that_runs_it(app, harness):
    @reliq.task(name="shared", bind=True)
    def shared(self) -> str:
        return self.request.id

    handle = shared.delay()
    harness.run_until_idle()
    assert handle.get(0) == handle.id


def test_two_shared_tasks_cannot_have_one_name():
    reliq.task(name="shared")(test_what_is_no_function_is_no_task)
    with pytest.raises(ReliqError, match="Two tasks are called 'shared'"):
        reliq.task(name="shared")(test_a_generator_is_no_task)


def test_a_publish_inside_a_task_of_another_app_has_no_parent_there():
    one, two = Reliq("one", broker="memory://"), Reliq("two", broker="memory://")
    seen = []
    far = two.task(name="far")(lambda: seen.append((current().parent, current().root == current().id)))
    near = one.task(name="near")(lambda: far.delay() and None)
    with Harness(one) as first, Harness(two) as second:
        near.delay()
        first.run_until_idle()
        second.run_until_idle()
    assert seen == [(None, True)]


# --- routes and settings ---


def test_routes_are_patterns_and_tables_and_a_task_s_own_queue_wins():
    app = Reliq(
        "shop",
        broker="memory://",
        task_routes={"mail.*": "mail", "pay.card": {"queue": "pay", "priority": 7}, "pay.*": "slow"},
    )
    tasks = {
        name: app.task(name=name)(lambda: None) for name in ("mail.send", "pay.card", "pay.cash", "other")
    }
    tasks["mail.own"] = app.task(name="mail.own", queue="own")(lambda: None)
    with Harness(app):
        records = {name: task.delay().record() for name, task in tasks.items()}
    assert {name: r.queue for name, r in records.items()} == {
        "mail.send": "mail", "pay.card": "pay", "pay.cash": "slow", "other": "default", "mail.own": "own",
    }  # fmt: skip
    assert records["pay.card"].priority == 7


def test_routes_hold_for_tasks_that_are_defined_elsewhere():
    app = Reliq("shop", broker="memory://", task_routes=[("far.*", {"queue": "far"})])
    with Harness(app):
        assert app.send_task("far.away").record().queue == "far"


def test_a_setting_changed_before_the_first_use_counts_even_where_it_was_looked_at(app):
    task = app.task(name="t")(lambda: None)
    assert task.queue == "default"
    app.conf.task_routes = {"t": "late"}
    assert task.queue == "late"


@pytest.mark.parametrize(("setting", "near"), [("defalt_queue", "default_queue"), ("brokr", "broker")])
def test_a_misspelt_setting_names_the_nearest(setting, near):
    with pytest.raises(UnknownSetting, match=f"did you mean '{near}'"):
        Reliq("shop", **{setting: "x"})


def test_a_setting_of_celery_s_that_has_no_meaning_says_what_to_do():
    with pytest.raises(UnknownSetting, match="results are kept by the broker; remove it"):
        Reliq("shop", result_backend="redis://")


def test_an_app_needs_a_name():
    with pytest.raises(ConfigError, match=r"An app needs a name, got ''"):
        Reliq("")


def test_settings_are_frozen_once_the_broker_is_open():
    app = Reliq("shop", broker="memory://")
    app.task(name="t")(lambda: None).delay()
    with pytest.raises(
        ConfigFrozen, match="broker was changed by app.conf.broker after the broker was opened"
    ):
        app.conf.broker = "memory://other"
    app.close()


class Quiet(Middleware):
    pass


@pytest.mark.parametrize("use", [lambda app: app.broker, lambda app: Harness(app).__enter__()])
def test_middleware_changed_after_tasks_were_defined_with_it_is_refused_at_the_first_use(use):
    app = Reliq("shop", broker="memory://")
    app.task(name="t")(lambda: None)
    app.conf.middleware = [Quiet()]
    with pytest.raises(ConfigFrozen, match="set it where the app is made"):
        use(app)


def test_an_unknown_scheme_names_those_there_are():
    app = Reliq("shop", broker="bogus://x")
    with pytest.raises(ConfigError, match="memory://.*sqlite://"):
        _ = app.broker


# --- bases ---


class Counting(Middleware):
    name = "counting"

    def __init__(self) -> None:
        self.bound: list[str] = []

    def bind(self, app) -> None:
        self.bound.append(app.name)


def test_what_a_base_brings_is_bound_once_to_each_app():
    counting = Counting()

    class Counted(Task):
        middleware = (counting,)

    for name in ("one", "two"):
        app = Reliq(name, broker="memory://")
        for number in (1, 2):
            app.task(base=Counted, name=f"t{number}")(lambda: None)
        assert app.all_middleware == (counting,)
    assert counting.bound == ["one", "two"]


# --- the connection ---


def test_an_app_that_was_closed_opens_again_at_the_next_use(tmp_path):
    app = Reliq("shop", broker=f"sqlite:///{tmp_path}/shop.db")
    task = app.task(name="t")(lambda: None)
    first = task.delay()
    opened = app.broker
    app.close()
    app.close()
    assert first.state == "PENDING" and app.broker is not opened
    app.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_app_opens_a_connection_of_its_own_in_a_fork_even_with_its_lock_held(tmp_path):
    app = Reliq("shop", broker=f"sqlite:///{tmp_path}/shop.db")
    task = app.task(name="t")(lambda: 1)
    task.delay()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with app._lock:
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(30)
            task.delay()
            app.close()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    release.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    task.delay()
    assert app.broker.depth("default").ready == 3
    app.close()


def test_a_misspelt_option_of_a_shared_task_is_named_by_the_app_that_adopts_it(app):
    reliq.task(name="shared", max_retris=3)(lambda: None)
    with pytest.raises(OptionError, match="Task 'shared' has no option 'max_retris'"):
        _ = app.tasks
