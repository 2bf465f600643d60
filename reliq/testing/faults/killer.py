"""Kills on a seeded schedule: who, when and how is decided by the seed, and noted in the journal."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Sequence

from reliq.testing.faults.journal import Journal
from reliq.testing.faults.processes import kill_tree, signal_tree

__all__ = ["Killer", "Pauser"]


class _Scheduled:
    """Acts about every `every` seconds (half to one and a half times that) in a thread, until it is left."""

    def __init__(self, *, seed: int, every: float, times: int | None = None) -> None:
        self.seed = seed
        self.every = every
        self.times = times
        self.acted = 0
        self.error: BaseException | None = None
        self._dice = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def __enter__(self) -> _Scheduled:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while self.times is None or self.acted < self.times:
                if self._stop.wait(self.every * (0.5 + self._dice.random())):
                    return
                self.acted += self.act(self._dice)
        except BaseException as error:
            self.error = error

    def act(self, dice: random.Random) -> bool:
        """Do it once; whether there was anybody to do it to."""
        raise NotImplementedError


class Killer(_Scheduled):
    """SIGKILLs the whole process tree of one of `victims()`; `after` is then called, say to start it again.

    leased  tells how many messages were leased to the owners that had these pids, for I5
    """

    def __init__(
        self,
        victims: Callable[[], Sequence[int]],
        *,
        seed: int,
        every: float,
        journal: Journal,
        times: int | None = None,
        after: Callable[[int], None] | None = None,
        leased: Callable[[Sequence[int]], int] | None = None,
    ) -> None:
        super().__init__(seed=seed, every=every, times=times)
        self._victims = victims
        self._journal = journal
        self._after = after
        self._leased = leased

    def act(self, dice: random.Random) -> bool:
        victims = sorted(self._victims())
        if not victims:
            return False
        pid = dice.choice(victims)
        killed = kill_tree(pid)
        pids = [p.pid for p in killed]
        details: dict[str, object] = {"leased": self._leased(pids)} if self._leased else {}
        self._journal.note("killed", pids=",".join(map(str, pids)), **details)
        if self._after:
            self._after(pid)
        return bool(killed)


class Pauser(_Scheduled):
    """SIGSTOPs the process tree of one of `victims()` for `pause` seconds, then lets it go on."""

    def __init__(
        self,
        victims: Callable[[], Sequence[int]],
        *,
        seed: int,
        every: float,
        pause: float,
        journal: Journal,
        times: int | None = None,
    ) -> None:
        super().__init__(seed=seed, every=every, times=times)
        self._victims = victims
        self._pause = pause
        self._journal = journal

    def act(self, dice: random.Random) -> bool:
        victims = sorted(self._victims())
        if not victims:
            return False
        pid = dice.choice(victims)
        stopped = signal_tree(pid, signal.SIGSTOP)
        self._journal.note("paused", pids=",".join(str(p.pid) for p in stopped))
        try:
            time.sleep(self._pause)
        finally:
            signal_tree(pid, signal.SIGCONT)
        self._journal.note("resumed", pids=",".join(str(p.pid) for p in stopped))
        return bool(stopped)
