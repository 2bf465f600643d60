"""An engine in few words, so that a contract test reads as what it proves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from reliq.policy.ids import new_id
from reliq.ports.broker import Engine
from reliq.ports.values import (
    Applied,
    Cancelled,
    Capabilities,
    Claimed,
    Delivery,
    Ended,
    Publication,
    Published,
    Receipt,
    Record,
    Settled,
    Settlement,
    State,
)
from reliq.wire.message import (
    WIRE_VERSION,
    Effect,
    Ending,
    Envelope,
    FollowUp,
    Guard,
    Incr,
    Put,
    VerdictClass,
)

End = Literal["done", "failed", "dropped"]
Kind = Literal["done", "failed", "dropped", "retry", "snooze"]
DAY = 86_400.0


class Bench:
    """Publishes, looks and checks.  What needs something that the engine does not say it has skips the test."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._hands = 0

    # --- publishing ---

    def publish(
        self,
        id: str | None = None,
        *,
        guards: Sequence[Guard] = (),
        effects: Sequence[Effect] = (),
        **fields: Any,
    ) -> str:
        """Publish what must be accepted; its id."""
        envelope = self._possible(envelope_of(id, **fields), guards, effects)
        (answer,) = self.engine.publish([Publication(envelope, tuple(guards), tuple(effects))])
        assert answer == Published(envelope.id, "accepted")
        return envelope.id

    def offer(
        self,
        id: str | None = None,
        *,
        guards: Sequence[Guard] = (),
        effects: Sequence[Effect] = (),
        **fields: Any,
    ) -> Published:
        """Publish what may be refused or a duplicate; the answer."""
        envelope = self._possible(envelope_of(id, **fields), guards, effects)
        (answer,) = self.engine.publish([Publication(envelope, tuple(guards), tuple(effects))])
        return answer

    def cancel(self, id: str, **reason: str) -> Cancelled:
        needs(self.engine, "cancel")
        return self.engine.cancel(id, **reason)

    # --- working ---

    def hand(self, lease: float = 30.0) -> Hand:
        """A new live owner."""
        self._hands += 1
        return Hand(self.engine, f"owner-{self._hands}", lease)

    def leased(self, id: str | None = None, **fields: Any) -> tuple[Hand, Delivery]:
        """A message published and claimed by an owner of its own."""
        id = self.publish(id, queue=fields.pop("queue", "own"), **fields)
        hand = self.hand()
        delivery = hand.one(self.record(id).queue)
        assert delivery.receipt.id == id
        return hand, delivery

    # --- looking ---

    def record(self, id: str) -> Record:
        record = self.engine.get(id)
        assert record is not None, f"no record of {id}"
        return record

    def state(self, id: str) -> State | None:
        record = self.engine.get(id)
        return None if record is None else record.state

    def ended(self, id: str) -> tuple[str, str | None]:
        """State and reason."""
        record = self.record(id)
        return record.state, record.reason

    def value(self, key: str) -> bytes | None:
        needs(self.engine, "engine")
        found = self.engine.store_get(key)
        return None if found is None else found.data

    def apply(self, *effects: Effect, guards: Sequence[Guard] = ()) -> Applied:
        needs(self.engine, "engine")
        return self.engine.apply(guards, effects)

    def check_books(self) -> None:
        """Accepted is the sum of all states, and nothing breaks a rule."""
        audit = self.engine.audit()
        assert audit.balanced, f"the books do not balance: {audit}"

    def _possible(self, envelope: Envelope, guards: Sequence[Guard], effects: Sequence[Effect]) -> Envelope:
        if envelope.eta is not None or envelope.delay:
            needs(self.engine, "due")
        if envelope.priority:
            needs(self.engine, "priorities")
        if guards or effects or any(ending.effects for ending in envelope.on_end):
            needs(self.engine, "engine")
        return envelope


class Hand:
    """An owner at work: it counts its claims."""

    def __init__(self, engine: Engine, name: str, lease: float) -> None:
        self.engine = engine
        self.name = name
        self.seq = 0
        engine.register(name, lease)

    def claim(
        self, *queues: str, limit: int = 10, wait: float = 0.0, settlements: Sequence[Settlement] = ()
    ) -> Claimed:
        self.seq += 1
        return self.again(*queues, limit=limit, wait=wait, settlements=settlements)

    def again(
        self,
        *queues: str,
        limit: int = 10,
        wait: float = 0.0,
        settlements: Sequence[Settlement] = (),
        seq: int | None = None,
    ) -> Claimed:
        """The last claim once more: its reply was lost."""
        return self.engine.claim(
            self.name,
            queues or ("q",),
            limit=limit,
            seq=self.seq if seq is None else seq,
            wait=wait,
            settlements=settlements,
        )

    def take(self, *queues: str, limit: int = 10) -> list[Delivery]:
        return list(self.claim(*queues, limit=limit).deliveries)

    def ids(self, *queues: str, limit: int = 10) -> list[str]:
        return [delivery.receipt.id for delivery in self.take(*queues, limit=limit)]

    def one(self, *queues: str) -> Delivery:
        """The one message that can be claimed."""
        (delivery,) = self.take(*queues, limit=1)
        return delivery

    def settle(self, delivery: Delivery | Receipt, kind: Kind = "done", **fields: Any) -> Settled:
        if fields.get("effects"):
            needs(self.engine, "engine")
        (settled,) = self.engine.settle([verdict(delivery, kind, **fields)])
        return settled

    def give_back(self, *deliveries: Delivery) -> int:
        return self.engine.give_back([delivery.receipt for delivery in deliveries])

    def crash(self, *started: Delivery, guilty: Sequence[Settlement] = ()) -> Ended:
        """The process died; `started` were begun, the rest of what it held was not."""
        return self.engine.bury(self.name, started=[d.receipt for d in started], guilty=guilty)

    def vanish(self) -> Ended:
        """The process died and nobody can tell what it had begun."""
        return self.engine.bury(self.name, started=None)


def envelope_of(id: str | None = None, *, task: str = "task", queue: str = "q", **fields: Any) -> Envelope:
    return Envelope(v=WIRE_VERSION, id=id or new_id(), task=task, queue=queue, **fields)


def verdict(delivery: Delivery | Receipt, kind: Kind = "done", **fields: Any) -> Settlement:
    receipt = delivery.receipt if isinstance(delivery, Delivery) else delivery
    for name in ("effects", "follow_ups"):
        fields[name] = tuple(fields.get(name, ()))
    return Settlement(receipt, kind, **fields)


def follow(id: str, *, takes: Literal["", "result", "id"] = "", **fields: Any) -> FollowUp:
    return FollowUp(envelope_of(id, **fields), takes)


def on_end(on: VerdictClass, *effects: Effect, follow_ups: Sequence[FollowUp] = ()) -> Ending:
    return Ending(on, tuple(effects), tuple(follow_ups))


def witness(key: str) -> Incr:
    """An effect that counts how often it was applied."""
    return Incr(key)


def told(on: VerdictClass) -> Put:
    """An effect that says for which class of ending it was applied."""
    return Put(f"told:{on}")


def needs(engine: Engine, capability: str) -> None:
    """Skip a test of something that the engine does not say it has."""
    assert capability in Capabilities.__struct_fields__
    if not getattr(engine.capabilities, capability):
        pytest.skip(f"{engine.capabilities.name} has no capability {capability!r}")
