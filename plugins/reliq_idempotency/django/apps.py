"""The app for INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig


class ReliqIdempotencyConfig(AppConfig):
    name = "reliq_idempotency.django"
    label = "reliq_idempotency"
    verbose_name = "reliq inbox"
    default_auto_field = "django.db.models.BigAutoField"
