"""The inbox for Django: effects in a database happen once, however often a message runs.

    INSTALLED_APPS = [..., "reliq_idempotency.django"]      # then: manage.py migrate

    @app.task(idempotency={"keys": ["order_id"]})
    def charge(order_id: int, cents: int) -> str:
        with inbox() as box:
            Payment.objects.create(order=order_id, cents=cents)
            return box.keep("paid")

The block is an atomic one.  On entry it claims the key's row; if an earlier run committed it, the block is not entered
and the run ends with the result which that one kept.  The row commits with the effects; an error rolls both back.
"""

from __future__ import annotations

from reliq_idempotency.django.block import Inbox, inbox, purge

__all__ = ["Inbox", "inbox", "purge"]
