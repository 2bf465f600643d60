"""Publishing: each item is refused, a duplicate, or accepted with all that belongs to it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from reliq.engines.memory.guards import apply_effects, first_refused, take
from reliq.engines.memory.memory import Memory
from reliq.errors import UndecodableMessage
from reliq.ports.values import Publication, Published
from reliq.wire.codec import HARD_MAX_MESSAGE, encode
from reliq.wire.message import Envelope, FollowUp
from reliq.wire.splice import splice


def publish_one(memory: Memory, publication: Publication) -> Published:
    """The caller then finishes what the effects ended."""
    envelope, messages = publication.envelope, memory.messages
    if messages.known(envelope.id):
        return Published(envelope.id, "duplicate")
    try:
        payload = encode(envelope, limit=HARD_MAX_MESSAGE)
    except (ValueError, TypeError) as error:
        return Published(envelope.id, "refused", error=str(error))
    if (found := first_refused(memory, publication.guards)) is not None:
        return Published(envelope.id, "refused", found=found)

    message = messages.accept(envelope, payload)
    take(memory, publication.guards, message.due)
    apply_effects(memory, publication.effects, message.due)
    return Published(envelope.id, "accepted")


def follow_up(memory: Memory, follow_up: FollowUp, parent: str, result: bytes | None) -> None:
    """Publish what follows from a message's step, unless that was done before.

    Without a limit of size: one that grew too large by its result is accepted and quarantined by the worker, whereas
    one refused here would make a chain hang.
    """
    if memory.messages.known(follow_up.envelope.id):
        return
    envelope = _filled(follow_up, parent, result)
    memory.messages.accept(envelope, encode(envelope, limit=1 << 62))


def _filled(follow_up: FollowUp, parent: str, result: bytes | None) -> Envelope:
    if not follow_up.takes:
        return follow_up.envelope
    value = msgspec.json.encode(parent) if follow_up.takes == "id" else result or b"null"
    try:
        return replace(follow_up.envelope, body=splice(follow_up.envelope.body, value))
    except UndecodableMessage:
        return follow_up.envelope  # accepted as it is, so that the worker quarantines it for all to see
