"""Answers that no Redis gives end the connection: what follows them would not be for who reads it."""

from __future__ import annotations

import socket
import time

import pytest

from reliq.engines.redis.link import Link
from reliq.engines.redis.resp import PythonReader
from reliq.errors import BrokerUnavailable


@pytest.mark.parametrize("python", [True, False], ids=["python", "hiredis"])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b":abc\r\n"])
def test_an_answer_that_is_none_of_redis_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, python: bool, answer: bytes
) -> None:
    if python:
        monkeypatch.setattr("reliq.engines.redis.link.reader", PythonReader)
    else:
        pytest.importorskip("hiredis")
    ours, theirs = socket.socketpair()
    link = Link(ours, where="there", tls=False, on_close=ours.close)
    call = link.send(b"request", time.monotonic() + 5)
    theirs.sendall(answer)
    with pytest.raises(BrokerUnavailable, match="no answer of Redis"):
        link.result(call, time.monotonic() + 5)
    theirs.close()


def test_an_answer_that_nobody_asked_for_is_nobodys() -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours, where="there", tls=False, on_close=ours.close)
    theirs.sendall(b"+one\r\n+two\r\n+three\r\n")
    assert link.result(link.send(b"request", time.monotonic() + 5), time.monotonic() + 5) == b"one"
    listening = link.listen()
    link.wait(listening, time.monotonic() + 5)
    assert link.broken == "it answers what nobody has asked"
    with pytest.raises(BrokerUnavailable, match="nobody has asked"):
        link.send(b"request", time.monotonic() + 5)
    theirs.close()
