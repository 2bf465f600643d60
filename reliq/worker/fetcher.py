"""Claims: how many, from which queues, and what to do when the broker cannot be reached."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from reliq.errors import BrokerError, BrokerFull, BrokerUnavailable
from reliq.ports.broker import Broker
from reliq.ports.values import Claimed, Delivery
from reliq.worker.board import Board, shown
from reliq.worker.outage import Outage
from reliq.worker.settler import Finished, Settler

logger = logging.getLogger("reliq.worker")

SPAN = 0.02  # seconds of work to have in hand
BRISK = 0.0025  # a task shorter than this: the next claim, of eight and more, is sent while the batch runs
LONG = 0.05  # a task longer than this ends prefetching at once
PATIENCE = 1.0  # seconds beyond its wait that a claim may take before the parent looks what it was given
BLOCK = 1.0  # seconds that a claim waits for work; what needs its thread before that wakes it
# ... after so many in a row that brought nothing, if nothing runs here: a task that keeps the interpreter for itself
# would keep from us what such a claim was handed, until the parent looks after it.
BLOCKS = (BLOCK, BLOCK, BLOCK, 2.0, 4.0)
DRAIN = 10.0  # how long a child stops claiming to let a charged message in, and then how long it does not
SHY = 0.1  # seconds until the next claim then: while a charged message waits, one that brings nothing returns at once


class Fetcher:
    """The claims of one owner, one at a time; the caller holds the fetch lock.

    `wait(seconds)` sleeps, but returns at once when the worker stops.  No claim waits for longer than `longest`
    seconds, or BLOCK: somebody may look how long ago the last one was answered.
    """

    def __init__(
        self,
        broker: Broker,
        owner: str,
        board: Board,
        settler: Settler,
        *,
        queues: Sequence[tuple[str, float]],
        most: int,
        slots: int,
        wait: Callable[[float], object],
        longest: float = BLOCKS[-1],
    ) -> None:
        self._broker = broker
        self._owner = owner
        self._board = board
        self._settler = settler
        self._turns = Turns(queues)
        self._most = most
        self._slots = slots
        self._wait = wait
        self._blocks = [min(block, max(BLOCK, longest)) for block in BLOCKS]
        self._outage = Outage(owner)
        self._seq = 0
        self._limit = 1
        self._empty = 0  # claims in a row that waited and brought nothing
        self._cost = LONG  # EWMA of a task's seconds; unknown tasks count as long
        self._drain_until = self._deaf_until = 0.0
        self._ahead: tuple[list[Finished], Callable[[], Claimed], float] | None = None
        self._can_go_ahead = broker.capabilities.ahead
        self.live = True
        self.fetched = 0

    def measured(self, seconds: float, tasks: int) -> None:
        """`tasks` tasks of a slot took `seconds`: down at once, up by four at a time."""
        cost = seconds / tasks
        self._cost = cost if cost > LONG else (self._cost + cost) / 2
        fits = int(SPAN * self._slots / self._cost) if self._cost > 0 else self._most
        self._limit = max(1, min(fits, self._limit * 4, self._most))

    def claim(self, *, at_most: int, alone: bool, wait: float = BLOCK) -> list[tuple[Delivery, int]] | None:
        """The next deliveries with their places on the board, none, or None: wait, the hands must get empty first.

        A claim that carries settlements does not block: their answers free places, and observers wait for them.
        `alone`: nothing is in hand but what is being settled.  An outage is waited out here, once per call.
        """
        if self._ahead is not None:
            return self.receive()
        now = time.monotonic()
        if not alone and now < self._drain_until:
            return None
        finished = self._settler.take()
        limit = max(1, min(self._limit, at_most, self._board.room))
        if alone and wait >= BLOCK:
            wait = self._blocks[min(self._empty, len(BLOCKS) - 1)]
        handed = self._can_go_ahead and not finished and wait > 0  # it may be given something while it waits
        if handed:
            self._board.send_ahead(now + wait + PATIENCE)
        try:
            claimed = self._ask(finished, limit, 0.0 if finished else wait)
        except (BrokerUnavailable, BrokerFull) as error:
            self._settler.put_back(finished)
            self._wait(self._outage.failed(error))
            return []
        finally:
            ours = not handed or self._board.receive()
        self._empty = 0 if finished or claimed.deliveries else self._empty + 1
        got = self._answered(finished, claimed, ours=ours, alone=alone, now=now)
        if claimed.wants_alone and not (got or finished or alone) and self._drain_until <= now:
            self._wait(SHY)
        return got

    # --- the next claim on its way while the present batch runs ---

    @property
    def ahead_since(self) -> float | None:
        """When the claim on its way was sent."""
        return None if self._ahead is None else self._ahead[2]

    def go_ahead(self, *, got: int, at_most: int) -> None:
        """Send the next claim, if `got` is a full batch of short tasks: there will be more, and soon room for it."""
        limit = min(self._limit, at_most, self._board.room)
        if (
            not self._can_go_ahead
            or self._ahead is not None
            or self._cost > BRISK
            or limit < 2
            or got < limit // 2
        ):
            return
        finished = self._settler.take()
        now = time.monotonic()
        self._board.send_ahead(now)
        try:
            broker: Any = self._broker
            answer = broker.claim_ahead(
                self._owner,
                self._turns.next(),
                limit=limit,
                seq=self._seq + 1,
                settlements=[settlement for settlement, _, _ in finished],
            )
        except BrokerError:  # the next claim will say it
            self._settler.put_back(finished)
            self._board.receive()
            return
        self._ahead = (finished, answer, now)

    def receive(self) -> list[tuple[Delivery, int]]:
        """The deliveries of the claim on its way; those that the parent has given back are no longer ours."""
        assert self._ahead is not None
        finished, answer, _ = self._ahead
        self._ahead = None
        try:
            claimed = answer()
        except Exception as error:
            self._board.receive()
            self._settler.put_back(finished)
            if not isinstance(error, BrokerUnavailable | BrokerFull):
                logger.exception("a claim with %d settlements failed; it is made again", len(finished))
            else:
                self._wait(self._outage.failed(error))
            return []
        ours = self._board.receive()
        return self._answered(finished, claimed, ours=ours, alone=False, now=time.monotonic())

    def _answered(
        self, finished: list[Finished], claimed: Claimed, *, ours: bool, alone: bool, now: float
    ) -> list[tuple[Delivery, int]]:
        """What a claim brings; not `ours`: the parent has given it back."""
        self._seq += 1
        if not ours:
            self._give_back(claimed.deliveries)
            claimed = replace(claimed, deliveries=())
        deliveries = self._accept(finished, claimed)
        self._note_alone(claimed, alone, now)
        if self._outage.over() or claimed.anew:
            self._compare()
        return deliveries

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        try:
            self._broker.give_back([delivery.receipt for delivery in deliveries])
        except BrokerError as error:
            logger.info("could not give back %d deliveries, the burial will: %s", len(deliveries), error)

    def _ask(self, finished: list[Finished], limit: int, wait: float) -> Claimed:
        settlements = [settlement for settlement, _, _ in finished]
        queues = self._turns.next()
        ask = self._broker.claim
        try:
            return ask(
                self._owner, queues, limit=limit, seq=self._seq + 1, wait=wait, settlements=settlements
            )
        except (BrokerUnavailable, BrokerFull):
            raise
        except Exception:
            if not finished:
                raise
            logger.exception("a claim with %d settlements failed; settling them one by one", len(finished))
            self._settler.apart(finished)
            finished.clear()
            return ask(self._owner, queues, limit=limit, seq=self._seq + 1, wait=0.0)

    def _accept(self, finished: list[Finished], claimed: Claimed) -> list[tuple[Delivery, int]]:
        board = self._board
        # First the moment: the parent takes back what is in hand for long after the last claim.
        board.claimed(time.monotonic(), len(claimed.deliveries), len(finished))
        indices = board.hold(claimed.deliveries)
        self.fetched += len(indices)
        if finished:
            self._settler.answered(finished, claimed.settled)
        if not claimed.live:
            self.live = False
            board.orphaned = True
        return list(zip(claimed.deliveries, indices, strict=True))

    def _note_alone(self, claimed: Claimed, alone: bool, now: float) -> None:
        if alone:
            self._drain_until = 0.0  # it was let in, here or elsewhere
        if not claimed.wants_alone or alone or now < self._deaf_until:
            return
        self._drain_until = now + DRAIN
        self._deaf_until = (
            self._drain_until + DRAIN
        )  # a task of an hour must not keep this child from all other work

    def _compare(self) -> None:
        """After an outage: what the broker thinks we hold against what is in hand; the rest is given back."""
        in_hand = self._board.in_hand()
        try:
            astray = [r for r in self._broker.held(self._owner) if (shown(r.id), r.fence) not in in_hand]
            if astray:
                self._broker.give_back(astray)
                logger.info(
                    "gave back %d deliveries that never arrived", len(astray), extra={"event": "given_back"}
                )
        except (BrokerUnavailable, BrokerFull) as error:
            self._outage.failed(error)


class Turns:
    """Who is asked first: smooth weighted round robin, so that equal weights are fair and none starves."""

    def __init__(self, queues: Sequence[tuple[str, float]]) -> None:
        self._weights = dict(queues)
        self._credit = dict.fromkeys(self._weights, 0.0)
        self._only = tuple(self._weights) if len(self._weights) == 1 else None

    def next(self) -> tuple[str, ...]:
        if self._only is not None:
            return self._only
        credit = self._credit
        for name, weight in self._weights.items():
            credit[name] += weight
        order = sorted(credit, key=credit.__getitem__, reverse=True)
        credit[order[0]] -= sum(self._weights.values())
        return tuple(order)
