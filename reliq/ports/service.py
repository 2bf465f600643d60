"""A service: something a middleware has running in the worker's parent process."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """Ticked by the parent, never in a task's process.  A tick that raises is logged with the name and tried again."""

    name: str

    def tick(self) -> float:
        """Do what is due; return the seconds until the next tick (at most 30 are honoured)."""
        ...

    def stop(self) -> None: ...
