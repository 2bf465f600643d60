"""`reliq demo`: lives in `reliq.demo`."""

from __future__ import annotations

import importlib

import click

from reliq.errors import ReliqError


def _load() -> click.Command:
    try:
        found = importlib.import_module("reliq.demo.command").demo
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("reliq.demo"):
            raise
        raise ReliqError(
            "The demo is not in this installation (no module 'reliq.demo'): pip install --force-reinstall reliq-queue"
        ) from error
    return found  # type: ignore[no-any-return]


def __getattr__(name: str) -> click.Command:
    if name == "command":
        return _load()
    raise AttributeError(name)
