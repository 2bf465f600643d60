"""The end of a process, without the time that the interpreter takes to take itself apart.

That is a tenth of a second of the processor where little was imported, several where much was, and on a busy machine it
lasts as many times longer as others want the processor: worker and child together then were not gone in time.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import logging
import os
import sys
import threading
import traceback
from _io import _IOBase
from collections.abc import Iterator
from itertools import chain, compress
from typing import Any, NoReturn

logger = logging.getLogger("reliq.worker")

UNFLUSHED = 120  # the interpreter's own code for it

#: What is complete only once it is closed, which the interpreter would do; what wraps others stands before them.
_TO_CLOSE = (
    ("shelve", "Shelf"),
    ("zipfile", "ZipFile"),
    ("gzip", "GzipFile"),
    ("bz2", "BZ2File"),
    ("lzma", "LZMAFile"),
    ("dbm.dumb", "_Database"),
    ("tempfile", "_TemporaryFileWrapper"),
)


def leave(code: int, *, within: float | None = None) -> NoReturn:
    """End this process as the interpreter would, in its order; called last, in the main thread.

    Threads that are no daemons are waited for, `atexit` callbacks run, open files are flushed, those of the standard
    library that are broken without their end are closed.  What is left out: modules are not emptied, so no `__del__`
    runs because of the end; nor do destructors of C++ libraries.

    within  seconds for threads and callbacks; then those in the way are named, and the process ends without them
    """
    if _is_watched():
        sys.exit(code)
    patience = threading.Timer(within or 0.0, _cut_off, (code, within))
    patience.daemon = True
    if within is not None:
        patience.start()
    _flush_streams()  # whoever ends us while we wait, this is not lost
    for step in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            traceback.print_exc()
    patience.cancel()
    _flush_files()
    os._exit(code if _flush_streams() else code or UNFLUSHED)


def _cut_off(code: int, within: float) -> NoReturn:
    """What the main thread waits for has had its time."""
    guilty = _in_the_way()
    _flush_files()
    _flush_streams()  # first: what is in the way may keep the log for itself
    with contextlib.suppress(BaseException):
        logger.warning(
            "process %d had done its work, but %s did not end within %.3g s: cut off",
            os.getpid(),
            guilty,
            within,
            extra={"event": "cut_off"},
        )
    os._exit(code if _flush_streams() else code or UNFLUSHED)


def _in_the_way() -> str:
    """What the main thread waits for, in words: threads, or the `atexit` callback that runs."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    callback = None
    while frame is not None and frame.f_code is not leave.__code__:
        callback, frame = frame.f_code, frame.f_back
    if callback is None:
        return "a callback of atexit that is not written in Python"
    others = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    if callback is threading._shutdown.__code__ and others:  # type: ignore[attr-defined]
        return f"{'thread' if len(others) == 1 else 'threads'} {', '.join(map(repr, others[:5]))}"
    return f"{callback.co_qualname} ({callback.co_filename}:{callback.co_firstlineno}), called by atexit,"


def _is_watched() -> bool:
    """Whether somebody wants to see the end: a profiler, a debugger, `python -i`, `python -X dev`."""
    if sys.getprofile() or sys.gettrace() or sys.flags.interactive or sys.flags.dev_mode:
        return True
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    return monitoring is not None and any(monitoring.get_tool(id) for id in range(6))


def _flush_files() -> None:
    """Write what files have in their buffers, and the ends of those that need one."""
    gc.unfreeze()  # what was frozen is not among the collector's objects
    ranks = dict(_ranks())
    kinds = {id(kind) for kind in _kinds(_IOBase)} | ranks.keys()
    things = gc.get_objects()
    # By the type itself: `isinstance` would ask the class that a proxy pretends to have. And no loop in Python.
    files = list(compress(things, map(kinds.__contains__, map(id, map(type, things)))))
    unfinished = [file for file in files if id(type(file)) in ranks]
    unfinished.sort(key=lambda file: ranks[id(type(file))])
    # Text goes down to what compresses it, then the end of that into a file that others may have opened.
    for verb, some in (("flush", files), ("close", unfinished), ("flush", files if unfinished else [])):
        for file in some:
            with contextlib.suppress(BaseException):
                getattr(file, verb)()


def _flush_streams() -> bool:
    """Write what the standard streams and C libraries have in their buffers; False: the streams do not take it."""
    well = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException:
            well = False
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
    return well


def _ranks() -> Iterator[tuple[int, int]]:
    """The classes to close, by id, of the modules that are loaded; the lower rank first."""
    for rank, (module, name) in enumerate(_TO_CLOSE):
        base = getattr(sys.modules.get(module), name, None)
        if base is not None:
            yield from ((id(kind), rank) for kind in _kinds(base))


def _kinds(base: type[Any]) -> list[type[Any]]:
    """A class and all that derive from it."""
    return [base, *chain.from_iterable(map(_kinds, type.__subclasses__(base)))]
