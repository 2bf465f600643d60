"""One publish and its lock: which guards and effects go with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from reliq import PublishContext, RunContext, current
from reliq.errors import BrokerError, OptionError, PublishRefused, ReliqError
from reliq.ports import Add, Put, Remove
from reliq_once import conf
from reliq_once.digests import digest_of
from reliq_once.options import Once, engine_only, seconds
from reliq_once.ticket import HEADER, VERSION, LockRecord, Ticket, record_of, ticket_of, write

REPLACED = "replaced by the newer call {id}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a publish asks for: `take()` writes it into the context."""

    ctx: PublishContext
    once: Once
    ticket: Ticket
    inside: RunContext | None = None  # the run that holds this very key and publishes it again

    @classmethod
    def of(cls, ctx: PublishContext, once: Once) -> Place | None:
        """None: the key function says that this call needs no lock."""
        digest = digest_of(ctx, once)
        if digest is None:
            return None
        _check_engine(ctx, once)
        inside = _inside(ctx, digest)
        if inside is not None and not once.says_conflict and once.frees == "done":
            # A message never conflicts with itself: what it publishes runs after it, and once.
            once = replace(once, on_conflict="rerun", until=None, while_running=None)
        else:
            inside = None
        timeout = conf.default_timeout(ctx.app) if once.timeout is None else seconds(once.timeout)
        ticket = Ticket(
            v=VERSION,
            digest=digest,
            ttl=max(1, int(timeout * 1000)),
            frees=once.frees[0],  # type: ignore[arg-type]
            newest=once.newest,
            relock=once.relock_on_retry,
            slots=once.slots,
            busy=once.on_busy or "snooze",
            run_anyway=once.on_store_error == "run",
            hold=once.hold_on_failure,
        )
        return cls(ctx, once, ticket, inside)

    def take(self) -> None:
        """The lock is taken with the publish, and freed by whatever ends the message."""
        ctx, ticket, id = self.ctx, self.ticket, self.ctx.id
        first = self._debounce() if self.once.debounce is not None else 0
        record = LockRecord(
            VERSION, ctx.task.name, ticket.frees, ticket.hold, first, ctx.app.clock.now_ms(), ctx.trace
        )
        value = write(record)
        plain = Add(ticket.key, value, ttl=ticket.ttl, holder=id, or_dead=ticket.or_dead, from_due=True)
        guard = plain
        if ticket.newest:
            reason = REPLACED.format(id=id)
            guard = Add(
                ticket.key,
                value,
                ttl=ticket.ttl,
                holder=id,
                or_dead=ticket.or_dead,
                from_due=True,
                replaces=reason,
                or_leased=ticket.frees == "s",
            )
        ctx.headers[HEADER] = write(msgspec.structs.replace(ticket, first=first)).decode()
        ctx.with_publish(guard)
        again = plain
        if first:
            # A call that meets the replayed message begins a burst of its own, as after that message's start.
            again = msgspec.structs.replace(plain, value=write(msgspec.structs.replace(record, first=0)))
        ctx.on_replay(again)
        if ticket.newest and ticket.frees == "s":
            ctx.with_publish(Put(ticket.last, id.encode(), ttl=ticket.ttl, from_due=True))
        if self.inside is not None:  # live while that run is leased, so the new message waits for its end
            ctx.with_publish(Put(ticket.slot(0), b"", ttl=0, holder=self.inside.id))
        if ticket.frees == "e":
            return
        free = Remove(ticket.key, holder=id)
        if not ticket.hold:
            ctx.on_end("any", free)
            return
        ctx.on_end("done", free)
        ctx.on_end("dropped", free)
        ctx.on_end("failed", Put(ticket.key, value, ttl=ticket.ttl, holder=id))

    def _debounce(self) -> int:
        """Choose the due time; when this burst of calls began."""
        ctx, once = self.ctx, self.once
        assert once.debounce is not None
        if ctx.eta is not None or ctx.delay is not None:
            raise OptionError(
                f"Call of {ctx.task.name!r}: debounce chooses the due time, so countdown= and eta= cannot stand "
                "beside it"
            )
        delay, most = (int(seconds(span) * 1000) for span in once.debounce)
        now = ctx.app.clock.now_ms()
        try:
            there = ctx.store.store_get(self.ticket.key)
        except BrokerError as error:
            raise PublishRefused(f"Nothing was published: {error}") from error
        first = now
        if there is not None and there.holder != ctx.id:
            began = record_of(self.ticket.key, there).first
            first = min(now, began) or now
        ctx.delay = max(0, min(delay, first + most - now))
        return first


def _inside(ctx: PublishContext, digest: str) -> RunContext | None:
    """The run that publishes here, if it holds the same key until its end."""
    try:
        run = current()
    except ReliqError:
        return None
    if run.app is not ctx.app:
        return None
    ticket = ticket_of(run.headers)
    return run if isinstance(ticket, Ticket) and ticket.digest == digest else None


def _check_engine(ctx: PublishContext, once: Once) -> None:
    try:
        capabilities = ctx.app.broker.capabilities
    except BrokerError as error:
        raise PublishRefused(f"Nothing was published: {error}") from error
    if not capabilities.engine:
        what = " and ".join(engine_only(once)) or "QueueOnce"
        raise OptionError(
            f"Task {ctx.task.name!r}: once: {what} needs a broker that keeps locks and messages in one step (an "
            f"engine, such as sqlite:///shop.db); {capabilities.name} is none, so nothing was published"
        )
