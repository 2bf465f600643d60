"""All messages and where each is.  A move keeps state, place, counters and log together; nothing else moves one."""

from __future__ import annotations

from collections import Counter, deque
from heapq import heappop, heappush

from reliq.engines.memory.heap import Heap
from reliq.engines.memory.message import Message
from reliq.engines.memory.owner import Owner
from reliq.ports.values import State, Transition
from reliq.wire.message import Envelope

WINDOW = 60_000  # ms in which the same random id is a duplicate
CHOSEN_WINDOW = 86_400_000


class Line:
    """The live messages of one queue."""

    __slots__ = ("charged", "count", "due", "ready")

    def __init__(self) -> None:
        self.ready = Heap()  # by (-priority, place)
        self.charged = Heap()  # the ready ones that are claimed alone, likewise
        self.due = Heap()  # by (due, accepted)
        self.count: Counter[str] = Counter()


class Messages:
    """One engine's messages.  `now` is the moment of the present step."""

    def __init__(self) -> None:
        self.now = 0
        self.by_id: dict[str, Message] = {}
        self.lines: dict[str, Line] = {}
        self.expiring = Heap()  # waiting ones that have an `expires`
        self.ended = Heap()  # ended ones, by the end of their record's life
        self.accepted = 0
        self.endings: Counter[State] = Counter()  # how often each ended state was reached (less the replays)
        self.to_finish: deque[tuple[Message, State, bytes | None]] = (
            deque()
        )  # ended, but `on_end` is still to apply
        self.waits = self.ends = 0  # how often a message began to wait, ended: who blocks looks here
        self._last_place = 0
        self._tombstones: dict[str, int] = {}
        self._tombstone_ends: list[tuple[int, str]] = []

    def known(self, id: str) -> bool:
        """Whether a publish of this id is a duplicate."""
        return id in self.by_id or self._tombstones.get(id, 0) > self.now

    # --- moves ---

    def accept(self, envelope: Envelope, payload: bytes) -> Message:
        """A new message, ready or due."""
        due = due_time(envelope, self.now)
        self.accepted += 1
        message = Message(
            envelope, payload, envelope.queue, self.accepted, self.now, due, expiry(envelope, self.now, due)
        )
        self.by_id[message.id] = message
        if due > self.now:
            self._wait(message, "due", message.reason)
        else:
            message.place = self._next_place()
            self._wait(message, "ready", message.reason)
        return message

    def promote(self, message: Message) -> None:
        """A due message becomes ready, behind those that are."""
        message.place = self._next_place()
        self._wait(message, "ready")

    def lease(self, message: Message, owner: Owner) -> None:
        message.attempt += 1
        message.fence = max(message.fence + 1, self.now * 1000)
        self._enter(message, "leased")
        message.owner = owner
        message.claimed = self.now
        owner.held[message.id] = message
        self._log(message, "leased")

    def postpone(self, message: Message, due: int, reason: str | None, error: bytes | None = None) -> None:
        """A leased message waits until `due`."""
        message.due = max(due, self.now)
        self._wait(message, "due", reason, error)

    def return_(self, message: Message, *, refund: bool, reason: str | None = None) -> None:
        """A leased message is ready again at its old place."""
        message.attempt -= refund
        self._wait(message, "ready", reason, log="given_back")

    def end(
        self,
        message: Message,
        state: State,
        reason: str | None,
        *,
        value: bytes | None = None,
        error: bytes | None = None,
    ) -> None:
        """A live message ends; whoever makes the step must then apply what it left in `to_finish`."""
        envelope, holder = message.envelope, message.owner
        message.value = value if envelope.keep_result else None
        message.error = None if state == "done" else error if error is not None else message.error
        message.ended = self.now
        message.gone = self.now + (envelope.keep_failed if state == "failed" else envelope.keep)
        self._enter(message, state, reason)
        self._log(message, state, error, holder)
        self.endings[state] += 1
        self.ends += 1
        self.ended.push((message.gone, message.accepted), message)
        self.to_finish.append((message, state, value))

    def revive(self, message: Message, queue: str) -> None:
        """A failed message starts a new life, behind those that are ready."""
        self.endings["failed"] -= 1
        message.attempt = message.retries = message.crashes = message.snoozes = 0
        message.life += 1
        message.expires = message.ended = message.gone = message.value = message.error = None
        message.cancel = False
        message.due = self.now
        message.queue = queue
        message.place = self._next_place()
        self._wait(message, "ready", "replayed")

    def forget(self, message: Message) -> None:
        """The record of an ended message goes; its id stays a duplicate until its window is over."""
        del self.by_id[message.id]
        message.moves += 1
        window = CHOSEN_WINDOW if message.envelope.chosen else WINDOW
        if (until := message.published + window) > self.now:
            self._tombstones[message.id] = until
            heappush(self._tombstone_ends, (until, message.id))

    def drop_tombstones(self) -> None:
        while self._tombstone_ends and self._tombstone_ends[0][0] <= self.now:
            until, id = heappop(self._tombstone_ends)
            if self._tombstones.get(id) == until:
                del self._tombstones[id]

    # --- what every move has in common ---

    def _wait(
        self,
        message: Message,
        state: State,
        reason: str | None = None,
        error: bytes | None = None,
        log: str | None = None,
    ) -> None:
        self.waits += 1
        holder = message.owner
        line = self._enter(message, state, reason)
        if error is not None:
            message.error = error
        if state == "due":
            line.due.push((message.due, message.accepted), message)
        else:
            heap = line.charged if message.charged else line.ready
            heap.push((-message.envelope.priority, message.place), message)
        if message.expires is not None:
            self.expiring.push((message.expires, message.accepted), message)
        self._log(message, log or state, error, holder)

    def _enter(self, message: Message, state: State, reason: str | None = None) -> Line:
        """Leave the old state, be in the new one."""
        if message.moves and message.live:
            self._leave(message)
        message.state = state
        message.reason = reason
        message.moves += 1
        line = self.lines.get(message.queue) or Line()
        if message.live:
            self.lines[message.queue] = line
            line.count[state] += 1
        return line

    def _leave(self, message: Message) -> None:
        line = self.lines[message.queue]
        line.count[message.state] -= 1
        if not any(line.count.values()):
            del self.lines[message.queue]
        if message.owner is not None:
            del message.owner.held[message.id]
            message.owner = message.claimed = None

    def _next_place(self) -> int:
        self._last_place += 1
        return self._last_place

    def _log(
        self, message: Message, to: str, error: bytes | None = None, holder: Owner | None = None
    ) -> None:
        owner = message.owner or holder
        message.log.append(
            Transition(
                self.now,
                to,
                message.reason,
                None if owner is None else owner.name,
                message.attempt,
                message.fence,
                message.due if to == "due" else None,
                error,
            )
        )


def due_time(envelope: Envelope, now: int) -> int:
    if envelope.eta is not None:
        return max(now, envelope.eta)
    return now + max(0, envelope.delay or 0)


def expiry(envelope: Envelope, now: int, due: int) -> int | None:
    """The earliest of what the envelope says."""
    moments = []
    if envelope.expires is not None:
        moments.append(envelope.expires)
    if envelope.expires_in is not None:
        moments.append(now + envelope.expires_in)
    if envelope.expires_after_due is not None:
        moments.append(due + envelope.expires_after_due)
    return min(moments, default=None)
