"""A forged settlement, to see whether the proof notices."""

from __future__ import annotations

from reliq.policy.ids import new_id
from reliq.ports.broker import Broker
from reliq.ports.values import Settlement


def forge(broker: Broker, queue: str) -> str:
    """Take one message as a worker would and settle it as done without running it; its id."""
    owner = f"saboteur-{new_id()}"
    broker.register(owner, lease=60.0)
    claimed = broker.claim(owner, [queue], limit=1, seq=1)
    receipt = claimed.deliveries[0].receipt
    broker.settle([Settlement(receipt=receipt, kind="done")])
    broker.bury(owner, started=())
    return receipt.id
