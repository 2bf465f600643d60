"""What tests of applications, middleware and engines are made of; public."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "Driven": "reliq.testing.driving",
    "Harness": "reliq.testing.harness",
    "VirtualClock": "reliq.policy.clock",
    "drive": "reliq.testing.driving",
}

__all__ = ["Driven", "Harness", "VirtualClock", "drive"]


def __getattr__(name: str) -> Any:
    # Loaded when used: the pytest plug-in must not import the runtime into every test run.
    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module 'reliq.testing' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module), name)
