"""The block of the inbox, and the purge of old rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from reliq import Done
from reliq_idempotency.claim import Claim
from reliq_idempotency.errors import InboxError


def inbox(using: str = "default", *, step: str = "") -> Inbox:
    """The inbox of the task that runs here, in a transaction of this database.

    using  the alias of the database
    step   a name, where one task has several blocks that commit apart from one another
    """
    return Inbox(using, step=step)


def purge(*, older_than: timedelta, using: str = "default") -> int:
    """Delete rows older than any message can run again (its retries, its key's ttl); how many."""
    deleted, _ = _rows(using).filter(claimed_at__lt=_now() - older_than).delete()
    return int(deleted)


class Inbox(Claim):
    """The block; see `inbox`."""

    def __init__(self, using: str = "default", *, step: str = "") -> None:
        super().__init__(step=step)
        self._using = using
        self._atomic: Any = None
        self._outermost = True

    def __enter__(self) -> Inbox:
        self._outermost = not transaction.get_connection(self._using).in_atomic_block
        self._atomic = transaction.atomic(using=self._using)
        self._atomic.__enter__()
        try:
            row = None if self._inserted() else self._committed()
            if row is not None and row.done:
                raise self._replay(None if row.result is None else bytes(row.result))
        except BaseException as error:
            self._atomic.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Done) and self._outermost:
            self.value = error.value
        elif isinstance(error, Done):
            self._atomic.__exit__(kind, error, traceback)
            raise self._done_in_a_block() from error
        elif error is not None:
            self._atomic.__exit__(kind, error, traceback)
            return
        try:
            mine = _rows(self._using).filter(key=self.key, step=self.step)
            mine.update(done=True, result=self._encoded())
        except BaseException as fault:
            self._atomic.__exit__(type(fault), fault, fault.__traceback__)
            raise
        self._atomic.__exit__(None, None, None)

    def _inserted(self) -> bool:
        """Whether the row is ours: nobody has committed it.  Waits for whoever has it uncommitted."""
        try:
            with transaction.atomic(using=self._using):
                _rows(self._using).create(
                    key=self.key, step=self.step, fence=self.fence, done=False, claimed_at=_now()
                )
        except IntegrityError:
            return False
        return True

    def _committed(self) -> Any:
        row = _rows(self._using).select_for_update().filter(key=self.key, step=self.step).first()
        if row is None:
            raise InboxError(
                f"The inbox row of message {self._ctx.id} is there and cannot be seen: the transaction began before it "
                "was committed (isolation above READ COMMITTED). Run the message again, as with retry_on=(InboxError,)"
            )
        return row


def _rows(using: str) -> Any:
    from reliq_idempotency.django.models import InboxRow  # models exist once the apps are ready

    return InboxRow.objects.using(using)


def _now() -> datetime:
    """Now, as the project's settings want their datetimes."""
    now = datetime.now(UTC)
    return now if settings.USE_TZ else now.replace(tzinfo=None)
