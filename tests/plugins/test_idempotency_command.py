"""`reliq idem`, and what `reliq doctor` says of keys."""

from __future__ import annotations

import json
import sys

import click.testing
import pytest

from reliq.cli.main import main
from reliq.plugins import open_engine
from reliq.testing import Harness

APP = """
from reliq import Reliq
from reliq_idempotency import Idempotency

app = Reliq("shop", broker="sqlite:///{path}?durability=off", middleware=[Idempotency()])

@app.task(idempotency={{"keys": ["order"]}})
def charge(order: int, cents: int = 0) -> str:
    return "paid"

@app.task
def given(order: int) -> None: ...

@app.task(idempotency={{"keys": ["order"], "scope": "parent"}})
def child(order: int) -> None: ...

@app.task(idempotency={{"ttl": 900000}})
def long(order: int) -> None: ...
"""


class Shop:
    def __init__(self, path) -> None:
        (path / "idem_shop.py").write_text(APP.format(path=path / "reliq.db"))
        self.url = f"sqlite:///{path / 'reliq.db'}?durability=off"

    def run(self, *args: str, code: int = 0) -> str:
        result = click.testing.CliRunner().invoke(main, [*args, "-A", "idem_shop:app"])
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result.output

    def json(self, *args: str):
        result = click.testing.CliRunner().invoke(main, [*args, "--json", "-A", "idem_shop:app"])
        assert result.exit_code == 0, (result.exit_code, result.output)
        return json.loads(result.stdout)

    def call(self, *args: str) -> str:
        return self.json("call", *args)["id"]

    def engine(self):
        return open_engine(self.url, app="shop")

    def work(self) -> int:
        from importlib import import_module

        from reliq.policy.clock import SystemClock

        engine = self.engine()
        with Harness(import_module("idem_shop").app, clock=SystemClock(), engine=engine) as harness:
            runs = harness.run_until_idle()
        engine.close()
        return runs


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield Shop(tmp_path)
    sys.modules.pop("idem_shop", None)


def test_it_shows_who_has_the_key_of_a_call(shop):
    id = shop.call("idem_shop.charge", "7", "500")
    shown = shop.json("idem", "show", "charge", "7", "500")
    assert (shown["task"], shown["state"], shown["message"]) == ("idem_shop.charge", "accepted", id)
    assert (shown["message_state"], shown["until"], shown["result"]) == ("ready", None, None)
    assert shop.json("idem", "show", shown["key"]) == shown
    assert shop.json("idem", "show", shown["key"].removeprefix("idem:")) == shown
    assert id in shop.run(
        "idem", "show", "charge", "7", "500"
    ) and f"reliq why -A idem_shop:app {id}" in shop.run("idem", "show", "charge", "7")


def test_it_shows_what_is_kept_and_until_when_but_not_the_result(shop):
    shop.call("idem_shop.charge", "7")
    assert shop.work() == 1
    shown = shop.json("idem", "show", "charge", "7")
    assert (shown["state"], shown["message_state"], shown["result"]) == ("done", "done", "6 bytes")
    assert shown["until"] > shown["ended"] and "paid" not in shop.run("idem", "show", "charge", "7")


def test_a_call_whose_key_was_given_is_named_by_that_key(shop):
    from importlib import import_module

    app = import_module("idem_shop").app
    id = app.tasks["idem_shop.given"].using(idempotency_key="order-1").delay(1).id
    assert shop.json("idem", "show", "given", "--key", "order-1")["message"] == id
    assert "name it with --key" in shop.run("idem", "show", "given", "1", code=2)
    app.close()


def test_a_child_s_key_is_found_with_its_parent(shop):
    shop.call("idem_shop.child", "1")
    shop.json("idem", "show", "child", "1")
    assert "no record" in shop.run("idem", "show", "child", "1", "--parent", "p", code=5)


def test_a_key_that_nobody_has_is_told(shop):
    out = shop.run("idem", "show", "charge", "8", code=5)
    assert "there is no record under idem:" in out and "life (ttl) is over" in out


def test_the_record_of_a_live_message_is_removed_only_by_force(shop):
    id = shop.call("idem_shop.charge", "7")
    refused = shop.run("idem", "rm", "charge", "7", code=1)
    assert id in refused and "--force" in refused and "reliq cancel" in refused
    assert shop.json("idem", "rm", "charge", "7", "--force")["removed"] is True
    assert shop.call("idem_shop.charge", "7") != id


def test_the_record_of_an_ended_message_is_removed_and_the_next_send_runs(shop):
    id = shop.call("idem_shop.charge", "7")
    shop.work()
    assert shop.call("idem_shop.charge", "7") == id
    assert "removed" in shop.run("idem", "rm", "charge", "7")
    assert shop.call("idem_shop.charge", "7") != id


def test_a_task_without_the_middleware_is_told(shop, tmp_path):
    (tmp_path / "plain_shop.py").write_text(
        f"from reliq import Reliq\napp = Reliq('s', broker='{shop.url}')\n@app.task\ndef plain(n: int) -> None: ...\n"
    )
    result = click.testing.CliRunner().invoke(main, ["idem", "show", "plain", "1", "-A", "plain_shop:app"])
    assert result.exit_code == 2 and "is not idempotent" in result.output
    sys.modules.pop("plain_shop", None)


def test_the_doctor_tells_of_keys_that_outlive_results_and_of_keys_held_by_nobody(shop):
    import msgspec

    engine = shop.engine()
    engine.store_put("idem:x", msgspec.msgpack.encode(["accepted", "ghost", "t", None]), holder="ghost")
    engine.close()
    out = click.testing.CliRunner().invoke(main, ["doctor", "-A", "idem_shop:app", "--json"]).stdout
    said = [found["found"] for found in json.loads(out) if found["what"] == "middleware idempotency"]
    assert len(said) == 2 and "idem_shop.long" in said[0] and "reliq idem rm idem:x" in said[1]


def test_counters_are_those_of_all_processes(shop):
    assert shop.call("charge", "1") == shop.call("charge", "1")
    ((_, counted),) = shop.json("idem", "counters")["days"].items()
    assert counted == {"joins": 1}
    assert "stale_completions" in shop.run("idem", "counters")
