"""An engine whose replies are lost, and whoever asked asks again."""

from __future__ import annotations

from typing import Any

#: What may be asked twice, because its first reply was lost.  (A replay is an operator's, who looks before.)
REPEATED = frozenset({"publish", "register", "claim", "settle", "bury", "reap", "cancel", "apply"})


class Repeating:
    """Stands where an engine stands; while `losing`, all is asked twice, and the second answer counts."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.losing = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.engine, name)
        if not self.losing or name not in REPEATED:
            return call

        def twice(*args: Any, **kwargs: Any) -> Any:
            call(*args, **kwargs)
            return call(*args, **kwargs)

        return twice
