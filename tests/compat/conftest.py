"""An app on the memory engine with a virtual clock, and no task, app or receiver of another test."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator

import pytest

import reliq.app
import reliq.signals
import reliq.tasks
from reliq import Reliq
from reliq.compat.signals import SIGNALS
from reliq.testing import Harness


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(reliq.tasks, "shared", {})
    monkeypatch.setattr(reliq.app, "_apps", weakref.WeakSet())
    for name in SIGNALS:
        monkeypatch.setattr(getattr(reliq.signals, name), "_receivers", [])
    caplog.set_level(logging.INFO)


@pytest.fixture
def app() -> Reliq:
    return Reliq("shop", broker="memory://")


@pytest.fixture
def harness(app: Reliq) -> Iterator[Harness]:
    with Harness(app) as harness:
        yield harness
