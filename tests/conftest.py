"""What holds for all tests."""

from __future__ import annotations

import os

import pytest


def pytest_configure() -> None:
    """Let the processes that tests start find reliq compiled, also where Python is told to write no bytecode.

    Containers say so, and each of a thousand workers then compiles all it imports: a third of what its start costs.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have tests of one `xdist_group` run in one process, one after another.

    pytest-xdist 3.8 writes the group to `_nodeid`, which pytest 9.2 no longer reads: groups then mean nothing.
    """
    if not config.getoption("loadgroup", False):
        return
    for item in items:
        named = getattr(item, "_nodeid", item.nodeid)
        if named != item.nodeid and "@" in named:
            item._id = type(item.id).parse(named)  # type: ignore[attr-defined]
