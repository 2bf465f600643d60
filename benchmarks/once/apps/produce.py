"""Sends messages for one side, in a process and an environment of its own, and prints what it measured as JSON.

python -m benchmarks.once.apps.produce SIDE fill NUMBER PER
                                            unique NUMBER | duplicate NUMBER
                                            victims NUMBER | poke NUMBER | locks | left
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from time import monotonic
from typing import Any


def fill(app: Any, number: str, per: str) -> dict[str, Any]:
    """Messages per second, `per` at once, each with an argument of its own."""
    count, batch = int(number), int(per)
    begun = monotonic()
    for start in range(0, count, batch):
        app.send_many("no_op", [(index,) for index in range(start, min(start + batch, count))])
    return {"rate": count / (monotonic() - begun)}


def unique(app: Any, number: str) -> dict[str, Any]:
    """Messages per second one by one, each accepted with a lock of its own."""
    return _one_by_one(app, range(int(number)), accepted=True)


def duplicate(app: Any, number: str) -> dict[str, Any]:
    """Calls per second of which each finds its lock taken: to be called after `unique`."""
    return _one_by_one(app, range(int(number)), accepted=False)


def _one_by_one(app: Any, indexes: range, *, accepted: bool) -> dict[str, Any]:
    send, begun = app.send, monotonic()
    others = sum(send("no_op", index) is not accepted for index in indexes)
    seconds = monotonic() - begun
    if others:
        raise SystemExit(f"{others} of {len(indexes)} calls were {'refused' if accepted else 'accepted'}")
    return {"rate": len(indexes) / seconds}


def victims(app: Any, number: str) -> dict[str, Any]:
    """Publish tasks whose first run waits to be killed."""
    accepted = sum(app.send("victim", f"victim-{index}") for index in range(int(number)))
    return {"accepted": accepted}


def poke(app: Any, number: str) -> dict[str, Any]:
    """A few other messages: some look for what the dead held only when something new comes."""
    begun = round(monotonic() * 1000)
    return {"accepted": sum(app.send("no_op", -begun - index) for index in range(int(number)))}


def locks(app: Any) -> dict[str, Any]:
    """How many locks stand."""
    return {"locks": app.locks()}


def left(app: Any) -> dict[str, Any]:
    """What the side's own broker says is left."""
    return dict(app.left())


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function for function in (fill, unique, duplicate, victims, poke, locks, left)
}


def _run(side: str, command: str, *arguments: str) -> None:
    app = import_module(f"benchmarks.once.apps.{side}")
    if hasattr(app, "warm"):
        app.warm()
    try:
        print(json.dumps(COMMANDS[command](app, *arguments)))
    finally:
        if hasattr(app, "close"):
            app.close()


if __name__ == "__main__":
    _run(*sys.argv[1:])
