"""SIGKILL between the effect and the settlement: the effect is there once, and every sender has the one result."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from reliq.plugins import open_engine
from reliq.testing.faults import Fleet
from reliq_idempotency.sqlalchemy import create_table
from tests.plugins.inbox import killed_app

ROOT = Path(__file__).parents[3]
ORDERS = range(1, 5)

pytestmark = pytest.mark.xdist_group("postgres")


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def broker(request, tmp_path):
    """An engine that processes share; a further one is a further line here."""
    if request.param == "redis":
        server = request.getfixturevalue("reliq_redis")
        yield server.url
    else:
        yield f"sqlite:///{tmp_path}/reliq.db"


@pytest.fixture
def shop(broker, dsn, tmp_path, monkeypatch):
    """The app on this broker, a database for its effects, and its workers."""
    monkeypatch.setenv(killed_app.DSN, dsn)
    killed_app.database.cache_clear()
    database = killed_app.database()
    create_table(database)
    with database.begin() as connection:
        connection.execute(sa.text("CREATE TABLE payment (ordered integer)"))
        connection.execute(sa.text("CREATE TABLE tried (ordered integer, what text)"))
    engine = open_engine(broker, app="killed")
    undo = killed_app.app.use_engine(engine, killed_app.app.clock)
    environment = {
        killed_app.DSN: dsn,
        "RELIQ_BROKER": broker,
        "RELIQ_LEASE": "5",
        "XDG_RUNTIME_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
    }
    arguments = ["-A", "tests.plugins.inbox.killed_app:app", "-c", "2"]
    with Fleet(arguments, size=1, folder=tmp_path, environment=environment) as fleet:
        yield fleet
        fleet.stop()
    undo()
    engine.close()
    shutil.rmtree(tmp_path / "reliq", ignore_errors=True)


def rows(table: str) -> list[tuple]:
    with killed_app.database().connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}"))]


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(killed_app.with_inbox, id="sqlalchemy"),
        pytest.param(killed_app.with_djangos, id="django", marks=pytest.mark.slow),
    ],
)
def test_effects_beside_the_inbox_happen_once_though_each_run_is_killed(shop, task):
    handles = {order: task.delay(order) for order in ORDERS}
    results = {order: handle.get(60) for order, handle in handles.items()}
    assert results == {order: f"paid {order} by run 2" for order in ORDERS}, shop.log()
    assert Counter(rows("payment")) == {(order,): 1 for order in ORDERS}
    tried = Counter(rows("tried"))
    assert all(
        tried[order, what] == 1 for order in ORDERS for what in ("run 1", "run 2", "run 3", "committed")
    )
    assert {order: task.delay(order).get(0) for order in ORDERS} == results
    assert [handle.record().crashes for handle in handles.values()] == [2] * len(handles)


def test_without_it_they_happen_again(shop):
    handle = killed_app.without.delay(1)
    assert handle.get(60) == "paid 1 by run 2"
    assert Counter(rows("payment")) == {(1,): 2}
