"""`app.conf.ONCE`, in celery-once's shape."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from reliq.errors import ConfigError
from reliq_once.options import TIMEOUT

if TYPE_CHECKING:
    from reliq import Reliq

logger = logging.getLogger("reliq.once")

_DOC = "celery-once's ONCE; of its settings default_timeout counts, as locks live in the app's broker"


class OnceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What celery-once's backends take.

    default_timeout is what `timeout` is where a task says none; the others say where celery-once keeps its locks.
    """

    default_timeout: float = TIMEOUT
    url: str | None = None
    location: str | None = None
    blocking: bool = False
    blocking_timeout: float | None = None


class OnceSection(msgspec.Struct, frozen=True):
    """The setting `once`, also spelt ONCE."""

    backend: str | None = None
    settings: OnceSettings = OnceSettings()


def declare(app: Reliq) -> None:
    """Make the section known to the app's configuration."""
    app.conf.declare("once", OnceSection, _DOC, aliases=("ONCE", "CELERY_ONCE"))


def default_timeout(app: Reliq) -> float:
    """Seconds; `ConfigError` where the section asks for something that does not exist here."""
    section: Any = app.conf.section("once")
    settings: OnceSettings = section.settings
    if not 0 < settings.default_timeout <= 1e10:
        raise ConfigError(f"ONCE: default_timeout is seconds above 0, got {settings.default_timeout!r}")
    if settings.blocking:
        raise ConfigError(
            "ONCE: blocking=True made a caller wait for a lock; here nobody waits while publishing: remove it, and say "
            "with on_conflict= what becomes of the second call"
        )
    return settings.default_timeout


def unused(app: Reliq) -> str | None:
    """What the section says that has no effect here."""
    section: Any = app.conf.section("once")
    said = [
        name
        for name, value in (
            ("backend", section.backend),
            ("settings.url", section.settings.url),
            ("settings.location", section.settings.location),
        )
        if value is not None
    ]
    if not said:
        return None
    return f"ONCE: {', '.join(said)} has no effect: the locks are in the app's broker, beside the messages; remove it"
