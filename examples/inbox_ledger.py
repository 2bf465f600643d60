# example: inbox_ledger.py
import sqlalchemy as sa
from sqlalchemy.orm import Session

from reliq import Reliq
from reliq.testing import Harness
from reliq_idempotency import Idempotency
from reliq_idempotency.sqlalchemy import create_table, inbox

app = Reliq("ledger", middleware=[Idempotency()])
database = sa.create_engine("sqlite://", poolclass=sa.StaticPool)


@app.task(idempotency={"keys": ["order_id"]}, retry_on=(ConnectionError,))
def book(order_id: int, cents: int) -> str:
    with Session(database) as session, inbox(session) as box:
        session.execute(sa.text("INSERT INTO entry VALUES (:o, :c)"), {"o": order_id, "c": cents})
        receipt = box.keep(f"booked {cents} for order {order_id}")
    if not failed:
        failed.append("once")
        raise ConnectionError("after the commit, before the worker could say so")
    return receipt


failed: list[str] = []

if __name__ == "__main__":
    create_table(database)
    with database.begin() as connection:
        connection.execute(sa.text("CREATE TABLE entry (order_id integer, cents integer)"))
    with Harness(app) as harness:
        job = book.delay(1, 500)
        harness.run_until_idle(advance=True)
        assert job.get(0) == "booked 500 for order 1"
    with database.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM entry")) == 1
    database.dispose()
