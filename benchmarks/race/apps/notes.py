"""The journal of `reliq.testing.faults`, for environments without reliq: the same file, loaded by its path."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Lock
from typing import Any

JOURNAL = "BENCH_JOURNAL"
_loading = Lock()
_SOURCE = Path(__file__).parents[3] / "reliq" / "testing" / "faults" / "journal.py"


@lru_cache(maxsize=1)
def open_journal() -> Any:
    """The journal that the environment names."""
    return load().Journal(os.environ[JOURNAL])


def load() -> Any:
    """The journal's module; it imports only the standard library."""
    name = "benchmarks_journal"
    with _loading:  # the slots of a worker come here at once
        if name not in sys.modules:
            spec = spec_from_file_location(name, _SOURCE)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module = module_from_spec(spec)
            spec.loader.exec_module(module)
        return sys.modules[name]
