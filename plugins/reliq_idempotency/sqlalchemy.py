"""The inbox for SQLAlchemy: effects in a database happen once, however often a message runs.

For example::

    @app.task(idempotency={"keys": ["order_id"]})
    def charge(order_id: int, cents: int) -> str:
        with Session(engine) as session, inbox(session) as box:
            session.add(Payment(order=order_id, cents=cents))
            return box.keep("paid")

On entry it claims the key's row in the session's transaction.  If an earlier run committed it, the block is not
entered: the run ends with the result which that one kept.  At the end of the block the transaction is committed, with
the row; an error rolls both back.  In a `with session.begin():` of yours the commit is yours.

Two runs at once (one of a worker that was taken for dead): the second waits in the database for the first to commit,
and then is given its result.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, SessionTransaction, SessionTransactionOrigin

from reliq import Done
from reliq_idempotency.claim import MAX_STEP, NULL, Claim
from reliq_idempotency.errors import InboxError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

__all__ = ["Inbox", "create_table", "inbox", "inbox_table", "purge"]

NAME = "reliq_inbox"


def inbox_table(metadata: sa.MetaData) -> sa.Table:
    """The inbox's table in a metadata of yours, so that Alembic finds it; Django's migration makes the same one."""
    return sa.Table(
        NAME,
        metadata,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("step", sa.String(MAX_STEP), nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("result", sa.LargeBinary, nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.UniqueConstraint("key", "step", name=f"{NAME}_key_step"),
    )


_TABLE = inbox_table(sa.MetaData())


def create_table(bind: sa.Engine | sa.Connection) -> None:
    """Create the table where it is not there yet; for who has no migrations."""
    _TABLE.metadata.create_all(bind)


def purge(session: Session, *, older_than: timedelta) -> int:
    """Delete rows older than any message can run again (its retries, its key's ttl); how many.  You commit."""
    before = datetime.now(UTC) - older_than
    result = session.execute(sa.delete(_TABLE).where(_TABLE.c.claimed_at < before))
    return cast("sa.CursorResult[Any]", result).rowcount


def inbox(session: Session | AsyncSession, *, step: str = "") -> Inbox:
    """The inbox of the task that runs here, in this session's transaction; `async with` for an `AsyncSession`.

    step  a name, where one task has several blocks that commit apart from one another
    """
    return Inbox(session, step=step)


class Inbox(Claim):
    """The block; see `inbox`."""

    def __init__(self, session: Session | AsyncSession, *, step: str = "") -> None:
        super().__init__(step=step)
        self._session = session
        self._transaction: SessionTransaction | None = None
        self._commits = False

    def __enter__(self) -> Inbox:
        if not isinstance(self._session, Session):
            if not hasattr(self._session, "run_sync"):
                raise InboxError(f"inbox takes a Session or an AsyncSession, got {self._session!r}")
            raise InboxError("An AsyncSession needs `async with inbox(session)`")
        return self._entered(self._enter(self._session))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(cast(Session, self._session), error)

    async def __aenter__(self) -> Inbox:
        if isinstance(self._session, Session) or not hasattr(self._session, "run_sync"):
            raise InboxError("`async with inbox(session)` takes an AsyncSession; a Session needs `with`")
        return self._entered(await self._session.run_sync(self._enter))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await cast("AsyncSession", self._session).run_sync(self._leave, error)

    # --- both ---

    def _entered(self, committed: bytes | None) -> Inbox:
        if committed is not None:
            raise self._replay(committed)
        return self

    def _enter(self, session: Session) -> bytes | None:
        """Claim the row; the result of the run that committed it, if one has."""
        before = session.get_transaction()
        self._commits = before is None or before.origin is SessionTransactionOrigin.AUTOBEGIN
        try:
            data = None if self._insert(session) else self._committed(session)
        except BaseException:
            if self._commits:
                session.rollback()
            raise
        self._transaction = session.get_transaction()
        if data is not None and self._commits:
            session.rollback()
        return data

    def _leave(self, session: Session, error: BaseException | None) -> None:
        if isinstance(error, Done):
            if not self._commits:
                raise self._done_in_a_block() from error
            self.value = error.value
        elif error is not None:
            if self._commits:
                session.rollback()
            return
        if session.get_transaction() is not self._transaction:
            raise self._ended_outside()
        try:
            mine = (_TABLE.c.key == self.key) & (_TABLE.c.step == self.step)
            session.execute(sa.update(_TABLE).where(mine).values(done=True, result=self._encoded()))
            if self._commits:
                session.commit()
        except BaseException:
            if self._commits:
                session.rollback()
            raise

    def _insert(self, session: Session) -> bool:
        """Whether the row is ours: nobody has committed it.  Waits for whoever has it uncommitted."""
        row = {
            "key": self.key,
            "step": self.step,
            "fence": self.fence,
            "done": False,
            "claimed_at": datetime.now(UTC),
        }
        dialect = session.get_bind().dialect.name
        statement: Any
        if dialect == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as postgresql_insert

            statement = postgresql_insert(_TABLE).values(row).on_conflict_do_nothing()
        elif dialect == "sqlite":
            from sqlalchemy.dialects.sqlite import insert as sqlite_insert

            statement = sqlite_insert(_TABLE).values(row).on_conflict_do_nothing()
        elif dialect in ("mysql", "mariadb"):
            statement = sa.insert(_TABLE).values(row).prefix_with("IGNORE")
        else:
            try:
                with session.begin_nested():
                    session.execute(sa.insert(_TABLE).values(row))
            except IntegrityError:
                return False
            return True
        return cast("sa.CursorResult[Any]", session.execute(statement)).rowcount == 1

    def _committed(self, session: Session) -> bytes | None:
        """The kept result of an earlier run; None when its row says that it was never done."""
        mine = (_TABLE.c.key == self.key) & (_TABLE.c.step == self.step)
        found = session.execute(
            sa.select(_TABLE.c.done, _TABLE.c.result).where(mine).with_for_update()
        ).one_or_none()
        if found is None:
            raise InboxError(
                f"The inbox row of message {self._ctx.id} is there and cannot be seen: the transaction began before it "
                "was committed (isolation above READ COMMITTED). Run the message again, as with retry_on=(InboxError,)"
            )
        if not found.done:
            return None  # committed inside a block, against the rules: whatever its effects were, it was not done
        return NULL if found.result is None else bytes(found.result)
