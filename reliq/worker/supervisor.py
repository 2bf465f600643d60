"""The parent: starts children, watches them, and takes back what they cannot run."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import FrameType
from typing import Any

from msgspec.structs import replace

from reliq.ports.values import Receipt, Settlement
from reliq.worker import watch
from reliq.worker.board import (
    FINISHED,
    HELD,
    PARKED,
    UNSTARTED,
    Running,
    has_long_ids,
    receipts,
    resolve,
    shown,
)
from reliq.worker.health import HealthFile
from reliq.worker.keeper import Keeper
from reliq.worker.options import WorkerOptions
from reliq.worker.process import ChildProcess
from reliq.worker.reaper import Errands, Reaper, tell
from reliq.worker.services import Services
from reliq.worker.starts import FailedStarts, how

logger = logging.getLogger("reliq.worker")

TICK = 0.05
RESERVE = 3.0  # seconds after the grace within which the worker is gone
LOOK_AGAIN = 1.0  # seconds; a claim that waits may be given something at any time
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Supervisor:
    """Runs a worker until it is told to stop; `run` returns the exit code.

    SIGTERM, SIGINT   warm shutdown; a second one: at once.
    SIGHUP            children are replaced one after the other; on a terminal, which was closed then: as SIGTERM.
    """

    def __init__(self, app: Any, options: WorkerOptions) -> None:
        self._app = app
        self._options = options
        self._children: list[ChildProcess] = []
        self._heard: deque[int] = deque()
        self._news: deque[tuple[Any, ...]] = deque()  # from other threads
        self._waking = threading.Lock()
        self._stopping_since: float | None = None
        self._cold = False
        self._to_replace: deque[ChildProcess] = deque()
        self._code = 0
        self._starts = FailedStarts()
        self._health = HealthFile(options.health, app.name)
        self._on_terminal = sys.stdin is not None and sys.stdin.isatty()

    def run(self) -> int:
        """Blocks, in the main thread."""
        broker = self._app.broker
        options = self._options
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._keeper = Keeper(
            broker,
            lease=options.lease,
            every=options.renewal,
            idle_every=options.idle_renewal,
            registered=lambda owner: self._tell_me("registered", owner),
            dead=lambda owner: self._tell_me("dead", owner),
            stop=lambda owner, ids: self._tell_me("cancel", owner, ids),
        )
        self._errands = Errands(done=lambda: self._tell_me("done", ""))
        self._reaper = Reaper(broker, self._keeper, every=options.sweep, renewal=options.renewal)
        self._services = Services(self._app)
        before = {signum: signal.signal(signum, self._on_signal) for signum in _SIGNALS}
        wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            for part in (self._keeper, self._errands, self._reaper, self._services):
                part.start()
            self._loop()
        finally:
            self._end()
            signal.set_wakeup_fd(wakeup)
            for signum, handler in before.items():
                signal.signal(signum, handler)
            self._selector.close()
            os.close(self._wake_read)
            with self._waking:  # a thread that is still busy must not write into what is opened next
                os.close(self._wake_write)
                self._wake_write = -1
        return self._code

    # --- the loop ---

    def _loop(self) -> None:
        while not self._is_over():
            self._fill_up()
            self._sleep()
            while self._heard:
                self._on(self._heard.popleft())
            while self._news:
                self._hear(*self._news.popleft())
            for child in list(self._children):
                code = child.ended()
                if code is not None:
                    self._lose(child, code)
                elif not child.killed:
                    self._look_after(child)
            self._replace_next()
            self._write_health()

    def _is_over(self) -> bool:
        if self._stopping_since is None:
            return False
        if self._children:
            return False
        allowed = 2.0 if self._cold else self._options.grace + RESERVE - 0.5
        return self._errands.idle or time.monotonic() - self._stopping_since > allowed

    def _sleep(self) -> None:
        at_work = False
        for child in self._children:
            busy = child.board.busy
            self._keeper.note(child.owner, busy=busy)
            at_work |= busy
        self._selector.select(TICK if at_work or self._stopping_since is not None else 4 * TICK)
        try:
            while os.read(self._wake_read, 512):
                pass
        except BlockingIOError:
            pass

    def _tell_me(self, *news: Any) -> None:
        self._news.append(news)
        with self._waking, contextlib.suppress(OSError):
            os.write(self._wake_write, b"\0")

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._heard.append(signum)

    def _on(self, signum: int) -> None:
        if signum in (signal.SIGTERM, signal.SIGINT) or (signum == signal.SIGHUP and self._on_terminal):
            self._stop()
        elif signum == signal.SIGHUP and self._stopping_since is None:
            logger.info("replacing %d children", len(self._children), extra={"event": "restart"})
            self._to_replace.extend(c for c in self._children if c not in self._to_replace)

    def _stop(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            logger.info("stopping: running tasks have %g s", self._options.grace, extra={"event": "stopping"})
            for child in self._children:
                if child.board.ready:
                    child.stop()
                    self._take_back(child, UNSTARTED)
                else:
                    child.kill(blameless="it had not begun to work")
        elif not self._cold:
            self._cold = True
            self._stopping_since = time.monotonic()
            logger.warning("stopping at once", extra={"event": "cold_shutdown"})
            for child in self._children:
                child.kill(blameless="cold shutdown")

    def _hear(self, what: str, owner: str, *more: Any) -> None:
        child = next((c for c in self._children if c.owner == owner), None)
        if child is None:
            return
        if what == "registered":
            child.registered = True
            child.tell(f"owner {owner}")
        elif what == "dead":
            self._note_dead_owner(child)
            child.kill(blameless="its owner was dead")
        elif what == "cancel":
            self._cancel(child, more[0])

    # --- children ---

    def _fill_up(self) -> None:
        """Start what is missing; after a failed start not before its time."""
        if self._stopping_since is not None or time.monotonic() < self._starts.next_at:
            return
        while self._are_missing():
            try:
                child = ChildProcess(self._options)
            except (
                OSError
            ) as error:  # too many processes or descriptors, no memory: those that run are to go on
                pause = self._starts.refused()
                logger.error("cannot start a child, trying again in %.1f s: %s", pause, error)
                return
            self._children.append(child)
            logger.info(
                "child %d started", child.pid, extra={"worker": child.owner, "event": "child_started"}
            )
            about = {
                "app": self._app.name,
                "host": socket.gethostname(),
                "parent": str(os.getpid()),
                "queues": ",".join(name for name, _ in self._options.queues),
            }
            self._keeper.add(child.owner, about)

    def _are_missing(self) -> bool:
        """One that has finished and does not end is replaced meanwhile; no more than are to work are left so."""
        now, wanted = time.monotonic(), self._options.children
        lingering = sum(watch.lingers(child, now) for child in self._children)
        return len(self._children) - min(lingering, wanted) < wanted

    def _look_after(self, child: ChildProcess) -> None:
        now = time.monotonic()
        states = child.board.states()
        running = child.board.running(states)
        if child.board.retired:
            child.retired_since = child.retired_since or now
        ending = child.stopping_since or child.retired_since
        if ending is not None and watch.is_over_grace(states, now - ending - self._options.grace):
            logger.warning(
                "child %d is killed: its tasks were given %g s (%s)",
                child.pid,
                self._options.grace,
                ", ".join(entry.id for entry in running[:5]) or "nothing runs, but it has not ended",
                extra={"worker": child.owner, "event": "grace_over"},
            )
            child.kill(blameless="grace over")
            return
        if child.board.retired:
            return
        watch.note_busy(child, states, now)
        if watch.is_starting_too_long(child, now):
            self._give_up_start(child)
            return
        guilty = watch.over_limit(running, child.owner, now) + watch.over_patience(running, child, now)
        if guilty:
            for settlement in guilty:
                logger.error(
                    "task of %s: %s; child %d is killed",
                    settlement.receipt.id,
                    settlement.reason,
                    child.pid,
                    extra={"id": settlement.receipt.id, "worker": child.owner, "reason": settlement.reason},
                )
            child.kill(guilty=guilty)
        elif child.stopping_since is not None:
            self._take_back(child, UNSTARTED)
        elif watch.is_stuck(child, states, running, now):
            self._take_back(child, (HELD,))
            self._take_back_unseen(child, now)
        elif watch.is_withholding(child, now):
            self._take_back_unseen(child, now)
        elif watch.is_crowded(child, states, now):
            self._take_back(child, (PARKED,))
        elif watch.is_idle_too_long(child, now, self._options.watchdog, self._keeper.unbroken()):
            self._restart_stuck(child)

    def _take_back(self, child: ChildProcess, states: Sequence[int], *, only: str | None = None) -> None:
        taken = child.board.take(states, only=only)
        if taken:
            logger.info(
                "gave back %d unstarted deliveries of child %d",
                len(taken),
                child.pid,
                extra={"worker": child.owner, "event": "taken_back"},
            )
            self._errands.add(
                "give-back", lambda: self._app.broker.give_back(self._receipts(taken, child.owner))
            )

    def _take_back_unseen(self, child: ChildProcess, now: float) -> None:
        """What a claim on its way has brought to a child that does not look at it."""
        board, broker = child.board, self._app.broker

        def give_back() -> None:
            held = broker.held(child.owner)
            # The child has claimed nothing since `void`, so what it has not in hand came with that claim.
            if child in self._children and board.is_void:
                in_hand = board.in_hand()
                broker.give_back([r for r in held if (shown(r.id), r.fence) not in in_hand])

        if not watch.is_withholding(child, now) or now < child.look_again:
            return
        again = board.is_void
        if again or board.void():
            child.look_again = now + LOOK_AGAIN
            logger.log(
                logging.DEBUG if again else logging.INFO,
                "giving back what a claim of child %d brings: the child does not look at it",
                child.pid,
                extra={"worker": child.owner, "event": "taken_back"},
            )
            self._errands.add("give-back", give_back)

    def _cancel(self, child: ChildProcess, ids: tuple[str, ...]) -> None:
        for id in ids:
            if id not in child.asked:
                child.asked[id] = time.monotonic() + watch.PATIENCE
                self._take_back(child, UNSTARTED, only=id)
                child.tell(f"cancel {id}")
        for id in set(child.asked) - set(ids):
            del child.asked[id]

    def _give_up_start(self, child: ChildProcess) -> None:
        """A failed start: after some in a row the worker gives up."""
        logger.error(
            "child %d has not got ready within %g s: its stacks follow, it is replaced",
            child.pid,
            watch.START,
            extra={"worker": child.owner, "event": "start_hangs"},
        )
        child.signal(signal.SIGUSR2)
        time.sleep(0.2)  # for the stacks to be written
        child.kill()

    def _restart_stuck(self, child: ChildProcess) -> None:
        logger.error(
            "child %d has not claimed for %g s though the broker answers; its stacks follow, it is replaced",
            child.pid,
            self._options.watchdog,
            extra={"worker": child.owner, "event": "watchdog"},
        )
        child.signal(signal.SIGUSR2)
        time.sleep(0.2)  # for the stacks to be written
        # What it has run and cannot settle, though the broker answers us, is charged: it may have cut itself off.
        unsettled = child.board.running(state=FINISHED)
        child.kill(blameless="" if unsettled else "watchdog")

    def _replace_next(self) -> None:
        """One after the other, so that most of them work at any time."""
        while self._to_replace and self._stopping_since is None:
            child = self._to_replace[0]
            if child in self._children and not watch.lingers(child, time.monotonic()):
                child.stop()
                return
            self._to_replace.popleft()

    # --- death ---

    def _note_dead_owner(self, child: ChildProcess) -> None:
        logger.warning(
            "owner %s is dead for the broker (was this machine suspended, or has the broker lost its data?); "
            "its child is replaced",
            child.owner,
            extra={"worker": child.owner, "event": "owner_dead"},
        )

    def _lose(self, child: ChildProcess, code: int) -> None:
        """The process is dead and so is its group: bury the owner, and see why it died."""
        if child.board.orphaned and not child.blameless:  # the child was told before we were
            self._note_dead_owner(child)
        self._children.remove(child)
        self._keeper.drop(child.owner)
        started = self._charged(child, code)
        expected = child.ended_well(code) or child.blameless or child.guilty
        logger.log(
            logging.INFO if expected else logging.ERROR,
            "child %d %s%s",
            child.pid,
            f"was killed: {child.blameless}" if child.blameless else how(code),
            f" while it ran {', '.join(e.id for e in started[:5])}" if started else "",
            extra={"worker": child.owner, "event": "child_ended"},
        )
        owner, guilty = child.owner, list(child.guilty)
        self._errands.add(f"burial of {owner}", lambda: self._bury(owner, started, guilty))
        if self._stopping_since is None and not child.blameless:
            others_work = any(other.board.counts[0] for other in self._children)
            code_of_all = self._starts.ended(
                child, code, by_a_task=bool(started or guilty), others_work=others_work
            )
            if code_of_all:
                self._code = code_of_all
                self._stop()
        child.close()

    def _bury(self, owner: str, started: list[Running], guilty: list[Settlement]) -> None:
        broker = self._app.broker
        held = broker.held(owner) if guilty else ()
        guilty = [replace(s, receipt=resolve(s.receipt, held)) for s in guilty]
        tell(broker.bury(owner, started=self._receipts(started, owner), guilty=guilty))

    def _charged(self, child: ChildProcess, code: int) -> list[Running]:
        """What a death is charged to: what had started, also if it had run and was not settled.

        A task can leave a thread behind that ends the process when the task itself has returned.  It can also end it
        with code 0, or put another program in its place: only the child itself says that it had done its work.
        What had run is run again, so without a charge, and the run alone that follows, nothing would bound how often
        neighbours that die one after the other could have it run.
        """
        if child.ended_well(code) or child.blameless:
            return []
        return child.board.running() + child.board.running(state=FINISHED)

    def _receipts(self, entries: list[Running], owner: str) -> list[Receipt]:
        held = self._app.broker.held(owner) if has_long_ids(entries) else ()
        return receipts(entries, owner, held)

    # --- health and the end ---

    def _write_health(self) -> None:
        if self._health.is_due():
            now = time.monotonic()
            self._health.write(
                tuple(
                    watch.describe(child, now) for child in self._children if not watch.lingers(child, now)
                ),
                silence=self._keeper.silence(),
                stopping=self._stopping_since is not None,
            )

    def _end(self) -> None:
        for child in self._children:  # only after an error of ours
            child.kill(blameless="the supervisor failed")
            child.process.wait()
        self._services.end()
        self._reaper.end()
        self._keeper.end()
        self._errands.end()
        self._health.remove()
        logger.info("stopped", extra={"event": "stopped"})
