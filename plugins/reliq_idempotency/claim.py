"""What the inboxes have in common: which key, and how a result is kept and given back.

The key of an inbox row is that of the run (`current().idempotency_key`: the call's key, or the message's id), and
`step` where one task has several blocks.  A row that is done ends the run with the result it kept; so the effects in
the transaction of the row are there once or not at all.
"""

from __future__ import annotations

from typing import Any, TypeVar

from reliq import Done, RunContext, current
from reliq_idempotency.errors import InboxError

T = TypeVar("T")

MAX_STEP = 64
NULL = b"null"


class Claim:
    """One pass through an inbox block.

    key    the key of the row
    value  what the task returns when this work is found done: set by `keep`
    """

    def __init__(self, *, step: str = "") -> None:
        if len(step) > MAX_STEP:
            raise InboxError(f"step is a text of at most {MAX_STEP} characters, got {step!r}")
        self._ctx: RunContext = current()
        self.step = step
        self.key = self._ctx.idempotency_key
        self.fence = self._ctx.fence
        self.value: Any = None

    def keep(self, value: T) -> T:
        """Keep what the task is going to return, with the effects: `return box.keep(receipt)`."""
        self.value = value
        return value

    def _encoded(self) -> bytes:
        return self._ctx.task.compiled.encode_result(self.value)

    def _replay(self, data: bytes | None) -> Done:
        """The verdict that ends a run whose work was committed by an earlier one."""
        return Done(self._ctx.task.compiled.decode_result(data or NULL))

    def _ended_outside(self) -> InboxError:
        return InboxError(
            f"The transaction of the inbox was ended inside its block (message {self._ctx.id}): effects may be "
            "committed without their mark, and happen again when the message runs again. Commit nothing inside; the "
            "end of the block does"
        )

    def _done_in_a_block(self) -> InboxError:
        return InboxError(
            f"raise Done(...) leaves your transaction by an exception, which rolls the effects of message "
            f"{self._ctx.id} back; write `return box.keep(value)`"
        )
