"""What a caller or a run is told when a key is taken."""

from __future__ import annotations

from reliq import ReliqError


class IdempotencyError(ReliqError):
    """A key of idempotency is taken.

    key          the key in the store, as `reliq idem show` takes it
    existing_id  the message that the key's record names
    """

    key: str
    existing_id: str | None


class IdempotencyConflict(IdempotencyError):
    """The same call was sent before, and duplicates are refused (`on_duplicate="raise"`).

    state  where the first message is; None when its record is gone
    """

    state: str | None


class IdempotencyMismatch(IdempotencyError):
    """The key was used before with other arguments; its record is untouched."""


class IdempotencyInProgress(IdempotencyError):
    """Another message with the key is not done yet (`on_in_progress="raise"`)."""


class InboxError(ReliqError):
    """The inbox cannot keep its promise here."""
