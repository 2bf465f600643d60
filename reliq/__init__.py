"""reliq: a task queue in which an accepted task is settled exactly once, and which can always say why."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_NAMES = {
    "Backoff": "reliq.policy.backoff",
    "Call": "reliq.tasks",
    "Done": "reliq.verdicts",
    "Drop": "reliq.verdicts",
    "DuplicateOf": "reliq.context",
    "Fail": "reliq.verdicts",
    "Handle": "reliq.results",
    "Join": "reliq.middleware",
    "Middleware": "reliq.middleware",
    "Observer": "reliq.middleware",
    "Outcome": "reliq.context",
    "PublishContext": "reliq.context",
    "Reliq": "reliq.app",
    "ReliqError": "reliq.errors",
    "Retry": "reliq.verdicts",
    "RunContext": "reliq.context",
    "Signature": "reliq.tasks",
    "Snooze": "reliq.verdicts",
    "Tally": "reliq.counting",
    "Task": "reliq.tasks",
    "Verdict": "reliq.verdicts",
    "current": "reliq.context",
    "get_task_logger": "reliq.log",
    "task": "reliq.tasks",
}

__all__ = [
    "Backoff",
    "Call",
    "Done",
    "Drop",
    "DuplicateOf",
    "Fail",
    "Handle",
    "Join",
    "Middleware",
    "Observer",
    "Outcome",
    "PublishContext",
    "Reliq",
    "ReliqError",
    "Retry",
    "RunContext",
    "Signature",
    "Snooze",
    "Tally",
    "Task",
    "Verdict",
    "current",
    "get_task_logger",
    "task",
]

if TYPE_CHECKING:
    from reliq.app import Reliq as Reliq
    from reliq.context import DuplicateOf as DuplicateOf
    from reliq.context import Outcome as Outcome
    from reliq.context import PublishContext as PublishContext
    from reliq.context import RunContext as RunContext
    from reliq.context import current as current
    from reliq.counting import Tally as Tally
    from reliq.errors import ReliqError as ReliqError
    from reliq.log import get_task_logger as get_task_logger
    from reliq.middleware import Join as Join
    from reliq.middleware import Middleware as Middleware
    from reliq.middleware import Observer as Observer
    from reliq.policy.backoff import Backoff as Backoff
    from reliq.results import Handle as Handle
    from reliq.tasks import Call as Call
    from reliq.tasks import Signature as Signature
    from reliq.tasks import Task as Task
    from reliq.tasks import task as task
    from reliq.verdicts import Done as Done
    from reliq.verdicts import Drop as Drop
    from reliq.verdicts import Fail as Fail
    from reliq.verdicts import Retry as Retry
    from reliq.verdicts import Snooze as Snooze
    from reliq.verdicts import Verdict as Verdict


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are first used, so that `import reliq` stays quick."""
    module = _NAMES.get(name)
    if module is None:
        raise _missing(name, imported=sys._getframe(1).f_code.co_name == "_handle_fromlist")
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def _missing(name: str, *, imported: bool) -> Exception:
    """`imported`: by a from-import, which tells its user nothing of what an AttributeError says."""
    from importlib.util import find_spec

    if name.startswith("_") or find_spec(f"reliq.{name}"):  # a module is imported after this question
        return AttributeError(f"module 'reliq' has no attribute {name!r}")
    from reliq.compat.imports import in_place_of

    hint = in_place_of(name, __all__)
    if imported and hint:
        return ImportError(f"cannot import name {name!r} from 'reliq': {hint}", name="reliq", path=__file__)
    return AttributeError(f"module 'reliq' has no attribute {name!r}" + (f": {hint}" if hint else ""))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
