"""QueueOnce: keep a second copy of the same call out of the queue.

    @app.task(base=QueueOnce, once={"keys": ["customer"], "graceful": True})
    def rebuild(customer: int, why: str) -> None: ...

The lock belongs to the message.  Taking it is a guard of the publish and freeing it belongs to the message's ending, so
whatever ends the message frees the lock in the same step: done, failed, cancelled, expired, dropped, quarantined; with
no worker of the app running.
"""

from __future__ import annotations

from reliq_once.base import QueueOnce
from reliq_once.errors import AlreadyQueued
from reliq_once.middleware import QueueOnceMiddleware
from reliq_once.options import Once
from reliq_once.ticket import NewerRecord

__all__ = ["AlreadyQueued", "NewerRecord", "Once", "QueueOnce", "QueueOnceMiddleware"]
