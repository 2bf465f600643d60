"""How often owners are renewed: by the keeper's own rounds, on a clock that a test moves."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reliq.engines.memory import connect
from reliq.errors import BrokerUnavailable
from reliq.policy.clock import VirtualClock
from reliq.ports.values import Ended, Publication
from reliq.wire.message import Envelope
from reliq.worker import posix
from reliq.worker.keeper import Keeper
from reliq.worker.options import WorkerOptions
from reliq.worker.reaper import Reaper
from reliq.worker.supervisor import TICK, Supervisor


class Parent:
    """A keeper on a memory engine; `renewed` has the moments of its renewals."""

    def __init__(self, clock: VirtualClock, **options: Any) -> None:
        self.clock = clock
        self.options = WorkerOptions(**options)
        self.engine = connect("memory://", clock=clock)
        self.renewed: list[float] = []
        self.stopped: list[tuple[float, tuple[str, ...]]] = []
        self.dead: list[str] = []
        self.is_down = False
        self.keeper = Keeper(
            self,  # type: ignore[arg-type]
            lease=self.options.lease,
            every=self.options.renewal,
            idle_every=self.options.idle_renewal,
            registered=lambda owner: None,
            dead=self.dead.append,
            stop=lambda owner, ids: self.stopped.append((clock.monotonic(), ids)),
        )
        self.keeper.add("me", {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def renew(self, owner: str, lease: float) -> Any:
        if self.is_down:
            raise BrokerUnavailable("away")
        self.renewed.append(self.clock.monotonic())
        return self.engine.renew(owner, lease)

    def pass_time(self, seconds: float, each: Callable[[], object] = lambda: None) -> None:
        """As `Keeper.run` does, whose pauses are a second at most."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            try:
                pause = self.keeper._round()
            except BrokerUnavailable as error:
                self.keeper._contact_since = None
                pause = self.keeper._outage.failed(error)
            each()
            self.clock.advance(max(0.01, min(pause, 1.0, end - self.clock.monotonic())))

    def gaps(self) -> list[float]:
        """Between the renewals since the last look."""
        told, self.renewed = self.renewed, self.renewed[-1:]
        return [round(later - earlier, 1) for earlier, later in pairwise(told)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    clock = VirtualClock()
    clock.advance(100.0)
    monkeypatch.setattr(posix, "boottime", clock.monotonic)
    return clock


def calm(clock: VirtualClock, **options: Any) -> Parent:
    """One that has long been in contact."""
    parent = Parent(clock, **options)
    parent.pass_time(12.0)
    parent.gaps()
    return parent


def test_who_holds_nothing_is_renewed_every_four_seconds(clock: VirtualClock) -> None:
    parent = calm(clock)
    parent.pass_time(60.0)
    assert set(parent.gaps()) == {4.0}
    assert parent.keeper.pace() == 4.0


def test_who_holds_something_is_renewed_every_two_seconds_again(clock: VirtualClock) -> None:
    parent = calm(clock)
    parent.pass_time(9.0)
    parent.gaps()
    parent.keeper.note("me", busy=True)
    began = clock.monotonic()
    parent.pass_time(20.0)
    assert parent.renewed[1] - began <= 1.0
    assert set(parent.gaps()[1:]) == {2.0}
    parent.keeper.note("me", busy=False)
    parent.pass_time(20.0)
    assert set(parent.gaps()[1:]) == {4.0}


def test_of_several_only_the_busy_one_is_renewed_often(clock: VirtualClock) -> None:
    parent = calm(clock)
    parent.keeper.add("other", {})
    parent.keeper.note("other", busy=True)
    parent.pass_time(80.0)
    assert 58 <= len(parent.renewed) <= 62
    assert parent.keeper.pace() == 2.0


def test_a_request_to_stop_what_has_just_begun_is_heard_within_two_seconds(clock: VirtualClock) -> None:
    parent = calm(clock)
    for since in range(8):  # half seconds after a renewal
        id = f"m{since}"
        while clock.monotonic() - parent.renewed[-1] < since / 2:
            parent.pass_time(0.5)
        parent.engine.publish([Publication(Envelope(1, id, "t", "q"))])
        parent.engine.claim("me", ["q"], limit=1, seq=since + 1)
        assert parent.engine.cancel(id).status == "requested"
        asked = clock.monotonic()
        parent.pass_time(0.2)  # until the parent looks at the board
        parent.keeper.note("me", busy=True)
        parent.pass_time(4.0)
        (heard, *_) = [at for at, ids in parent.stopped if id in ids]
        assert heard - asked < 2.1
        parent.engine.give_back(parent.engine.held("me"))
        parent.keeper.note("me", busy=False)
        parent.pass_time(9.0)


@pytest.mark.parametrize(
    ("lease", "renew_every", "busy", "idle"),
    [(30.0, None, 2.0, 4.0), (9.0, None, 2.0, 3.0), (1.5, None, 0.5, 0.5), (30.0, 10.0, 10.0, 10.0)],
)
def test_the_interval_is_the_configured_one_or_at_most_a_third_of_the_lease(
    clock: VirtualClock, lease: float, renew_every: float | None, busy: float, idle: float
) -> None:
    parent = Parent(clock, lease=lease, renew_every=renew_every)
    assert (parent.options.renewal, parent.options.idle_renewal) == (busy, idle)
    parent.pass_time(40.0)
    parent.gaps()
    parent.pass_time(60.0)
    assert set(parent.gaps()) == {idle}


@pytest.mark.parametrize("lease", [1.0, 2.0, 7.0, 12.0, 30.0])
def test_no_lease_runs_low_however_work_comes_and_goes(clock: VirtualClock, lease: float) -> None:
    parent = Parent(clock, lease=lease)
    parent.pass_time(0.1)
    dice = random.Random(lease)
    least = lease

    def look() -> None:
        nonlocal least
        (owner,) = parent.engine.owners()
        least = min(least, (owner.expires - clock.now_ms()) / 1000)
        assert parent.engine.reap() == Ended()
        if dice.random() < 0.3:
            parent.keeper.note("me", busy=dice.random() < 0.5)

    for _ in range(500):
        parent.pass_time(dice.uniform(0.0, 1.0), look)
    assert parent.dead == []
    assert least >= lease * 0.66


def test_after_an_outage_renewals_are_frequent_until_contact_has_been_unbroken(clock: VirtualClock) -> None:
    parent = calm(clock)
    parent.is_down = True
    parent.pass_time(20.0)
    parent.is_down = False
    parent.pass_time(4.0)
    parent.gaps()
    assert 0 < parent.keeper.unbroken() < parent.keeper.patience()
    parent.pass_time(4.0)
    assert set(parent.gaps()) == {2.0}
    parent.pass_time(30.0)
    assert parent.gaps()[-3:] == [4.0] * 3


def test_a_call_that_hangs_beyond_its_time_breaks_the_contact_of_one_that_idles(clock: VirtualClock) -> None:
    parent = calm(clock)
    parent.pass_time(4.0)
    since = clock.monotonic() - parent.renewed[-1]
    clock.advance(6.9 - since)  # a renewal was due after 4 s, and 3 more are allowed to any
    assert parent.keeper.unbroken() > 0
    clock.advance(0.2)
    assert parent.keeper.unbroken() == 0
    parent.pass_time(0.1)  # it is answered
    assert 0 < parent.keeper.unbroken() < 0.2


class Sweeper:
    """A broker that notes how often each asks to be swept for."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.capabilities = self
        self.sweeps = True

    def sweep(self, *, every: float, grace: float) -> tuple[Ended, float]:
        self.asked.append(every)
        return Ended(), every


def test_who_hears_of_sweeps_more_seldom_steps_in_as_much_later(clock: VirtualClock) -> None:
    parent, broker = calm(clock), Sweeper()
    options = parent.options
    reaper = Reaper(broker, parent.keeper, every=options.sweep, renewal=options.renewal)  # type: ignore[arg-type]
    reaper.sweep()
    parent.keeper.note("me", busy=True)
    reaper.sweep()
    assert broker.asked == [6.0, 3.0]


def test_the_parent_tells_its_keeper_whose_hands_are_empty(tmp_path: Path) -> None:
    options = WorkerOptions(health=str(tmp_path / "health"))
    supervisor: Any = Supervisor(SimpleNamespace(name="shop"), options)
    supervisor._children = [
        SimpleNamespace(owner=owner, board=SimpleNamespace(busy=busy))
        for owner, busy in (("idle", False), ("busy", True))
    ]
    told: dict[str, bool] = {}
    supervisor._keeper = SimpleNamespace(note=lambda owner, *, busy: told.update({owner: busy}))
    supervisor._selector = SimpleNamespace(select=lambda seconds: told.update(slept=seconds == TICK))
    supervisor._wake_read, writes = os.pipe()
    os.set_blocking(supervisor._wake_read, False)
    supervisor._sleep()
    os.close(supervisor._wake_read)
    os.close(writes)
    assert told == {"idle": False, "busy": True, "slept": True}
