"""One publish and its lock: which guards and effects go with it."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from reliq import PublishContext, RunContext
from reliq.errors import BrokerError, OptionError, PublishRefused
from reliq.ports import Add, Put, Remove
from reliq_once.digests import digest_of
from reliq_once.options import Once, engine_only, seconds
from reliq_once.terms import Terms
from reliq_once.ticket import (
    HEADER,
    LAST,
    LOCK,
    VERSION,
    LockRecord,
    Ticket,
    record_of,
    slot_key,
    ticket_of,
    write,
)

REPLACED = "replaced by the newer call {id}"


class Place(msgspec.Struct, frozen=True, eq=False):
    """What a publish asks for: `take()` writes it into the context."""

    ctx: PublishContext
    terms: Terms
    digest: str
    key: str  # of the lock
    inside: RunContext | None = None  # the run that holds this very key and publishes it again

    @classmethod
    def of(cls, ctx: PublishContext, terms: Terms) -> Place | None:
        """None: the key function says that this call needs no lock."""
        once = terms.once
        digest = digest_of(ctx, once)
        if digest is None:
            return None
        _check_engine(ctx, once)
        inside = None if ctx.inside is None else _inside(ctx.inside, digest)
        if inside is not None and not once.says_conflict and once.frees == "done":
            # A message never conflicts with itself: what it publishes runs after it, and once.
            terms = Terms.of(ctx.app, replace(once, on_conflict="rerun", until=None, while_running=None))
        else:
            inside = None
        return cls(ctx, terms, digest, LOCK + digest, inside)

    def take(self) -> None:
        """The lock is taken with the publish, and freed by whatever ends the message."""
        ctx, key, ticket, id = self.ctx, self.key, self.terms.ticket, self.ctx.id
        first = self._debounce() if self.terms.once.debounce is not None else 0
        record = LockRecord(
            VERSION, ctx.task.name, ticket.frees, ticket.hold, first, ctx.app.clock.now_ms(), ctx.trace
        )
        value = write(record)
        plain = Add(key, value, ticket.ttl, id, or_dead=ticket.or_dead, from_due=True)
        guard = plain
        if ticket.newest:
            reason = REPLACED.format(id=id)
            guard = Add(
                key,
                value,
                ttl=ticket.ttl,
                holder=id,
                or_dead=ticket.or_dead,
                from_due=True,
                replaces=reason,
                or_leased=ticket.frees == "s",
            )
        ctx.headers[HEADER] = self.terms.header(self.digest, first)
        ctx.with_publish(guard)
        again = plain
        if first:
            # A call that meets the replayed message begins a burst of its own, as after that message's start.
            again = msgspec.structs.replace(plain, value=write(msgspec.structs.replace(record, first=0)))
        ctx.on_replay(again)
        if ticket.newest and ticket.frees == "s":
            ctx.with_publish(Put(LAST + self.digest, id.encode(), ttl=ticket.ttl, from_due=True))
        if self.inside is not None:  # live while that run is leased, so the new message waits for its end
            ctx.with_publish(Put(slot_key(self.digest, 0), b"", ttl=0, holder=self.inside.id))
        if ticket.frees == "e":
            return
        free = Remove(key, holder=id)
        if not ticket.hold:
            ctx.on_end("any", free)
            return
        ctx.on_end("done", free)
        ctx.on_end("dropped", free)
        ctx.on_end("failed", Put(key, value, ttl=ticket.ttl, holder=id))

    def _debounce(self) -> int:
        """Choose the due time; when this burst of calls began."""
        ctx, once = self.ctx, self.terms.once
        assert once.debounce is not None
        if ctx.eta is not None or ctx.delay is not None:
            raise OptionError(
                f"Call of {ctx.task.name!r}: debounce chooses the due time, so countdown= and eta= cannot stand "
                "beside it"
            )
        delay, most = (int(seconds(span) * 1000) for span in once.debounce)
        now = ctx.app.clock.now_ms()
        try:
            there = ctx.store.store_get(self.key)
        except BrokerError as error:
            raise PublishRefused(f"Nothing was published: {error}") from error
        first = now
        if there is not None and there.holder != ctx.id:
            began = record_of(self.key, there).first
            first = min(now, began) or now
        ctx.delay = max(0, min(delay, first + most - now))
        return first


def _inside(run: RunContext, digest: str) -> RunContext | None:
    """The run that publishes here, if it holds the same key until its end."""
    ticket = ticket_of(run.headers)
    return run if isinstance(ticket, Ticket) and ticket.digest == digest else None


def _check_engine(ctx: PublishContext, once: Once) -> None:
    try:
        if ctx.app.is_engine:
            return
        name = ctx.app.broker.capabilities.name
    except BrokerError as error:
        raise PublishRefused(f"Nothing was published: {error}") from error
    what = " and ".join(engine_only(once)) or "QueueOnce"
    raise OptionError(
        f"Task {ctx.task.name!r}: once: {what} needs a broker that keeps locks and messages in one step (an "
        f"engine, such as sqlite:///shop.db); {name} is none, so nothing was published"
    )
