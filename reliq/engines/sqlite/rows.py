"""A message's row, and the record that is shown of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from reliq.engines.sqlite.story import Story
from reliq.ports.values import Moved, Record, State

READY, CHARGED, DUE, LEASED, DONE, FAILED, DROPPED, TOMBSTONE = range(8)
NAMES: tuple[State, ...] = ("ready", "ready", "due", "leased", "done", "failed", "dropped")
CODES: dict[str, int] = {"done": DONE, "failed": FAILED, "dropped": DROPPED}


class Row(NamedTuple):
    """All of a message but its payload; `owner_name` comes from the owner's row."""

    seq: int
    state: int
    queue: str
    priority: int
    place: int
    owner: int | None
    fence: int
    attempt: int
    claimed: int | None
    promoted: int | None
    settled: int
    ended: int | None
    gone: int | None
    due: int
    published: int
    expires: int | None
    retries: int
    crashes: int
    snoozes: int
    cancel: int
    life: int
    max_crashes: int
    keep: int
    keep_failed: int
    keep_result: int
    id: str
    task: str
    reason: str | None
    value: bytes | None
    error: bytes | None
    erred: int
    on_end: bytes | None
    history: bytes | None
    owner_name: str | None = None

    @property
    def live(self) -> bool:
        return self.state <= LEASED

    @property
    def waiting(self) -> bool:
        return self.state <= DUE

    @property
    def ready_state(self) -> int:
        """The code of `ready` for this message: a charged one is claimed alone."""
        return CHARGED if self.crashes else READY

    def story(self) -> Story:
        return Story(self)

    def moved(self) -> Moved:
        return Moved(self.id, self.task, self.queue, NAMES[self.state], self.reason)

    def record(self, payload: bytes, *, transitions: bool = True) -> Record:
        leased = self.state == LEASED
        return Record(
            id=self.id,
            task=self.task,
            queue=self.queue,
            state=NAMES[self.state],
            priority=self.priority,
            reason=self.reason,
            published=self.published,
            due=self.due,
            expires=self.expires,
            attempt=self.attempt,
            retries=self.retries,
            crashes=self.crashes,
            snoozes=self.snoozes,
            life=self.life,
            fence=self.fence,
            owner=self.owner_name if leased else None,
            claimed=self.claimed if leased else None,
            ended=self.ended,
            gone=self.gone,
            alone=self.live and self.crashes > 0,
            cancel=bool(self.cancel),
            payload=payload,
            value=self.value,
            error=None if self.state == DONE else self.error,
            transitions=self.story().transitions() if transitions else (),
        )


COLUMNS = ", ".join(f"m.{name}" for name in Row._fields[:-1]) + ", o.name"
FROM = "FROM message m LEFT JOIN owner o ON o.id = m.owner"
_BY_ID = f"SELECT {COLUMNS} {FROM} WHERE m.id = ? AND m.state < 7"
_BY_ID_PAYLOAD = f"SELECT {COLUMNS}, m.payload {FROM} WHERE m.id = ? AND m.state < 7"


def find(execute: Any, id: str) -> Row | None:
    """The row of a message that is live or ended."""
    values = execute(_BY_ID, (id,)).fetchone()
    return None if values is None else Row._make(values)


def find_record(execute: Any, id: str) -> Record | None:
    values = execute(_BY_ID_PAYLOAD, (id,)).fetchone()
    return None if values is None else Row._make(values[:-1]).record(values[-1])


def select(execute: Any, tail: str, params: tuple[Any, ...]) -> list[Row]:
    """Rows by the rest of a statement, after its FROM."""
    return [Row._make(values) for values in execute(f"SELECT {COLUMNS} {FROM} {tail}", params).fetchall()]
