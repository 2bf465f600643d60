"""The record under a key, as it stands in the store.

`accepted` names a message that has not ended, as far as this record knows; `done` and `failed` also say how it did.
A message that was ended by somebody who has no result to give (the broker itself, a worker without this middleware)
leaves `accepted` behind with the life of an ended one: how it ended is in the message's own record.

So does every message whose result nobody keeps, and then nothing is missing: its record only gets a life when it is
done (`quiet`), so nobody has to write that.  Where all failures are kept, their records get one, too; there the ending
itself writes `done`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from reliq import ReliqError
from reliq.ports import Record, Value


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One record; encoded as a MessagePack array, so fields are only ever appended.

    result     the encoded result of a done message; None is the result None
    elsewhere  the result was too large for this record: it is in the message's own
    trace      the traceparent of the message's publish, to which a duplicate's span can link
    quiet      of a message whose result nobody keeps: the life (ms) that the record gets when it is done, and, while
               it says `accepted`, only then
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
    quiet: int = 0

    def encode(self) -> bytes:
        return _encode(self)

    @classmethod
    def of(cls, value: Value, *, key: str) -> Entry:
        """What stands there; `ReliqError` names the key of a record that is none of ours."""
        try:
            entry = _decode(value.data)
        except msgspec.MsgspecError as error:
            raise ReliqError(
                f"The record under {key} cannot be read ({error}); a newer version may have written it. "
                f"`reliq idem rm {key}` removes it"
            ) from error
        if entry.quiet and value.expires is not None:
            return msgspec.structs.replace(entry, state="done", at=value.expires - entry.quiet)
        return entry

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
