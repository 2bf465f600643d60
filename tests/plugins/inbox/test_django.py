"""The inbox for Django, on a real PostgreSQL and on SQLite, with its migration."""

from __future__ import annotations

from datetime import timedelta

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections, transaction

from reliq import Done, Drop, Retry

pytestmark = pytest.mark.xdist_group("postgres")

if not settings.configured:
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["reliq_idempotency.django"],
        USE_TZ=True,
    )
    django.setup()

from reliq_idempotency.django import inbox, purge  # noqa: E402  models need the settings


@pytest.fixture(params=["postgresql", "sqlite"])
def alias(request, tmp_path):
    """A database of its own, migrated, with a table for effects."""
    wanted = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "shop.db")}
    if request.param == "postgresql":
        parts = dict(word.split("=") for word in request.getfixturevalue("dsn").split())
        wanted = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts["dbname"],
            "USER": parts["user"],
            "HOST": parts["host"],
            "PORT": parts["port"],
        }
    settings_of = connections.configure_settings({"default": dict(wanted)})
    connections.databases["tried"] = settings_of["default"]
    call_command("migrate", database="tried", verbosity=0)
    with connections["tried"].cursor() as cursor:
        cursor.execute("CREATE TABLE payment (ordered integer)")
    yield "tried"
    connections["tried"].close()
    del connections["tried"]
    del connections.databases["tried"]


def pay(order):
    with connections["tried"].cursor() as cursor:
        cursor.execute("INSERT INTO payment VALUES (%s)", [order])


def count(table="payment") -> int:
    with connections["tried"].cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def paying(result="paid"):
    def work(order: int):
        with inbox("tried") as box:
            pay(order)
            return box.keep(result)

    return work


def test_a_run_whose_settlement_was_lost_does_not_pay_again_and_has_the_same_result(bench, alias):
    handle = bench.task(paying()).delay(1)
    bench.lost_settlement()
    assert count() == 1 and handle.state == "PENDING"
    assert bench.harness.run_until_idle(advance=True) == 1
    assert (handle.get(0), count()) == ("paid", 1)


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": [1, None]}], ids=repr)
def test_what_was_kept_is_given_back_exactly(bench, alias, value):
    handle = bench.task(paying(value)).delay(1)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert handle.get(0) == value and type(handle.get(0)) is type(value)


@pytest.mark.parametrize(
    "stop", [lambda: 1 / 0, lambda: Retry(1), lambda: Drop("no")], ids=["error", "Retry", "Drop"]
)
def test_an_error_or_a_verdict_that_leaves_the_block_rolls_back_effects_and_mark(bench, alias, stop):
    def work(order):
        with inbox("tried"):
            pay(order)
            verdict = stop()
            raise verdict

    bench.task(work).delay(1)
    bench.harness.run_one()
    assert (count(), count("reliq_inbox")) == (0, 0)


def test_a_retry_after_an_error_claims_the_key_again(bench, alias):
    runs = []

    def work(order):
        runs.append(1)
        with inbox("tried") as box:
            pay(order)
            if len(runs) == 1:
                raise OSError("away")
            return box.keep("paid")

    handle = bench.task(work, retry_on=OSError).delay(1)
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), count(), len(runs)) == ("paid", 1, 2)


def test_a_done_that_leaves_the_block_is_its_result(bench, alias):
    def work(order):
        with inbox("tried"):
            pay(order)
            raise Done("paid")

    handle = bench.task(work).delay(1)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), count()) == ("paid", 1)


def test_in_an_atomic_block_of_yours_the_commit_is_yours(bench, alias):
    fails = [True]

    def work(order):
        with transaction.atomic(using="tried"):
            with inbox("tried") as box:
                pay(order)
                box.keep("paid")
            if fails:
                fails.clear()
                raise OSError("after the block")
        return box.value

    handle = bench.task(work, retry_on=OSError).delay(1)
    bench.harness.run_one()
    assert (count(), count("reliq_inbox")) == (0, 0)
    bench.harness.clock.advance(3600)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), count()) == ("paid", 1)


def test_a_done_that_would_roll_back_an_atomic_block_of_yours_is_refused(bench, alias):
    def work(order):
        with transaction.atomic(using="tried"), inbox("tried"):
            pay(order)
            raise Done("paid")

    handle = bench.task(work).delay(1)
    bench.harness.run_until_idle()
    assert "box.keep" in handle.get(0, propagate=False).message and count() == 0


def test_steps_of_one_task_commit_apart(bench, alias):
    runs: list[int] = []
    found: list[object] = []

    def work(order):
        runs.append(order)
        for step in ("debit", "credit"):
            try:
                with inbox("tried", step=step) as box:
                    pay(order)
                    box.keep(step)
                    if step == "credit" and len(runs) == 1:
                        raise OSError("between the two")
            except Done as done:
                found.append(done.value)
        return "both"

    handle = bench.task(work, retry_on=OSError).delay(1)
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), count(), found) == ("both", 2, ["debit"])


def test_old_rows_are_purged_and_young_ones_stay(bench, alias):
    bench.task(paying()).delay(1)
    bench.harness.run_until_idle()
    assert purge(older_than=timedelta(days=1), using="tried") == 0
    assert purge(older_than=timedelta(days=-1), using="tried") == 1


def test_the_migration_is_that_of_the_model():
    call_command("makemigrations", "reliq_idempotency", check=True, dry_run=True, verbosity=0)


def test_both_inboxes_have_the_same_columns_so_that_a_project_can_use_either():
    import sqlalchemy as sa

    from reliq_idempotency.django.models import InboxRow
    from reliq_idempotency.sqlalchemy import inbox_table

    ours = {column.name for column in inbox_table(sa.MetaData()).columns}
    assert {field.column for field in InboxRow._meta.get_fields()} == ours
