"""Hears what the server publishes, without a clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from reliq.testing.servers import RedisServer
from reliq.testing.servers.talk import Talk


class Ear:
    """A subscriber; `heard()` has all that was said by the calls that have returned."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def heard(self) -> list[tuple[str, str]]:
        """Channel and text of what was said since the last look."""
        said = []
        answer = self._talk.do("PING")
        while answer[0] != "pong":  # it stands behind what was said before
            said.append((answer[1], answer[2]))
            answer = self._talk._answer()
        return said


@contextmanager
def listening(server: RedisServer, *channels: str) -> Iterator[Ear]:
    """Listen to these until the body is over."""
    with closing(server.talk()) as talk:
        for channel in channels:
            talk.do("SUBSCRIBE", channel)
        yield Ear(talk)
