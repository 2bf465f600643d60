"""Drive one message through a middleware, to see what each hook did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from reliq.app import Reliq
from reliq.middleware import Middleware
from reliq.ports.values import Record
from reliq.results import Handle
from reliq.testing.harness import Harness


class Driven(msgspec.Struct, frozen=True):
    """What came of it: the handle of the publish and the message's record after all its runs (None when rejected)."""

    handle: Handle[Any]
    record: Record | None
    runs: int


def drive(
    middleware: Middleware | list[Middleware],
    task: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    *,
    advance: bool = True,
    **options: Any,
) -> Driven:
    """Publish one call of a function under this middleware and run it until nothing is left to run.

    options  task options, as for `@app.task`; the clock is virtual and moves to each retry (`advance`)
    """
    members = middleware if isinstance(middleware, list) else [middleware]
    app = Reliq("driven", broker="memory://", middleware=members)
    register: Any = app.task(**options)  # whether `bind` is among them, no type can tell
    registered = register(task)
    harness = Harness(app).__enter__()  # never left: the handle is to be asked afterwards
    handle: Handle[Any] = registered.apply_async(args, kwargs)
    runs = harness.run_until_idle(advance=advance)
    return Driven(handle, handle.record(), runs)
