"""The broker: where messages wait, who holds them, how they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from reliq.ports.store import Store
from reliq.ports.values import (
    Audit,
    Cancelled,
    Capabilities,
    Claimed,
    Depth,
    Ended,
    OwnerInfo,
    Publication,
    Published,
    Receipt,
    Record,
    Renewal,
    Settled,
    Settlement,
    State,
)


class Broker(Protocol):
    """A durable set of messages that many processes use at once.

    Thread-safe: one thread may block in `claim` or `wait` while others call anything else.  Every call made in a fork
    of the process that opened the broker raises `ForkedConnection`.  A broker that cannot be reached raises
    `BrokerUnavailable` within its deadline (5 s); one that is full raises `BrokerFull`; in both cases a call either
    took effect whole or not at all, and every call here may be made again: it is idempotent by ids, seq or fences.

    A message is ready, due, leased, done, failed or dropped; it is in exactly one of these, and in one place.  Its
    `reason` is that of its present state (of its last transition), its `error` the last one a settlement carried;
    done clears it.  A moment "has come" when now >= it.
    """

    capabilities: Capabilities
    url: str  # what a user needs to reach the same broker, without a password

    # --- publishers ---

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        """Accept messages; one answer per publication, in order; items are isolated, later ones see earlier ones.

        For each: an id that is live or within its dedupe window (60 s from acceptance; 24 h for a chosen id; at least
        as long as the record is kept) is `duplicate` and neither its guards nor its effects are looked at. Else the
        guards are checked in order; the first that refuses makes the item `refused` with what it `found` and writes
        nothing, but that a waiting message which holds that key and has expired ends first, as a `reap` would end it,
        and the guards are checked again: with no worker about, an expired message keeps nothing from anybody. Else the
        message becomes ready, or due when its due time is in the future, the keys of the `Add`s are taken, and
        `effects` apply; then `on_end` of the messages that these steps ended, the first ended first. `due` = eta, or
        now + delay, else now, and never before now; the broker's clock counts; of several `expires*` the earliest
        counts. An encoded envelope of more than 1 MiB is `refused` with an `error`.

        Order within a queue and priority is the order of becoming ready: what is promoted or replayed stands behind
        what is ready then, what is given back or taken back uncharged stands at its old place.  (Between processes that
        share a broker without a server it is so to a few milliseconds, and not across a clock that was set back.)
        """
        ...

    def cancel(self, id: str, *, reason: str = "cancelled") -> Cancelled:
        """Drop a waiting message (its `on_end` for dropped applies), or ask the owner of a leased one to stop it.

        A request stays on the message: if it is retried, given back or its owner dies, it is dropped then.
        """
        ...

    def get(self, id: str) -> Record | None:
        """The record of a message, or None when there is none (never accepted, or purged)."""
        ...

    def wait(self, id: str, timeout: float) -> Record | None:
        """The record as soon as the message has ended, or as it stands after `timeout` seconds; None: no record."""
        ...

    def forget(self, id: str) -> bool:
        """Remove the value and the errors, also those in the story, of an ended message; False: there is none."""
        ...

    # --- workers ---

    def register(self, owner: str, lease: float, about: Mapping[str, str] | None = None) -> None:
        """Make `owner` live for `lease` seconds.  By the parent only.

        An id is never used twice: `BrokerRefused` for one that was buried within the last minute.  Again for a live
        one it is a renewal.
        """
        ...

    def claim(
        self,
        owner: str,
        queues: Sequence[str],
        *,
        limit: int,
        seq: int,
        wait: float = 0.0,
        settlements: Sequence[Settlement] = (),
    ) -> Claimed:
        """Apply `settlements` as `settle` does, then lease up to `limit` ready messages to `owner`, in one step.

        Waiting messages whose `expires` has come, of whatever queue, are dropped("expired") first, then due messages
        of these queues whose time has come are promoted, in due order (at least 1000 of either, where there are as
        many); an expired message is never leased.  `queues` in the order given: the first that has work serves first;
        within a queue the highest priority first, first in first out within a priority.  (Fairness between queues is
        the caller's: it rotates the list.)  A lease gives the message attempt + 1 and the fence max(last fence + 1,
        now in microseconds).

        Charged messages (crashes > 0) are leased only alone: to an owner that, after the settlements, holds nothing,
        and then as the only delivery, `alone` set; while an owner holds one it is given nothing else.  An empty owner
        is offered the charged message of its queues first.  `wants_alone` says that a charged one is ready while the
        caller holds others: then the claim does not block, and the caller drains before it claims more.

        `seq` grows by one with each claim of an owner.  The same seq again (the reply was lost) gives the same batch
        again (those of it that are still leased) without blocking, and the settlements are answered `repeated`; a
        smaller one is answered with no deliveries.  Only a claim that leased something counts as having had its seq,
        so an idle one need not write.  A blocked claim whose owner claims again may return empty.  Settlements are
        looked at even if the owner is dead (they are then `stale`).
        With nothing to deliver it blocks up to `wait` seconds (1 s is honoured, 4 s at most) for work to appear, and
        may return empty before that; a publish, a promotion or a give-back wakes it, and `wake` ends it.  A blocked
        claim holds no lock.
        limit 0 only settles.
        """
        ...

    def wake(self, owner: str) -> None:
        """Let a claim of this owner that is blocked in this process return early: empty, or with what there is.

        A claim that begins after it is not affected, or returns early once.  Never raises where nobody waits, on a
        closed broker, or during an outage; not for signal handlers.
        """
        ...

    def held(self, owner: str) -> list[Receipt]:
        """All that is leased to `owner` now."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Apply verdicts; one answer each, in order, isolated from one another.

        `applied` needs a leased message whose owner and fence are the receipt's and whose owner is live.  done, failed
        and dropped end it; what the envelope's `on_end` holds for that class applies in the same step, and only then.
        retry and snooze make it due (retries + 1; snooze gives the attempt back and counts snoozes + 1); a message that
        was asked to stop is dropped("cancelled") instead, one whose `expires` has come is dropped("expired").
        `repeated` means the receipt's fence is the one that last settled this message.  Everything else is `stale`.
        In one step, in this order: the move, the settlement's effects, its follow-ups, then `on_end`; messages that an
        effect cancels end after that, the first cancelled first.
        Follow-ups are published as `publish` does, without guards and without a limit of size; an id already accepted
        is skipped.  One that takes a result where there is none takes null.
        """
        ...

    def give_back(self, receipts: Sequence[Receipt]) -> int:
        """Unstarted deliveries become ready again at their old place, attempt refunded; stale receipts are skipped.

        One that was asked to stop is dropped("cancelled").  How many receipts were honoured.
        """
        ...

    def renew(self, owner: str, lease: float) -> Renewal:
        """Let a live owner, even an expired one, live for another `lease` seconds from now.  By the parent only."""
        ...

    def bury(
        self, owner: str, *, started: Sequence[Receipt] | None, guilty: Sequence[Settlement] = ()
    ) -> Ended:
        """The process is known to be dead: take back what it held.  Irrevocable, resumable, idempotent.

        The owner is dead from the first step on.  `guilty` (the task it was killed for: a hard limit, a cancel) are
        settled first, as if their owner were live, and then nobody else is charged.  Without `guilty` the `started`
        ones (None: nobody can tell, so all) are charged: crashes + 1, due again after 1, 2, 4 ... s (at most 60 s) and
        claimed alone next, due("crashed"); one that crashed while it was alone and now has crashes >= max_crashes
        ends failed("crashed N times").  All others become ready at their old place, attempt refunded.  With `guilty`,
        the other started ones become ready uncharged with their attempt counted.
        A message asked to stop is dropped("cancelled").  Then the owner is gone.
        """
        ...

    def reap(self, limit: int = 1000, *, grace: float = 0.0) -> Ended:
        """House-keeping: at most about `limit` messages per call, `more` says whether to call again.

        Owners whose lease is over for more than `grace` seconds are buried with started=None (where the clock was set
        back, no lease lasts longer from now than it was given for); due messages are
        promoted; waiting ones that expired are dropped("expired"); ended records past their life are purged; lapsed
        store records are collected.  `moved` has what was taken back, charged or ended, not what was promoted.
        """
        ...

    # --- operators ---

    def queues(self) -> list[str]:
        """The queues that have live messages, sorted."""
        ...

    def depth(self, queue: str) -> Depth: ...

    def owners(self) -> list[OwnerInfo]:
        """The owners that are live or dead, oldest first."""
        ...

    def list(
        self,
        *,
        states: Sequence[State] = (),
        queue: str | None = None,
        task: str | None = None,
        reason: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[Record]:
        """Records, oldest accepted first, beginning after the id `after`; `reason` is a prefix; no transitions."""
        ...

    def replay(self, id: str, *, queue: str | None = None) -> bool:
        """A new life for a failed message: ready, all counters 0, life + 1, `on_end` to come again; False: not failed.

        `expires` no longer counts, value and error are gone, fences go on growing.  The guards of the envelope's
        `on_replay` are checked and taken as those of a publish are; one that refuses raises `GuardRefused` (with
        `guard`, `found` and `id`), and nothing is written.
        """
        ...

    def remove(self, id: str) -> bool:
        """Delete the record of an ended message; its ending stays counted, its id a duplicate for its window.

        False: there is no ended one.
        """
        ...

    def purge(self, queue: str) -> int:
        """Drop what waits in a queue, oldest accepted first: dropped("purged"), on_end applied; how many."""
        ...

    def audit(self) -> Audit:
        """The books, at one instant."""
        ...

    def close(self) -> None:
        """Release connections and wake blocked callers; the broker cannot be used again.  Twice is harmless."""
        ...


class ClaimsAhead(Protocol):
    """What a broker has beside the rest whose capabilities say `ahead`."""

    def claim_ahead(
        self,
        owner: str,
        queues: Sequence[str],
        *,
        limit: int,
        seq: int,
        settlements: Sequence[Settlement] = (),
    ) -> Callable[[], Claimed]:
        """Send a claim that does not block and return at once; what is returned gives its answer, once.

        The answer, and what may be raised, are those of `claim`; so is what happens when it is never asked for: the
        messages are leased, and the next claim is of another seq.
        """
        ...


class SharesSweeps(Protocol):
    """What a broker has beside the rest whose capabilities say `sweeps`."""

    def sweep(self, *, every: float, grace: float = 0.0) -> tuple[Ended, float]:
        """`reap`, unless somebody else does so often enough; and in how many seconds to call again.

        As long as anybody calls, and calls again in time, there is a `reap` at least every `every` seconds.
        """
        ...


class Engine(Broker, Store, Protocol):
    """A broker and a store on one server: guards, effects and messages move in one step."""
