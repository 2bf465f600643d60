"""TLS in front of a server whose binary has none, as stunnel or a cloud's gateway would do it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading

__all__ = ["TlsFront"]


class TlsFront:
    """Accepts TLS on a loopback port and passes the plain bytes on to `target`; in a thread of its own."""

    def __init__(self, port: int, target: tuple[str, int], context: ssl.SSLContext) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls-front", daemon=True)
        self._thread.start()
        begin = asyncio.start_server(self._serve, "127.0.0.1", port, ssl=context)
        self._server = asyncio.run_coroutine_threadsafe(begin, self._loop).result(timeout=10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.CancelledError):
            answers, inner = await asyncio.open_connection(*self._target)
            pumps = [
                asyncio.ensure_future(_pump(reader, inner)),
                asyncio.ensure_future(_pump(answers, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
        for end in (writer, inner):
            if end is not None:
                end.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
