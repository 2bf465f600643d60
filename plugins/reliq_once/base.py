"""The task base that brings the middleware along."""

from __future__ import annotations

from typing import ParamSpec, TypeVar

from reliq import Task
from reliq_once.middleware import QueueOnceMiddleware

P = ParamSpec("P")
R = TypeVar("R")


class QueueOnce(Task[P, R]):
    """`@app.task(base=QueueOnce, once={...})`: at most one such call waits or runs."""

    middleware = (QueueOnceMiddleware(),)
    always_once = True  # also without `once=`
