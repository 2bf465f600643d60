"""Fixtures for the tests of applications that use reliq."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reliq.app import Reliq
    from reliq.testing.harness import Harness


@pytest.fixture
def reliq_harness() -> Iterator[Callable[[Reliq], Harness]]:
    """`harness = reliq_harness(app)`: the app on a memory engine with a virtual clock, for one test."""
    from reliq.testing.harness import Harness

    with ExitStack() as stack:
        yield lambda app: stack.enter_context(Harness(app))
