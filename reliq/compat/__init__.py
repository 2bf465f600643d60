"""Every name of Celery's that people bring along: it works, it says what to use, or it says "not yet".

One table for each kind of name drives both the behaviour and `docs/reference/celery-names.md` (`python -m reliq.compat`
prints it); nothing is silently ignored.
"""

from __future__ import annotations

from reliq.compat.names import Name, translate
from reliq.compat.options import CALL_OPTIONS, TASK_OPTIONS

__all__ = ["CALL_OPTIONS", "TASK_OPTIONS", "Name", "translate"]
