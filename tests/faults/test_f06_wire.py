"""F6, below the ports: the connection to Redis is cut at every request of a whole life, in three ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reliq.plugins import open_engine
from tests.faults.grounds import RedisGround, SqliteGround
from tests.faults.resp import WHERES, Cutter, Where
from tests.faults.wire_life import Life


@pytest.fixture
def ground() -> Iterator[RedisGround]:
    ground = RedisGround()
    yield ground
    ground.close()


def live(ground: RedisGround, *, at: int | None = None, where: Where = "before") -> Cutter:
    """One life on an empty server, cut at one request."""
    ground.server.flush()
    with Cutter(ground.server.address, at=at, where=where) as cutter:
        with closing(_open(cutter)) as engine:
            life = Life(engine)
            life.live()
        with closing(open_engine(ground.url, app="faults")) as engine:
            life.engine = engine
            life.check()
    return cutter


def _open(cutter: Cutter) -> Any:
    url = f"redis://{cutter.address[0]}:{cutter.address[1]}/0"
    for _ in range(3):  # the cut may be at the very greeting
        try:
            return open_engine(url, app="faults")
        except ConnectionError:
            continue
    raise AssertionError("one cut is no outage")


def cut_everywhere(ground: RedisGround, *, step: int) -> None:
    requests = live(ground).requests
    print(f"{len(requests)} requests: {requests}")
    cases = [(at, where) for at in range(1, len(requests) + 1) for where in WHERES]
    wrong = []
    for at, where in cases[::step]:
        try:
            cutter = live(ground, at=at, where=where)
            assert cutter.fired or at > len(cutter.requests), "the life had become shorter"
        except Exception as error:
            wrong.append(f"request {at} ({requests[at - 1]}) {where}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


def test_a_life_without_a_cut_ends_well_on_a_file(tmp_path: Path) -> None:
    with closing(open_engine(SqliteGround(tmp_path / "life.sqlite3").url, app="faults")) as engine:
        life = Life(engine)
        life.live()
        life.check()


def test_a_connection_cut_at_some_requests_loses_and_repeats_nothing(ground: RedisGround) -> None:
    cut_everywhere(ground, step=7)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_connection_cut_at_every_request_loses_and_repeats_nothing(ground: RedisGround) -> None:
    cut_everywhere(ground, step=1)
