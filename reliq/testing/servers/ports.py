"""Free loopback ports, outside the range from which the system draws ports for clients."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

BUS = 10_000  # a cluster node also listens on its port plus this
_dice = random.SystemRandom()


def free_port() -> int:
    """A port that nobody listens on, and so is that plus `BUS`."""
    while True:
        port = _dice.randrange(10_000, 22_000)
        if _is_free(port) and _is_free(port + BUS):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
