"""The record under a key, as it stands in the store.

`accepted` names a message that has not ended, as far as this record knows; `done` and `failed` also say how it did.
A message that was ended by somebody who has no result to give (the broker itself, a worker without this middleware)
leaves `accepted` behind with the life of an ended one: how it ended is in the message's own record.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from reliq import ReliqError
from reliq.ports import Record


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One record; encoded as a MessagePack array, so fields are only ever appended.

    result     the encoded result of a done message; None is the result None
    elsewhere  the result was too large for this record: it is in the message's own
    trace      the traceparent of the message's publish, to which a duplicate's span can link
    """

    state: Literal["accepted", "done", "failed"]
    id: str
    task: str
    fingerprint: str | None
    fence: int = 0
    at: int = 0
    result: bytes | None = None
    elsewhere: bool = False
    reason: str | None = None
    error: bytes | None = None
    trace: str | None = None

    def encode(self) -> bytes:
        return _encode(self)

    @classmethod
    def decode(cls, data: bytes, *, key: str) -> Entry:
        """`ReliqError` names the key of a record that is none of ours."""
        try:
            return _decode(data)
        except msgspec.MsgspecError as error:
            raise ReliqError(
                f"The record under {key} cannot be read ({error}); a newer version may have written it. "
                f"`reliq idem rm {key}` removes it"
            ) from error

    def record(self, *, queue: str) -> Record | None:
        """How the message ended, for a handle; None when that is not kept here."""
        if self.state == "accepted" or self.elsewhere:
            return None
        return Record(
            self.id,
            self.task,
            queue,
            self.state,
            reason=self.reason,
            ended=self.at,
            fence=self.fence,
            value=self.result,
            error=self.error,
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
