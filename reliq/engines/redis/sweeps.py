"""Who sweeps: of all workers one, often; the others when that one has not."""

from __future__ import annotations

from reliq.policy.clock import Clock


class Sweeps:
    """What this process knows of everybody's sweeps: each of its own, and what renewals tell.

    Whoever has swept does so again soon.  So the others, which hear of it with their renewals before it would be their
    turn, need not ask; and when it dies, they come no later than if each swept for itself.  Who comes a moment after
    somebody else leaves it at that, and leads no more.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: float | None = None  # when somebody swept
        self._leads = False

    def heard(self, ago: int) -> None:
        """Somebody swept so many ms ago; -1: nobody ever did."""
        if ago >= 0:
            self._last = self._clock.monotonic() - ago / 1000

    def left(self, every: float) -> float:
        """Seconds until this process has to sweep."""
        if self._leads or self._last is None:
            return 0.0
        return self._last + every - self._clock.monotonic()

    def unless(self, every: float) -> bytes:
        """How recent (in ms) somebody's sweep must be for another one to be left."""
        return b"%d" % (often(every) * 750)

    def was_left(self, ago: int, every: float) -> float:
        """Somebody was faster; seconds until this process looks again."""
        self._leads = False
        self.heard(ago)
        return max(0.05, self.left(every))

    def done(self, every: float) -> float:
        """This process has swept; seconds until it does so again."""
        self._leads = True
        self.heard(0)
        return often(every)


def often(every: float) -> float:
    """The others hear of a sweep within a renewal, so it and that together must be shorter than `every`."""
    return every / 3
