"""What a caller is told when the key is taken."""

from __future__ import annotations

from reliq import ReliqError


class AlreadyQueued(ReliqError):
    """The same call is queued already.

    countdown    seconds until the lock lapses; None when nobody can say: it has no end, or its message runs
    message      the text, as in celery-once
    existing_id  the message that holds the lock; `state` is where it is (None: no record of it)
    key          the lock
    """

    countdown: float | None
    message: str
    existing_id: str | None
    key: str
    state: str | None
