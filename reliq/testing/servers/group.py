"""A master, its replicas, and the sentinels that watch them."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

from reliq.testing.servers.binaries import Binary
from reliq.testing.servers.certificates import Certificates
from reliq.testing.servers.process import until
from reliq.testing.servers.single import RedisServer
from reliq.testing.servers.talk import Said

__all__ = ["SentinelGroup"]

# ms without an answer before a sentinel holds a server for dead.  It asks every second, the first time a second after
# it has turned to a server, so with less it takes each new master for dead as well.
_DOWN_AFTER = 1500


class SentinelGroup:
    """Three servers, one of them the master, and three sentinels, two of which must agree; with `name` as the service.

    Seconds to start, so one group serves many tests: `heal()` makes it whole again after a fail-over.

    appendonly         a master that keeps nothing and is started again empties all
    password           of the servers
    sentinel_password  of the sentinels, which have one of their own
    tls                all of them speak TLS with all, of one authority; needs a binary that has it
    """

    def __init__(
        self,
        *,
        name: str = "reliq",
        replicas: int = 2,
        appendonly: Literal["no", "everysec", "always"] = "no",
        password: str | None = None,
        sentinel_password: str | None = None,
        tls: bool = False,
        binary: Binary | None = None,
    ) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="reliq-"))
        self.certificates = Certificates.make(self.folder) if tls else None
        self.sentinels: Sequence[RedisServer] = []
        self.password = password
        self.sentinel_password = sentinel_password
        self._binary = binary
        settings = {"tls-replication": "yes"} if tls else {}
        if password:
            settings["masterauth"] = password
        self.servers = [
            RedisServer(
                binary=binary,
                appendonly=appendonly,
                password=password,
                tls=self.certificates or False,
                settings=settings,
            )
            for _ in range(1 + replicas)
        ]

    def __enter__(self) -> SentinelGroup:
        try:
            for server in self.servers:
                server.start()
            for server in self.servers[1:]:
                server.follow(self.servers[0])
            self.sentinels = _sentinels(self, self._binary)
            for sentinel in self.sentinels:
                sentinel.start()
            everyone = len(self.servers) - 1
            until(lambda: self._mends() and self._sees(everyone), seconds=60, what=self._tails)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all of them; twice is harmless."""
        for server in (*self.sentinels, *self.servers):
            server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """`redis+sentinel://HOST:PORT,HOST:PORT,HOST:PORT/NAME`, with all that is needed to log in."""
        hosts = ",".join(f"{host}:{port}" for host, port in (s.peer_address for s in self.sentinels))
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        query = {}
        if self.sentinel_password:
            query["sentinel_password"] = self.sentinel_password
        if self.certificates:
            query["ssl_ca_certs"] = str(self.certificates.authority)
        scheme = "rediss" if self.certificates else "redis"
        return f"{scheme}+sentinel://{login}{hosts}/{self.name}" + (f"?{urlencode(query)}" if query else "")

    @property
    def master(self) -> RedisServer:
        """The server that the sentinels call the master now."""
        host, port = self._asked().do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return next(s for s in self.servers if s.peer_address == (host, int(port)))

    @property
    def replicas(self) -> list[RedisServer]:
        """The others that run."""
        master = self.master
        return [server for server in self.servers if server is not master and server.running]

    def fail_over(self, *, seconds: float = 30.0) -> RedisServer:
        """Have the sentinels promote a replica while the master lives; the new master, when all agree on it."""
        old = self.master
        until(
            self._is_asked_to_fail_over,
            seconds=seconds,
            what=lambda: f"no fail-over was begun\n{self._tails()}",
        )
        return self._await_promotion(old, seconds)

    def kill_master(self, *, wait: bool = True, seconds: float = 30.0) -> RedisServer:
        """SIGKILL the master; the new one, when all sentinels agree on it (without `wait`: the dead one, at once)."""
        old = self.master
        old.kill()
        return self._await_promotion(old, seconds) if wait else old

    def heal(self) -> None:
        """Start what was killed, as replicas of the present master, and wait until nothing is missing."""
        for sentinel in self.sentinels:
            sentinel.resume()
            if not sentinel.running:
                sentinel.start()
        if any(server.running for server in self.servers):
            # A master started again before another took its place would be one without data, for all to copy.
            until(lambda: self.master.running, seconds=30, what=self._tails)
        for server in self.servers:
            server.resume()
            if not server.running:
                server.start()
        # Sentinels finish what they have begun first, and would undo what is mended meanwhile.  To see a server again
        # takes them up to ten seconds; one replica is enough for the next fail-over.
        until(lambda: self._agrees() and self._mends() and self._sees(1), seconds=60, what=self._tails)

    def flush(self) -> None:
        """Empty the master, and with it its replicas."""
        self.master.flush()

    def _asked(self) -> RedisServer:
        return next(sentinel for sentinel in self.sentinels if sentinel.running)

    def _is_asked_to_fail_over(self) -> bool:
        try:
            self._asked().do("SENTINEL", "FAILOVER", self.name)
        except Said as error:  # NOGOODSLAVE, INPROG: not yet
            if str(error).startswith(("NOGOODSLAVE", "INPROG")):
                return False
            raise
        return True

    def _await_promotion(self, old: RedisServer, seconds: float) -> RedisServer:
        until(
            lambda: self._agrees() and self.master is not old,
            seconds=seconds,
            what=lambda: f"no new master\n{self._tails()}",
        )
        return self.master

    def _agrees(self) -> bool:
        """Whether all sentinels name one running master, and it knows that it is one."""
        running = [sentinel for sentinel in self.sentinels if sentinel.running]
        named = {str(s.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)) for s in running}
        master = self.master
        return len(named) == 1 and master.running and master.info("replication")["role"] == "master"

    def _sees(self, replicas: int) -> bool:
        """Whether every sentinel sees its master, all others and so many replicas at work."""
        for sentinel in self.sentinels:
            master = _fields(sentinel.do("SENTINEL", "MASTER", self.name))
            seen = [_fields(said) for said in sentinel.do("SENTINEL", "REPLICAS", self.name)]
            if (
                master["flags"] != "master"
                or int(master["num-other-sentinels"]) != len(self.sentinels) - 1
                or sum(replica["flags"] == "slave" for replica in seen) < replicas
            ):
                return False
        return True

    def _mends(self) -> bool:
        """Have those follow the master that do not; whether all are in step with it."""
        master, in_step = self.master, True
        for server in self.servers:
            if server is master:
                continue
            info = server.info("replication")
            at = (info.get("master_host"), int(info.get("master_port", 0)))
            if at != master.peer_address:
                server.do("REPLICAOF", *master.peer_address)
            in_step &= at == master.peer_address and info.get("master_link_status") == "up"
        return in_step

    def _tails(self) -> str:
        running = [s for s in (*self.sentinels, *self.servers) if s.running]
        return "\n\n".join(f"{s.address}:\n{s.process.tail(12)}" for s in running)


class _Sentinel(RedisServer):
    """A server that keeps its whole state in its configuration file."""

    def __init__(self, group: SentinelGroup, binary: Binary | None) -> None:
        super().__init__(
            binary=binary,
            password=group.sentinel_password,
            tls=group.certificates or False,
            settings={"tls-replication": "yes"} if group.certificates else {},
        )
        self.id = secrets.token_hex(20)
        self.first: Sequence[str] = ()  # what the file says before the first start

    def _arguments(self) -> list[str | Path]:
        conf = self.folder / "sentinel.conf"
        if not conf.exists():
            conf.write_text("".join(f"{line}\n" for line in self.first))
        return [conf, "--sentinel"]

    def lines(self) -> Iterator[str]:
        """Where it listens."""
        yield f"port {self.address[1]}"
        yield "bind 127.0.0.1"
        yield f"unixsocket {self.socket}"
        yield f"dir {self.folder}"
        if self.password:
            yield f'requirepass "{self.password}"'
            yield f'sentinel sentinel-pass "{self.password}"'
        if self.certificates is not None:
            yield f"tls-port {self.peer_address[1]}"
            yield "tls-replication yes"
            yield from (f"{name} {value}" for name, value in self.certificates.settings().items())


def _sentinels(group: SentinelGroup, binary: Binary | None) -> list[_Sentinel]:
    """Sentinels that know one another and the replicas from the start: to find out by themselves takes them seconds."""
    name, sentinels = group.name, [_Sentinel(group, binary) for _ in range(3)]
    host, port = group.servers[0].peer_address
    watched = [
        f"monitor {name} {host} {port} 2",
        f"down-after-milliseconds {name} {_DOWN_AFTER}",
        f"failover-timeout {name} 2000",
        f"parallel-syncs {name} 2",
        *([f'auth-pass {name} "{group.password}"'] if group.password else []),
        *(f"known-replica {name} {s.peer_address[0]} {s.peer_address[1]}" for s in group.servers[1:]),
    ]
    for sentinel in sentinels:
        others = [other for other in sentinels if other is not sentinel]
        known = [f"known-sentinel {name} {o.peer_address[0]} {o.peer_address[1]} {o.id}" for o in others]
        told = [f"sentinel {line}" for line in (f"myid {sentinel.id}", *watched, *known)]
        sentinel.first = (*sentinel.lines(), *told)
    return sentinels


def _fields(said: Sequence[str]) -> dict[str, str]:
    return dict(zip(said[::2], said[1::2], strict=True))
