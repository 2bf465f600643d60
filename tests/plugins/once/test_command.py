"""`reliq once`, and what `reliq doctor` says of locks."""

from __future__ import annotations

import json
import sys

import click.testing
import pytest

from reliq.cli.main import main
from reliq.plugins import open_engine
from reliq.ports import records

APP = """
from reliq import Reliq
from reliq_once import QueueOnce

app = Reliq("shop", broker="sqlite:///{path}?durability=off")

@app.task(base=QueueOnce, once={{"keys": ["customer"]}})
def rebuild(customer: int, why: str = "import") -> None: ...

@app.task(base=QueueOnce, once={{"on_conflict": "rerun"}})
def sync() -> None: ...

@app.task(base=QueueOnce, once={{"key": lambda n: None}})
def free(n: int) -> None: ...

@app.task(base=QueueOnce, once={{"graceful": True, "until": "expiry"}})
def daily() -> None: ...

@app.task
def plain() -> None: ...
"""


class Shop:
    def __init__(self, path) -> None:
        (path / "once_shop.py").write_text(APP.format(path=path / "reliq.db"))
        self.url = f"sqlite:///{path / 'reliq.db'}?durability=off"

    def run(self, *args: str, code: int = 0) -> str:
        result = click.testing.CliRunner().invoke(main, [*args, "-A", "once_shop:app"])
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result.output

    def json(self, *args: str):
        result = click.testing.CliRunner().invoke(main, [*args, "--json", "-A", "once_shop:app"])
        assert result.exit_code == 0, (result.exit_code, result.output)
        return json.loads(result.stdout)

    def call(self, *args: str) -> str:
        return self.json("call", *args)["id"]

    def engine(self):
        return open_engine(self.url, app="shop")

    def claim(self) -> str:
        engine = self.engine()
        engine.register("w", 30)
        (delivery,) = engine.claim("w", ["default"], limit=1, seq=1).deliveries
        engine.close()
        return delivery.receipt.id


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Shop(tmp_path)
    sys.modules.pop("once_shop", None)


def test_explain_says_that_nobody_holds_the_key(shop):
    said = shop.run("once", "explain", "rebuild", "7")
    assert said.startswith("accepted: nobody holds the key\n  key      once:")
    assert "until=done, on_conflict=raise, timeout=3600 s" in said


def test_explain_names_the_holder_and_its_time_left_in_every_form_of_the_call(shop):
    id = shop.call("rebuild", "7", "nightly")
    forms = (
        ("rebuild", "7"),
        ("once_shop.rebuild", "7", "import"),
        ("rebuild", "--args", "[7]"),
        ("rebuild", "--kwargs", '{"customer": 7}'),
    )
    for form in forms:
        said = shop.run("once", "explain", *form)
        assert said.startswith(f"refused: message {id} (ready) holds the key")
        assert f"reliq why -A once_shop:app {id}" in said and "  until    " in said and "s ago)" in said
    data = shop.json("once", "explain", "rebuild", "7")
    assert (data["answer"], data["holder"]["holder"], data["holder"]["alive"]) == ("refused", id, True)
    assert shop.run("once", "explain", "rebuild", "8").startswith("accepted")


def test_explain_knows_the_modes(shop):
    id = shop.call("sync")
    assert shop.run("once", "explain", "sync").startswith(
        f"accepted: message {id} (ready) holds the key, and would be replaced"
    )
    assert shop.claim() == id
    said = shop.run("once", "explain", "sync")
    assert said.startswith(f"accepted: message {id} (leased) holds the key, and runs on")
    assert "  running  0 of 1" in said and "until    its message ends" in said
    assert "asks for no lock" in shop.run("once", "explain", "free", "1")
    shop.call("daily")
    assert shop.run("once", "explain", "daily").startswith("rejected")


def test_explain_of_what_has_no_lock_or_is_not_there(shop):
    assert "plain takes no lock" in shop.run("once", "explain", "plain", code=5)
    shop.run("once", "explain", "rebuilt", code=5)
    assert "give a JSON list" in shop.run("once", "explain", "rebuild", "--args", "7", code=2)


def test_list_shows_locks_with_their_holders(shop):
    assert shop.run("once", "list") == "No lock is held.\n"
    ids = [shop.call("rebuild", str(n)) for n in range(3)] + [shop.call("sync")]
    rows = shop.json("once", "list")
    assert sorted(row["holder"] for row in rows) == sorted(ids)
    assert {row["kind"] for row in rows} == {"lock"} and all(row["alive"] for row in rows)
    assert len(shop.json("once", "list", "--task", "once_shop.sync")) == 1
    assert shop.json("once", "list", "--orphans") == []
    assert "The first 2" in shop.run("once", "list", "--limit", "2")


def test_show_finds_a_lock_by_key_and_by_message(shop):
    id = shop.call("rebuild", "7")
    (row,) = shop.json("once", "list")
    for name in (row["key"], row["key"].removeprefix("once:"), id):
        assert shop.json("once", "show", name)["holder"] == id
    assert "There is no lock nothing" in shop.run("once", "show", "nothing", code=5)


def test_release_leaves_alone_what_lives_unless_forced(shop):
    id = shop.call("rebuild", "7")
    said = shop.run("once", "release", id, code=1)
    assert f"is held by message {id}, which is ready" in said and "reliq cancel" in said
    assert len(shop.json("once", "list")) == 1
    assert shop.run("once", "release", id, "--force").startswith("released once:")
    assert shop.json("once", "list") == []


def test_release_removes_what_outlives_its_message(shop):
    id = shop.call("daily")
    shop.run("cancel", id)
    (row,) = shop.json("once", "list")
    assert (row["state"], row["alive"], row["meant_to_stay"]) == ("dropped", False, True)
    assert shop.json("once", "release", row["key"])["released"]["holder"] == id
    shop.call("daily")


def test_doctor_names_locks_whose_message_is_gone(shop):
    id = shop.call("rebuild", "7")
    assert "a lock of" not in shop.run("doctor")
    engine = shop.engine()
    ((key, value),) = sorted(records(engine, "once:"))
    engine.cancel(id)
    engine.store_put(key, value.data, ttl=60, holder=id)
    engine.store_put("once:other", b"damaged", ttl=60, holder="nobody-known")
    engine.close()
    said = shop.run("doctor")
    assert f"a lock of once_shop.rebuild is left by message {id} (dropped): reliq once release {key}" in said
    assert (
        "a lock of an unknown task is left by message nobody-known (no record): reliq once release once:other"
        in said
    )
    assert [row["key"] for row in shop.json("once", "list", "--orphans")] == sorted([key, "once:other"])
    shop.run("once", "release", key)
    assert shop.run("once", "show", "once:other").count("is no lock of reliq_once") == 1


def test_a_dead_letter_whose_key_is_taken_is_not_retried_and_says_why(shop):
    id = shop.call("rebuild", "7")
    shop.claim()
    engine = shop.engine()
    from reliq.ports.values import Receipt, Settlement

    (receipt,) = engine.held("w")
    assert isinstance(receipt, Receipt)
    engine.settle([Settlement(receipt, "failed", reason="x")])
    engine.close()
    other = shop.call("rebuild", "7")
    said = shop.run("dlq", "retry", id, code=5)
    assert f"Message {id} is not replayed: message {other} (ready) holds" in said
    shop.run("cancel", other)
    shop.run("dlq", "retry", id)


def test_why_tells_which_key_a_message_holds(shop):
    id = shop.call("rebuild", "7")
    assert "once:" in shop.run("why", id)


def test_counters_are_those_of_all_processes(shop):
    assert "Nothing was counted in the last 8 days." in shop.run("once", "counters")
    shop.call("daily")
    for _ in range(2):
        shop.run("call", "daily", code=1)
    told = shop.json("once", "counters")
    ((_, counted),) = told["days"].items()
    assert counted["conflicts"] >= 1 and told["counts"][0] == "conflicts"
    assert "conflicts" in shop.run("once", "counters") and "lapses" in shop.run("once", "counters")
