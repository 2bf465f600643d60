"""Messages in the order of a key, with lazy deletion: nothing is ever searched for."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from reliq.engines.memory.message import Message

Key = tuple[int, ...]


class Heap:
    """The smallest key first.  An entry counts only while its message has not moved since it was pushed.

    Whoever moves a message leaves its old entries behind; they are dropped when they come to the top, and all at once
    whenever the heap has doubled, so that it is never larger than twice what counts (or 64 entries).
    """

    __slots__ = ("_entries", "_limit")

    def __init__(self) -> None:
        self._entries: list[tuple[Key, int, Message]] = []
        self._limit = 64

    def push(self, key: Key, message: Message) -> None:
        heappush(self._entries, (key, message.moves, message))
        if len(self._entries) > self._limit:
            self._entries = [entry for entry in self._entries if entry[2].moves == entry[1]]
            heapify(self._entries)
            self._limit = max(64, 2 * len(self._entries))

    def first(self) -> Message | None:
        entries = self._entries
        while entries:
            _, moves, message = entries[0]
            if message.moves == moves:
                return message
            heappop(entries)
        return None
