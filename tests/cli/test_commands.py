"""What each command says and with which exit code it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shop


def test_a_call_is_published_and_its_result_shown(shop: Shop) -> None:
    id = shop.call("shop.add", "1", "2")
    assert "it is ready" in shop.run("result", "-A", "shop", id, code=6).stderr
    shop.work()
    assert shop.run("result", "--broker", shop.url, id).stdout == "3\n"
    assert shop.json("result", "-A", "shop", id)["result"] == 3


def test_the_last_part_of_a_name_is_enough_and_words_are_text(shop: Shop) -> None:
    id = shop.call("pay", "cash")
    shop.work("pay")
    assert shop.run("result", "-A", "shop", id).stdout == '"cash"\n'
    id = shop.call("add", "--kwargs", '{"a": 5}')
    shop.work()
    assert shop.run("result", "-A", "shop", id).stdout == "6\n"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("shop.ad", "1"), 5, "did you mean 'shop.add'"),
        (("add",), 2, "missing"),
        (("add", "x"), 2, "was given 'a' that does not fit its annotation `int`: Expected `int`, got `str`"),
        (("add", "1", "--countdown", "1", "--eta", "2030-01-01T00:00:00+00:00"), 2, "countdown"),
        (("add", "1", "--eta", "2030-01-01T00:00:00"), 2, "2030"),
        (("add", "1", "--eta", "soon"), 2, "is no moment"),
        (("add", "--kwargs", "[1]"), 2, "a JSON object is needed"),
        (("add", "--kwargs", "{a:1}"), 2, "is no JSON"),
        (("add", "[1"), 2, "begins like JSON"),
    ],
)
def test_a_call_that_cannot_be_made_is_refused(
    shop: Shop, args: tuple[str, ...], code: int, said: str
) -> None:
    result = shop.run("call", "-A", "shop", *args, code=code)
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert shop.engine.audit().accepted == 0


def test_waiting_for_a_call_ends_with_a_time_out(shop: Shop) -> None:
    assert (
        "has not ended after 0.05 s"
        in shop.run("call", "-A", "shop", "add", "1", "--timeout", "0.05", code=6).stderr
    )


def test_a_failure_and_a_drop_end_with_code_1(shop: Shop) -> None:
    failed, dropped = shop.call("pay", "fail"), shop.call("pay", "drop")
    shop.work("pay")
    result = shop.run("result", "-A", "shop", failed, code=1)
    assert "failed: KeyError: 'card'" in result.stderr
    assert f"next:  reliq why -A shop {failed}" in result.stderr
    assert "was dropped: not wanted" in shop.run("result", "--broker", shop.url, dropped, code=1).stderr
    assert "shop.py" in shop.run("result", "--broker", shop.url, failed, "--traceback", code=1).stderr


def test_why_tells_both_attempts(shop: Shop) -> None:
    id = shop.call("pay", "retry")
    shop.work("pay")
    story = shop.run("why", id, "--broker", shop.url).stdout
    assert "waits until" in story and "ConnectionError: refused" in story and "is retried" in story
    data = shop.json("why", id, "--broker", shop.url)
    assert data["retries"] == 1 and data["transitions"][-1]["to"] == "due" and data["holds"] == []


def test_an_unknown_id_is_answered_with_the_possible_reasons(shop: Shop) -> None:
    for name in ("why", "result", "cancel"):
        result = shop.run(name, "nothere", "--broker", shop.url, code=5)
        assert "past its life" in result.stderr and "another broker" in result.stderr


def test_status_and_queues_show_what_waits_and_who_works(shop: Shop) -> None:
    assert "No worker is connected" in shop.run("status", "--broker", shop.url).stdout
    shop.call("add", "1")
    shop.call("pay", "x")
    shop.claim()
    out = shop.run("status", "--broker", shop.url).stdout
    assert "w1" in out and "live" in out and "pay" in out
    assert "2 accepted since the beginning: 1 ready, 1 leased" in out
    assert shop.json("status", "--broker", shop.url)["workers"][0]["held"] == 1
    assert shop.json("queues", "--broker", shop.url, "pay")[0]["ready"] == 1
    assert shop.run("queues", "--broker", shop.url).stdout.splitlines()[0].split()[:4] == [
        "queue",
        "ready",
        "due",
        "running",
    ]


def test_cancel_drops_what_waits_and_asks_what_runs(shop: Shop) -> None:
    running = shop.call("add", "1")
    shop.claim()
    waiting = shop.call("add", "1")
    out = shop.run("cancel", "--broker", shop.url, waiting, running, "--reason", "stop it").stdout
    assert f"{waiting} is dropped: stop it" in out and "its worker was asked" in out
    assert "has ended before: dropped" in shop.run("cancel", "--broker", shop.url, waiting, code=1).stdout


def test_dead_letters_are_listed_shown_retried_and_removed(shop: Shop) -> None:
    first, second = shop.call("pay", "fail"), shop.call("pay", "fail")
    assert shop.run("dlq", "list", "--broker", shop.url).stdout == "No dead letters.\n"
    assert (
        "is no dead letter: it is ready"
        in shop.run("dlq", "show", "--broker", shop.url, first, code=5).stderr
    )
    shop.work("pay")
    assert [r["id"] for r in shop.json("dlq", "list", "--broker", shop.url, "--task", "shop.pay")] == [
        first,
        second,
    ]
    assert shop.json("dlq", "list", "--broker", shop.url, "--reason", "Other") == []
    shown = shop.run("dlq", "show", "--broker", shop.url, first).stdout
    assert "KeyError: 'card'" in shown and "fail for" not in shown
    assert shop.run("dlq", "retry", "--broker", shop.url, first, "--to-queue", "slow").stdout == "1 retried\n"
    assert shop.engine.get(first).queue == "slow"  # type: ignore[union-attr]
    assert "add --yes" in shop.run("dlq", "rm", "--broker", shop.url, "--all", code=2).stderr
    assert shop.run("dlq", "rm", "--broker", shop.url, "--all", "--yes").stdout == "1 removed\n"
    assert shop.engine.get(second) is None
    assert "not both" in shop.run("dlq", "rm", "--broker", shop.url, code=2).stderr


def test_the_audit_balances_and_fails_when_the_books_do_not(shop: Shop) -> None:
    shop.call("add", "1")
    shop.work()
    assert shop.run("audit", "--broker", shop.url).stdout.startswith("accepted 1 = 1 (1 done)")
    shop.engine._memory.messages.accepted += 1
    out = shop.run("audit", "--broker", shop.url, code=1).stdout
    assert "accepted 2 != 1" in out and "1 missing" in out
    assert shop.json("audit", "--broker", shop.url, code=1)["balanced"] is False


def test_tasks_are_listed_and_explained(shop: Shop) -> None:
    assert "shop.add(a: int, b: int = 1) -> int" in shop.run("tasks", "-A", "shop").stdout
    out = shop.run("tasks", "-A", "shop", "pay").stdout
    assert "1 on ConnectionError" in out and "soft 2 s, hard 7 s" in out and "shop.py:" in out
    assert shop.json("tasks", "-A", "shop", "add")["queue"] == "default"
    assert "did you mean 'shop.add'" in shop.run("tasks", "-A", "shop", "shop.ad", code=5).stderr


def test_config_shows_value_and_source(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIQ_LEASE", "12s")
    assert shop.run("config", "lease").stdout.startswith("lease = 12   from: RELIQ_LEASE\n")
    rows = {row["setting"]: row for row in shop.json("config", "-A", "shop")}
    assert rows["broker"]["value"] == shop.url and rows["broker"]["source"] == "Reliq('shop', broker=...)"
    assert "memory" in shop.run("config", "-A", "shop", "--changed").stdout
    assert "did you mean 'lease'" in shop.run("config", "leese", code=5).stderr


def test_the_app_is_named_before_or_after_the_command_or_by_the_environment(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for args in (("-A", "shop", "tasks"), ("tasks", "-A", "shop"), ("--app", "shop.py", "tasks")):
        assert "shop.add" in shop.run(*args).stdout
    monkeypatch.setenv("RELIQ_APP", "shop")
    assert "shop.add" in shop.run("tasks").stdout
    assert "shop.add" in shop.run("-A", "nothere", "tasks", "-A", "shop").stdout


def test_a_command_for_a_broker_imports_no_app(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIQ_APP", "nothere")
    for args in (("status",), ("queues",), ("audit",), ("dlq", "list"), ("why", "x")):
        shop.run(*args, "--broker", shop.url, code=5 if args[0] == "why" else 0)


def test_errors_have_their_exit_codes_and_one_block(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    result = shop.run("tasks", "-A", "shpo", code=4)
    assert result.stderr == "error: -A shpo: there is no module 'shpo'; did you mean -A shop?\n"
    assert "Which broker?" in shop.run("status", code=2).stderr
    assert "no scheme we know" in shop.run("status", "--broker", "mysql://u:hunter2@h/x", code=2).stderr
    assert "did you mean `reliq status`" in shop.run("stauts", code=2).stderr
    assert "Traceback" in shop.run("tasks", "-A", "shpo", "--traceback", code=4).stderr
    assert "hunter2" not in shop.run("audit", "--broker", "mysql://u:hunter2@h/x", code=2).output


def test_a_broker_that_is_down_is_code_3(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from reliq.errors import BrokerUnavailable

    def down(*_: object, **__: object) -> None:
        raise BrokerUnavailable("redis://u:hunter2@h/0 does not answer: connection refused")

    monkeypatch.setattr("reliq.plugins.open_engine", down)
    result = shop.run("status", "--broker", shop.url, code=3)
    assert result.stderr == (
        "error: redis://u:***@h/0 does not answer: connection refused\n"
        f"next:  reliq doctor --broker {shop.url}\n"
    )


def test_looking_at_a_misspelt_database_does_not_create_it(shop: Shop, tmp_path: Path) -> None:
    assert "There is no database" in shop.run("status", "--broker", "sqlite:///typo.db", code=3).stderr
    assert not (tmp_path / "typo.db").exists()


def test_an_error_of_ours_is_one_block_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reliq.plugins.open_engine", lambda *_, **__: 1 / 0)
    result = shop.run("status", "--broker", shop.url, code=1)
    assert result.stderr.startswith(
        "error: ZeroDivisionError: division by zero\nnext:  the same again with --traceback"
    )


def test_init_writes_an_app_that_works_and_overwrites_nothing(shop: Shop, tmp_path: Path) -> None:
    assert "reliq worker -A mill" in shop.run("init", "mill").stdout
    assert "mill.greet(name: str) -> str" in shop.run("tasks", "-A", "mill").stdout
    (tmp_path / "mill.py").write_text("mine")
    assert "is there already" in shop.run("init", "mill", code=1).stderr
    assert (tmp_path / "mill.py").read_text() == "mine"
    for name in ("json", "reliq", "a-b", "../x", "Mill"):
        shop.run("init", name, code=2)
    (tmp_path / "folder").mkdir()
    shop.run("init", "folder", code=1)


def test_the_doctor_looks_at_everything_and_survives_what_is_broken(shop: Shop) -> None:
    findings = shop.json("doctor", "-A", "shop", code=0)
    looked = {finding["what"] for finding in findings}
    assert {
        "python",
        "sqlite",
        "distribution",
        "user",
        "clock",
        "app",
        "broker",
        "durability",
        "books",
    } <= looked
    assert any(
        f["verdict"] == "bad" and "no module" in f["found"]
        for f in shop.json("doctor", "-A", "nothere", code=1)
    )
    out = shop.run("doctor").stdout
    assert "python" in out


def test_the_doctor_knows_the_other_project_of_our_name(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reliq.cli.doctor._version", lambda name: "0.3" if name == "reliq" else "0.1.0")
    [finding] = [f for f in shop.json("doctor", code=1) if f["what"] == "distribution"]
    assert finding["verdict"] == "bad" and "pip uninstall reliq" in finding["found"]


def test_a_file_that_hides_the_package_is_found(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "reliq.py").touch()
    assert any("hides the module" in f["found"] for f in shop.json("doctor", code=1))


def test_health_is_read_from_files_or_from_the_broker(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    shop.run("health", code=5)
    shop.run("health", "--broker", shop.url, code=5)
    shop.claim()
    assert shop.json("health", "--broker", shop.url)["well"] is True
    assert "there is no health file" in shop.run("health", "--file", str(tmp_path / "h.json"), code=1).stdout


def test_the_demo_says_so_when_it_is_not_there(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "reliq.demo.command", None)
    assert "The demo is not in this installation" in shop.run("demo", code=1).stderr


def test_version_and_help_name_every_command(shop: Shop) -> None:
    from reliq.cli.main import COMMANDS

    assert "reliq" in shop.json("version")
    out = shop.run("--help").stdout
    assert all(f"  {name} " in out for name in COMMANDS)
    for name in COMMANDS.keys() - {"demo"}:
        assert "-h, --help" in shop.run(name, "--help").stdout


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("worker", "-c", "0"), 2, "expected a whole number from 1"),
        (("worker", "--lease", "0.01"), 2, "expected seconds, 1 or more"),
        (("worker", "-I", "nomod"), 4, "No module named 'nomod'"),
        (("worker", "-c", "1"), 2, "lives in one process"),
        (("status", "--broker", "amqp://localhost"), 2, "is not part of this version"),
        (("call", "add", "1", "--timeout", "-1"), 2, "not in the range"),
        (("call", "add", "1", "--broker", "sqlite:////proc/x.db"), 3, "Nothing was published"),
    ],
)
def test_what_cannot_work_is_refused_with_the_exit_code_that_says_why(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.setattr("os.environ", dict(os.environ))
    result = shop.run("-A", "shop", *args, code=code)
    assert said in result.stderr and "Traceback (most" not in result.stderr


def test_a_proposed_command_repeats_app_and_broker_fit_for_the_shell(shop: Shop) -> None:
    result = shop.run("call", "-A", "shop", "--broker", shop.url, "add", "1", "--id", "my id")
    assert f"reliq why -A shop --broker {shop.url} 'my id'" in result.stderr
    assert "lives in this process" in result.stderr
    failed = shop.call("pay", "fail")
    shop.work("pay")
    assert f"reliq dlq retry --broker {shop.url} {failed}" in shop.run("why", failed, "-b", shop.url).stdout
    assert f"reliq dlq retry -A shop {failed}" in shop.run("dlq", "show", failed, "-A", "shop").stdout


def test_a_call_of_an_id_that_was_accepted_before_says_so(shop: Shop) -> None:
    def call(*arguments: str) -> Any:
        return shop.run("call", "-A", "shop", "add", "1", "--id", "one", *arguments)

    assert "accepted before" not in call().stderr
    again = call()
    assert again.stdout == "one\n" and "one was accepted before: nothing new was published" in again.stderr
    assert json.loads(call("--json").stdout)["duplicate"] is True
    assert shop.engine.depth("default").ready == 1


def test_the_doctor_names_an_app_that_cannot_be_imported_once(shop: Shop) -> None:
    assert shop.run("doctor", "-A", "shpo", code=1).stdout.count("there is no module") == 1


def test_json_is_one_document(shop: Shop) -> None:
    for args in (
        ("status",),
        ("queues",),
        ("audit",),
        ("dlq", "list"),
        ("doctor",),
        ("version",),
        ("config",),
    ):
        json.loads(shop.run(*args, "--broker", shop.url, "--json").stdout)
