"""What middleware has running in the parent: each service on a thread of its own."""

from __future__ import annotations

import logging
import threading
from typing import Any

from reliq.ports.service import Service

logger = logging.getLogger("reliq.worker")

LONGEST = 30.0
AFTER_ERROR = 5.0


class Services:
    """Starts what `Middleware.services()` gives; a broken one is logged with its name and harms nobody."""

    def __init__(self, app: Any) -> None:
        self._ended = threading.Event()
        self._running = [service for m in app.all_middleware for service in _of(m)]

    @property
    def names(self) -> list[str]:
        return [service.name for service in self._running]

    def start(self) -> None:
        for service in self._running:
            threading.Thread(
                target=self._run, args=(service,), name=f"reliq-{service.name}", daemon=True
            ).start()

    def end(self) -> None:
        self._ended.set()
        for service in self._running:
            try:
                service.stop()
            except Exception:
                logger.exception("service %r failed to stop", service.name)

    def _run(self, service: Service) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            try:
                pause = min(max(service.tick(), 0.0), LONGEST)
            except Exception:
                logger.exception("service %r failed; trying again", service.name)
                pause = AFTER_ERROR


def _of(middleware: Any) -> list[Service]:
    try:
        return list(middleware.services())
    except Exception:
        logger.exception("middleware %r has broken services", middleware.name)
        return []
