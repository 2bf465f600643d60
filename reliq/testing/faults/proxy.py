"""A TCP proxy that does to a connection what networks do: late, slow, in pieces, cut, silent, refused.

    with Proxy(("127.0.0.1", 6379), seed=7) as proxy:
        client = connect(proxy.address)
        proxy.weather = Weather(latency=0.05, jitter=0.02, piece=1)
        proxy.reset()                       # RST to everybody who is connected

The weather may change at any time; it holds for bytes read from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Proxy", "Weather"]

Direction = Literal["up", "down"]  # up: client to server


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to the bytes of every connection.

    latency, jitter  seconds before each piece goes on, the latter drawn from 0..jitter by the proxy's seed
    bandwidth        bytes per second of each direction; 0 for no limit
    piece            bytes that are passed on at once; 0 for what was read
    cut_up, cut_down the connection is cut after so many bytes of that direction: the receiver gets just these and
                     an end, the sender a reset
    hold_reply       the first reply is read from the server, held for so many seconds, and the connection cut
    black_hole       nothing is passed on while it lasts; the sockets stay open (and, as with TCP, bytes arrive later)
    refuse           nobody listens
    """

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float = 0.0
    piece: int = 0
    cut_up: int | None = None
    cut_down: int | None = None
    hold_reply: float | None = None
    black_hole: bool = False
    refuse: bool = False


class Proxy:
    """Listens on a random loopback port and passes on to `target`; runs in a thread of its own."""

    def __init__(self, target: tuple[str, int], *, seed: int, weather: Weather | None = None) -> None:
        self.target = target
        self.seed = seed
        self.connections = 0
        self._weather = weather or Weather()
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._pairs: set[_Pair] = set()
        self._listening: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = _bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._follow_weather())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self._call(self._follow_weather())

    def reset(self) -> int:
        """Send RST to both sides of every connection; how many there were."""
        count: int = self._call(self._reset())
        return count

    def strand(self) -> int:
        """From now on nothing passes on the connections that there are, ever; new ones work.  How many there were."""
        count: int = self._call(self._strand())
        return count

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    # --- in the loop's thread ---

    async def _follow_weather(self) -> None:
        if self._weather.refuse:
            await self._stop_listening()
        elif self._listening is None:
            self._socket = self._socket or _bind(self.address)
            self._socket.listen(128)
            self._listening = self._loop.create_task(self._accept(self._socket))
        for pair in self._pairs:
            pair.weather_changed.set()

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            await _end(self._listening)
            self._listening = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _reset(self) -> int:
        pairs = list(self._pairs)
        for pair in pairs:
            pair.cut()
        await asyncio.gather(*(pair.task for pair in pairs if pair.task), return_exceptions=True)
        return len(pairs)

    async def _strand(self) -> int:
        for pair in self._pairs:
            pair.stranded = True
        return len(self._pairs)

    async def _close(self) -> None:
        await self._stop_listening()
        await self._reset()

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            self._begin(client)

    def _begin(self, client: socket.socket) -> None:
        self.connections += 1
        pair = _Pair(self, client, random.Random(self._random.random()))
        self._pairs.add(pair)
        pair.task = self._loop.create_task(pair.run())
        pair.task.add_done_callback(lambda _: self._ended(pair))

    def _ended(self, pair: _Pair) -> None:
        self._pairs.discard(pair)
        pair.close()  # not by its task, which may be cancelled before it has begun


class _Pair:
    """One client's connection and the one to the server behind it."""

    def __init__(self, proxy: Proxy, client: socket.socket, dice: random.Random) -> None:
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._dice = dice
        self._is_cut = False
        self.stranded = False
        self._passed: dict[Direction, int] = {"up": 0, "down": 0}
        self.weather_changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._client.setblocking(False)
        self._server = socket.socket()
        self._server.setblocking(False)
        try:
            await loop.sock_connect(self._server, self._proxy.target)
            for end in (self._client, self._server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump("up", self._client, self._server))
                pumps.create_task(self._pump("down", self._server, self._client))
        except* OSError:
            _reset_on_close(self._client)
            _reset_on_close(self._server)

    def close(self) -> None:
        self._client.close()
        if self._server is not None:
            self._server.close()

    def cut(self, *, spare: socket.socket | None = None) -> None:
        """End both connections with a RST, now; `spare` gets an orderly end, for a RST may overtake bytes."""
        self._is_cut = True
        for end in (self._client, self._server):
            if end is not None and end is not spare:
                _reset_on_close(end)
        if self.task is not None:
            self.task.cancel()

    async def _pump(self, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, 65536):
            await self._await_daylight()
            weather = self._proxy.weather
            if direction == "down" and weather.hold_reply is not None:
                await asyncio.sleep(weather.hold_reply)
                return self.cut()
            for piece in _pieces(data, weather.piece):
                await self._delay(len(piece))
                if self._is_cut:
                    return
                limit = weather.cut_up if direction == "up" else weather.cut_down
                room = None if limit is None else limit - self._passed[direction]
                await loop.sock_sendall(sink, piece if room is None else piece[: max(0, room)])
                self._passed[direction] += len(piece)
                if room is not None and room <= len(piece):
                    return self.cut(spare=sink)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    async def _await_daylight(self) -> None:
        while self._proxy.weather.black_hole or self.stranded:
            self.weather_changed.clear()
            await self.weather_changed.wait()

    async def _delay(self, size: int) -> None:
        weather = self._proxy.weather
        seconds = weather.latency + self._dice.random() * weather.jitter
        if weather.bandwidth:
            seconds += size / weather.bandwidth
        if seconds:
            await asyncio.sleep(seconds)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)] if size else [data]


def _reset_on_close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _bind(address: tuple[str, int]) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.setblocking(False)
    return listener


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
