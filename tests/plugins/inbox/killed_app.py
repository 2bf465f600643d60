"""The app whose workers are killed between an effect and the settlement; the effects are in PostgreSQL."""

from __future__ import annotations

import os
import signal
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from reliq import Reliq, current
from reliq_idempotency import Idempotency

DSN = "RELIQ_TEST_DSN"

app = Reliq("killed", middleware=[Idempotency()], max_crashes=10)


@lru_cache(maxsize=1)
def database() -> sa.Engine:
    parts = dict(word.split("=") for word in os.environ[DSN].split())
    url = sa.URL.create(
        "postgresql+psycopg",
        parts["user"],
        host=parts["host"],
        port=int(parts["port"]),
        database=parts["dbname"],
    )
    return sa.create_engine(url, poolclass=sa.NullPool)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note(order: int, what: str) -> None:
    """In a transaction of its own: what was tried is known whatever becomes of the run."""
    with Session(database()) as session, session.begin():
        session.execute(sa.text("INSERT INTO tried VALUES (:order, :what)"), {"order": order, "what": what})


PAY = sa.text("INSERT INTO payment VALUES (:order)")


@app.task(idempotency={"keys": ["order"]})
def with_inbox(order: int) -> str:
    """Killed in the block, then behind it; the third run finds the work done."""
    from reliq_idempotency.sqlalchemy import inbox

    attempt = current().attempt
    note(order, f"run {attempt}")
    with Session(database()) as session, inbox(session) as box:
        session.execute(PAY, {"order": order})
        if attempt == 1:
            die()
        result = box.keep(f"paid {order} by run {attempt}")
    note(order, "committed")
    die()
    return result


@app.task(idempotency={"keys": ["order"]})
def with_djangos(order: int) -> str:
    """The same by Django."""
    configure_django()
    from django.db import connection

    from reliq_idempotency.django import inbox

    attempt = current().attempt
    note(order, f"run {attempt}")
    with inbox() as box:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO payment VALUES (%s)", [order])
        if attempt == 1:
            die()
        result = box.keep(f"paid {order} by run {attempt}")
    note(order, "committed")
    die()
    return result


@app.task(idempotency={"keys": ["order"]})
def without(order: int) -> str:
    """What happens without an inbox."""
    attempt = current().attempt
    with Session(database()) as session, session.begin():
        session.execute(PAY, {"order": order})
    if attempt == 1:
        die()
    return f"paid {order} by run {attempt}"


@lru_cache(maxsize=1)
def configure_django() -> None:
    import django
    from django.conf import settings

    parts = dict(word.split("=") for word in os.environ[DSN].split())
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts["dbname"],
                "USER": parts["user"],
                "HOST": parts["host"],
                "PORT": parts["port"],
            }
        },
        INSTALLED_APPS=["reliq_idempotency.django"],
        USE_TZ=True,
    )
    django.setup()
