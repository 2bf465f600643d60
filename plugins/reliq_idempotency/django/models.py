"""The inbox's table."""

from __future__ import annotations

from django.db import models

from reliq_idempotency.claim import MAX_STEP


class InboxRow(models.Model):
    """One claimed key; done once its effects are committed."""

    key = models.CharField(max_length=255)
    step = models.CharField(max_length=MAX_STEP, default="", blank=True)
    fence = models.BigIntegerField()
    done = models.BooleanField(default=False)
    result = models.BinaryField(null=True)
    claimed_at = models.DateTimeField(db_index=True)

    class Meta:
        app_label = "reliq_idempotency"
        db_table = "reliq_inbox"
        constraints = (models.UniqueConstraint(fields=("key", "step"), name="reliq_inbox_key_step"),)
