"""The inbox for SQLAlchemy, on a real PostgreSQL and on SQLite."""

from __future__ import annotations

import threading
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from reliq import Done, Drop, ReliqError, Retry, current
from reliq_idempotency import InboxError
from reliq_idempotency.sqlalchemy import create_table, inbox, inbox_table, purge

pytestmark = pytest.mark.xdist_group("postgres")


class Base(DeclarativeBase):
    pass


class Payment(Base):
    __tablename__ = "payment"
    id: Mapped[int] = mapped_column(primary_key=True)
    order: Mapped[int]


def url_of(dsn: str, driver: str = "postgresql+psycopg") -> sa.URL:
    parts = dict(word.split("=") for word in dsn.split())
    return sa.URL.create(
        driver, parts["user"], host=parts["host"], port=int(parts["port"]), database=parts["dbname"]
    )


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request, tmp_path):
    if request.param == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db")
    else:
        engine = sa.create_engine(url_of(request.getfixturevalue("dsn")))
    create_table(engine)
    create_table(engine)  # twice is harmless
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def payments(database) -> int:
    with Session(database) as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Payment))


def rows(database) -> list[tuple]:
    with Session(database) as session:
        return list(session.execute(sa.text("SELECT done, result FROM reliq_inbox")))


def paying(database, result="paid"):
    def work(order: int):
        with Session(database) as session, inbox(session) as box:
            session.add(Payment(order=order))
            return box.keep(result)

    return work


def test_a_run_whose_settlement_was_lost_does_not_pay_again_and_has_the_same_result(bench, database):
    work = bench.task(paying(database))
    handle = work.delay(1)
    bench.lost_settlement()
    assert payments(database) == 1 and handle.state == "PENDING"
    assert bench.harness.run_until_idle(advance=True) == 1
    assert (handle.get(0), payments(database)) == ("paid", 1)


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": [1, None]}], ids=repr)
def test_what_was_kept_is_given_back_exactly(bench, database, value):
    work = bench.task(paying(database, value))
    handle = work.delay(1)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert handle.get(0) == value and type(handle.get(0)) is type(value)


def test_what_was_kept_is_rebuilt_from_the_annotation(bench, database):
    def work(order: int) -> date:
        with Session(database) as session, inbox(session) as box:
            return box.keep(date(2026, 1, 2))

    work.__annotations__["return"] = date
    handle = bench.task(work).delay(1)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert handle.get(0) == date(2026, 1, 2)


@pytest.mark.parametrize(
    "stop", [lambda: 1 / 0, lambda: Retry(1), lambda: Drop("no")], ids=["error", "Retry", "Drop"]
)
def test_an_error_or_a_verdict_that_leaves_the_block_rolls_back_effects_and_mark(bench, database, stop):
    def work(order):
        with Session(database) as session, inbox(session) as box:
            session.add(Payment(order=order))
            session.flush()
            if not tried:
                tried.append(1)
                verdict = stop()
                raise verdict
            return box.keep("paid")

    tried: list[int] = []
    bench.task(work).delay(1)
    bench.harness.run_one()
    assert payments(database) == 0 and rows(database) == []


def test_a_retry_after_an_error_claims_the_key_again(bench, database):
    runs = []

    def work(order):
        runs.append(1)
        with Session(database) as session, inbox(session) as box:
            session.add(Payment(order=order))
            session.flush()
            if len(runs) == 1:
                raise OSError("away")
            return box.keep("paid")

    handle = bench.task(work, retry_on=OSError).delay(1)
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), payments(database), len(runs)) == ("paid", 1, 2)


def test_a_done_that_leaves_the_block_is_its_result(bench, database):
    def work(order):
        with Session(database) as session, inbox(session):
            session.add(Payment(order=order))
            raise Done("paid")

    handle = bench.task(work).delay(1)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), payments(database)) == ("paid", 1)


def test_in_a_transaction_of_yours_the_commit_is_yours(bench, database):
    fails = [True]

    def work(order):
        with Session(database) as session, session.begin(), inbox(session) as box:
            session.add(Payment(order=order))
            box.keep("paid")
            session.flush()
            if fails:
                fails.clear()
                raise OSError("after the flush")
        return box.value

    handle = bench.task(work, retry_on=OSError).delay(1)
    bench.harness.run_one()
    assert payments(database) == 0 and rows(database) == []
    bench.harness.clock.advance(3600)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), payments(database)) == ("paid", 1)


def test_a_done_that_would_roll_back_a_transaction_of_yours_is_refused(bench, database):
    def work(order):
        with Session(database) as session, session.begin(), inbox(session):
            session.add(Payment(order=order))
            raise Done("paid")

    handle = bench.task(work).delay(1)
    bench.harness.run_until_idle()
    assert "box.keep" in handle.get(0, propagate=False).message and payments(database) == 0


def test_a_commit_inside_the_block_is_told(bench, database):
    def work(order):
        with Session(database) as session, inbox(session) as box:
            session.add(Payment(order=order))
            session.commit()
            return box.keep("paid")

    handle = bench.task(work).delay(1)
    bench.harness.run_until_idle()
    assert "ended inside its block" in handle.get(0, propagate=False).message


def test_steps_of_one_task_commit_apart(bench, database):
    runs: list[int] = []
    found: list[str] = []

    def work(order):
        runs.append(order)
        for step in ("debit", "credit"):
            with Session(database) as session:
                try:
                    with inbox(session, step=step) as box:
                        session.add(Payment(order=order))
                        box.keep(step)
                        if step == "credit" and len(runs) == 1:
                            raise OSError("between the two")
                except Done as done:
                    found.append(done.value)
        return "both"

    handle = bench.task(work, retry_on=OSError).delay(1)
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), payments(database), len(rows(database))) == ("both", 2, 2)
    assert found == ["debit"]


def test_other_keys_do_not_meet(bench, database):
    work = bench.task(paying(database))
    work.delay(1)
    work.delay(2)
    bench.harness.run_until_idle()
    assert payments(database) == 2


def test_without_a_key_the_message_itself_is_marked(bench, database):
    work = bench.app.task(name="plain")(paying(database))
    one, two = work.delay(1), work.delay(1)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert (one.get(0), two.get(0), payments(database)) == ("paid", "paid", 2)


def test_old_rows_are_purged_and_young_ones_stay(bench, database):
    bench.task(paying(database)).delay(1)
    bench.harness.run_until_idle()
    with Session(database) as session, session.begin():
        assert purge(session, older_than=timedelta(days=1)) == 0
        assert purge(session, older_than=timedelta(days=-1)) == 1
    assert rows(database) == []


def test_outside_of_a_task_there_is_no_inbox(database):
    with Session(database) as session, pytest.raises(ReliqError, match="inside a running task"):
        inbox(session)


def test_what_is_no_session_is_refused(bench, database):
    def work(order):
        with database.connect() as connection, inbox(connection):
            pass

    handle = bench.task(work).delay(1)
    bench.harness.run_until_idle()
    assert "takes a Session" in handle.get(0, propagate=False).message


def test_the_table_can_stand_in_a_metadata_of_yours():
    metadata = sa.MetaData()
    table = inbox_table(metadata)
    assert table.name == "reliq_inbox" and list(metadata.tables) == ["reliq_inbox"]


@pytest.fixture
def postgresql(dsn):
    engine = sa.create_engine(url_of(dsn))
    create_table(engine)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_of_two_runs_at_once_the_second_waits_and_is_given_the_first_one_s_result(bench, postgresql):
    inside, go = threading.Event(), threading.Event()
    runs: list[int] = []

    def work(order):
        with Session(postgresql) as session, inbox(session) as box:
            runs.append(order)
            session.add(Payment(order=order))
            inside.set()
            assert go.wait(20)
            return box.keep(f"paid by run {len(runs)}")

    handle = bench.task(work).delay(1)
    held_up = bench.harness.claim().deliveries[0]
    zombie = threading.Thread(target=bench.harness.settle, args=(held_up,))
    zombie.start()
    assert inside.wait(20)
    bench.harness.engine.bury(held_up.receipt.owner, started=[held_up.receipt])  # taken for dead
    bench.harness._register()
    bench.harness.clock.advance(10)
    second = threading.Thread(target=bench.harness.run_one)
    second.start()
    waits_for_a_lock(postgresql)
    assert runs == [1]
    go.set()
    zombie.join(20)
    second.join(20)
    assert (handle.get(0), payments(postgresql), runs) == ("paid by run 1", 1, [1])


def waits_for_a_lock(database) -> None:
    """Return when some session of the database waits for another's transaction."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    for _ in range(2000):
        with database.connect() as connection:
            if connection.scalar(sa.text(query)):
                return
            connection.execute(sa.text("SELECT pg_sleep(0.01)"))
    raise AssertionError("no session waited for a lock")


def test_async_sessions_have_it_too(bench, dsn, postgresql):
    async def work(order):
        engine = create_async_engine(url_of(dsn))
        try:
            async with AsyncSession(engine) as session, inbox(session) as box:
                session.add(Payment(order=order))
                return box.keep("paid")
        finally:
            await engine.dispose()

    handle = bench.task(work).delay(1)
    bench.lost_settlement()
    bench.harness.run_until_idle(advance=True)
    assert (handle.get(0), payments(postgresql)) == ("paid", 1)


def test_the_wrong_kind_of_with_is_told(bench, dsn, postgresql):
    async def work(order):
        engine = create_async_engine(url_of(dsn))
        try:
            async with AsyncSession(engine) as session:
                with inbox(session):
                    pass
        finally:
            await engine.dispose()

    handle = bench.task(work).delay(1)
    bench.harness.run_until_idle()
    assert "async with inbox" in handle.get(0, propagate=False).message


def test_a_transaction_that_began_before_the_row_was_committed_does_not_enter_the_block(bench, postgresql):
    strict = postgresql.execution_options(isolation_level="REPEATABLE READ")
    entered = []

    def work(order):
        with Session(strict) as session:
            session.execute(sa.text("SELECT 1 FROM payment"))  # the snapshot is taken here
            with postgresql.begin() as other:
                row = {"key": current().idempotency_key, "fence": 1}
                insert = "INSERT INTO reliq_inbox VALUES (1, :key, '', :fence, true, '\"paid\"', now())"
                other.execute(sa.text(insert), row)
            with inbox(session):
                entered.append(order)

    handle = bench.task(work, retry_on=Exception, max_retries=0).delay(1)
    bench.harness.run_until_idle()
    assert entered == [] and handle.failed()


def test_an_inbox_error_pickles():
    import pickle

    assert str(pickle.loads(pickle.dumps(InboxError("why")))) == "why"
