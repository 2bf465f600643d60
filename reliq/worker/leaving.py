"""The end of a process, without the time that the interpreter takes to take itself apart.

That is a tenth of a second of the processor where little was imported, several where much was, and on a busy machine it
lasts as many times longer as others want the processor: worker and child together then were not gone in time.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import os
import sys
import threading
import traceback
from _io import _IOBase
from itertools import chain, compress
from typing import Any, NoReturn

_UNFLUSHED = 120  # the interpreter's own code for it


def leave(code: int) -> NoReturn:
    """End this process as the interpreter would, in its order; called last, in the main thread.

    Threads that are no daemons are waited for, `atexit` callbacks run, open files are flushed.  What is left out:
    modules are not emptied, so no `__del__` runs because of the end; nor do destructors of C++ libraries.
    """
    if _is_watched():
        sys.exit(code)
    for step in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            traceback.print_exc()
    os._exit(code if _flush() else code or _UNFLUSHED)


def _is_watched() -> bool:
    """Whether somebody wants to see the end: a profiler, a debugger, `python -i`, `python -X dev`."""
    if sys.getprofile() or sys.gettrace() or sys.flags.interactive or sys.flags.dev_mode:
        return True
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    return monitoring is not None and any(monitoring.get_tool(id) for id in range(6))


def _flush() -> bool:
    """Write what files, standard streams and C libraries have in their buffers; False: the streams do not take it."""
    kinds = {id(kind) for kind in _kinds(_IOBase)}
    things = gc.get_objects()
    # By the type itself: `isinstance` would ask the class that a proxy pretends to have. And no loop in Python.
    for file in compress(things, map(kinds.__contains__, map(id, map(type, things)))):
        with contextlib.suppress(Exception):
            file.flush()
    well = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except Exception:
            well = False
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
    return well


def _kinds(base: type[Any]) -> list[type[Any]]:
    """A class and all that derive from it."""
    return [base, *chain.from_iterable(map(_kinds, type.__subclasses__(base)))]
