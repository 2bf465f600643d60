"""The lock: a guard of the publish, an effect of every ending, and a look at the start."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from reliq import (
    Drop,
    Join,
    Middleware,
    PublishContext,
    RunContext,
    Snooze,
    Tally,
    Task,
    Verdict,
    keys,
)
from reliq.errors import BrokerError, GuardRefused, OptionError
from reliq.ports import Published, Put
from reliq_once import conf
from reliq_once.locks import lapses, orphans
from reliq_once.options import Once
from reliq_once.placing import Place
from reliq_once.refusal import refusal
from reliq_once.starting import OFF, OFF_MOST, STARTED, first_record, start
from reliq_once.terms import Terms
from reliq_once.ticket import HEADER, VERSION, Newer, Ticket, quiet_ttl, ticket_of, write

if TYPE_CHECKING:
    from reliq import Reliq

COUNTS = ("conflicts", "joins", "superseded", "busy", "lapses")
UPGRADE_AFTER = 60.0  # seconds until a message of a newer publisher is looked at again
logger = logging.getLogger("reliq.once")


class QueueOnceMiddleware(Middleware):
    """Locks for tasks with `base=QueueOnce`, and in an app's list for every task that has `once=`.

    counters  what this process saw: conflicts, joins, lapses, superseded, busy; `reliq once counters` has the app's
    """

    name = "once"
    options = frozenset({"once"})
    requires_outer = ("idempotency",)  # which joins a duplicate that this one would refuse
    settling_on = frozenset({"retry", "snooze"})

    def __init__(self) -> None:
        self.tally = Tally("once", COUNTS)
        self._apps: WeakSet[Reliq] = WeakSet()
        self._of_task: WeakKeyDictionary[Task[..., Any], Terms] = WeakKeyDictionary()
        self._said: set[tuple[str, str]] = set()

    @property
    def counters(self) -> Counter[str]:
        return self.tally.here

    def bind(self, app: Reliq) -> None:
        """Make `app.conf.ONCE` known."""
        conf.declare(app)
        self._apps.add(app)

    def checks(self) -> Iterable[str]:
        """Locks whose message is gone, and what ONCE says in vain."""
        for app in self._apps:
            if (complaint := conf.unused(app)) is not None:
                yield complaint
            yield from orphans(app)
            yield from lapses(app, self.tally)

    def check_options(self, task: Task[..., Any], options: dict[str, Any]) -> None:
        """Refuse unknown options, what contradicts itself, and key names that are no parameter."""
        if "once" in options:
            once = _merged(task, options["once"])
            keys.check_keys(task.compiled.parameters, once.keys, task=f"Task {task.name!r}")

    def shutdown(self, worker: Any) -> None:
        """Write what was counted in the last seconds."""
        self.tally.write(worker.app)

    # --- the publish ---

    def publish(self, ctx: PublishContext) -> Generator[None, Published, Drop | Join | None]:
        """Take the lock with the publish; `on_conflict` says what becomes of a call that finds it taken."""
        ctx.headers.pop(HEADER, None)  # of another message, where its headers were passed on
        terms = self._terms(ctx)
        place = None if terms is None else Place.of(ctx, terms)
        if place is None:
            yield
            return None
        place.take()
        try:
            yield
        except GuardRefused as refused:
            if getattr(refused.guard, "key", None) != place.key:
                raise
            conflict = refusal(ctx, place, refused)
            answer = place.terms.once.conflict
            if answer == "join" and conflict.existing_id is not None:
                self.tally.add(ctx.app, "conflicts", "joins")
                return Join(conflict.existing_id)
            self.tally.add(ctx.app, "conflicts")
            if answer != "drop":
                raise conflict from None
            drop = Drop(conflict.message)
            drop.existing_id = conflict.existing_id  # type: ignore[attr-defined]
            return drop
        return None

    def _terms(self, ctx: PublishContext) -> Terms | None:
        """What holds for this call: the task's options with those of the call over them."""
        task = ctx.task
        given = ctx.options.get("once")
        if given is not None and given is not task.middleware_options.get("once"):
            return Terms.of(ctx.app, _merged(task, given))
        terms = self._of_task.get(task)
        if terms is not None and terms.revision == ctx.app.conf.revision:
            return terms
        if not _always(task):
            if task.name not in ctx.app.tasks:
                self._say(
                    task.name, "is not registered here, so it is sent without a lock; give once= to take one"
                )
            return None
        terms = self._of_task[task] = Terms.of(ctx.app, _merged(task, None))
        return terms

    # --- the run ---

    def prerun(self, ctx: RunContext) -> Verdict | None:
        """Free the lock if it is free from the start, take a slot if runs are counted, give way to a newer call."""
        header = ctx.headers.get(HEADER)
        if header is None:
            return None
        ttl, delivery = quiet_ttl(header), ctx.delivery
        if ttl is not None and not delivery.crashes and ctx.app.clock.now_ms() - delivery.due < ttl:
            return None  # as nearly always: the lock stands for certain, and the run asks nothing of it
        ticket = ticket_of(ctx.headers)
        if ticket is None:
            return None
        if isinstance(ticket, Newer):
            return Snooze(
                UPGRADE_AFTER,
                reason=f"its once-lock has version {ticket.v}, this worker reads {VERSION}: upgrade the workers first",
            )
        try:
            return start(ctx, ticket, self.tally)
        except BrokerError as error:
            if ticket.run_anyway:
                logger.warning("message %s runs though its lock could not be looked at: %s", ctx.id, error)
                return None
            wait = min(OFF_MOST, OFF * 2 ** min(ctx.delivery.snoozes, 10))
            return Snooze(wait, reason=f"its once-lock cannot be looked at: {error}")

    def settling(self, ctx: RunContext, verdict: Verdict) -> None:
        """A message that comes again keeps its lock until then and a timeout more."""
        started = ctx.state.get(STARTED)
        ticket = ticket_of(ctx.headers)
        if not isinstance(ticket, Ticket):
            return
        if started is not None and ticket.lets_go and not ticket.relock:
            return
        # Not a Touch: what has run, or waited, for longer than the timeout has a record that is live while the message
        # is leased, and lapses in the moment of this settlement.
        record = first_record(ctx, ticket) if started is None else started.record
        ctx.with_settlement(Put(ticket.key, write(record), ttl=ticket.ttl, holder=ctx.id, from_due=True))

    def _say(self, name: str, what: str) -> None:
        if (name, what) not in self._said:
            self._said.add((name, what))
            logger.warning("task %s %s", name, what)


def options_of(task: Task[..., Any]) -> Once | None:
    """What holds for every call of a task; None: it takes no lock."""
    return _merged(task, None) if _always(task) else None


def _always(task: Task[..., Any]) -> bool:
    return task.middleware_options.get("once") is not None or getattr(type(task), "always_once", False)


def _merged(task: Task[..., Any], given: Any) -> Once:
    """The options of a call over those of its task, checked together."""
    where, own = f"Task {task.name!r}", task.middleware_options.get("once")
    once = Once.build(own, where=where)
    if given is None or given is own:
        return once
    if given is False:
        raise OptionError(
            f"{where}: once=False is no option; once={{'key': lambda *a, **k: None}} takes no lock"
        )
    return once.over(given, where=where)
