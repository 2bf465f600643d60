"""A redis-server of a test's own."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

from reliq.testing.servers.binaries import Binary, find_redis
from reliq.testing.servers.certificates import Certificates
from reliq.testing.servers.ports import free_port
from reliq.testing.servers.process import ServerFailed, ServerProcess, until
from reliq.testing.servers.talk import Said, Talk, Word
from reliq.testing.servers.tls_front import TlsFront

__all__ = ["RedisServer"]

Way: TypeAlias = Literal["tcp", "unix", "tls"]
_READY = ("Ready to accept connections", "The server is now ready to accept", "Sentinel ID is")
_TAKEN = ("Address already in use", "Failed listening on port")
_TRIES = 5


class RedisServer:
    """A server on a random loopback port with its data in a temporary folder, ended with this process.

    appendonly  how a write is kept: no (in memory alone), everysec, always
    maxmemory   bytes; `policy` says what happens then
    password    of the default user
    users       ACL rules by name, say {"shop": ">secret ~{reliq:shop}* &* +@all"}; the kit keeps a user of its own
    tls         speak TLS on `tls_address` as well, with a throw-away authority in `certificates` or the one given
    settings    anything else for its configuration file
    binary      the one to run, else `find_redis()`

    redis-server listens on `address`, on `socket` and, with TLS, on `tls_address`; its output is in `log`.
    """

    def __init__(
        self,
        *,
        appendonly: Literal["no", "everysec", "always"] = "no",
        maxmemory: int | None = None,
        policy: str = "noeviction",
        password: str | None = None,
        users: Mapping[str, str] | None = None,
        tls: bool | Certificates = False,
        settings: Mapping[str, str] | None = None,
        binary: Binary | None = None,
    ) -> None:
        self.binary = binary or find_redis()
        self.password = password
        # Short: a unix socket's path has room for about a hundred characters.
        self.folder = Path(tempfile.mkdtemp(prefix="reliq-"))
        self.socket = self.folder / "s"
        self.log = self.folder / "log"
        self.address = ("127.0.0.1", free_port())
        self.tls_address: tuple[str, int] | None = None
        self.certificates: Certificates | None = None
        self._admin = ("default", password or "")
        self._process: ServerProcess | None = None
        self._front: TlsFront | None = None
        self._settings = {
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no" if appendonly == "no" else "yes",
            "appendfsync": "everysec" if appendonly == "no" else appendonly,
            "maxmemory-policy": policy,
            "repl-diskless-sync-delay": "0",  # a replica of a test is not one of many that come soon
        }
        if maxmemory is not None:
            self._settings["maxmemory"] = str(maxmemory)
        if password is not None:
            self._settings["requirepass"] = password
        if users is not None:
            self._settings["aclfile"] = str(self._write_users(users))
        if self.binary.name == "valkey" or self.binary.version >= (7,):
            self._settings["enable-debug-command"] = "local"
        if tls:
            self.certificates = Certificates.make(self.folder) if tls is True else tls
            self.tls_address = ("127.0.0.1", free_port())
        self._settings |= settings or {}

    # --- life ---

    def __enter__(self) -> RedisServer:
        if self._process is None:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, seconds: float = 10.0) -> None:
        """Start it and wait until it answers; again after `stop` or `kill`: same ports, same data.

        `ServerFailed` with its log, also where that takes longer than `seconds`.
        """
        for attempt in range(_TRIES):
            try:
                self._process = self._started(seconds)
                break
            except ServerFailed as error:
                # Between our look for a free port and its start somebody else took it.
                if attempt == _TRIES - 1 or not any(words in str(error) for words in _TAKEN):
                    raise
                self.address = ("127.0.0.1", free_port())
        if self.tls_address is not None and not self.binary.has_tls:
            assert self.certificates is not None
            self._front = TlsFront(self.tls_address[1], self.address, self.certificates.serve())

    def stop(self) -> None:
        """End it in order: what it confirmed is on disk where `appendonly` says so."""
        self.resume()
        self._shut()
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """`stop` and `start`."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: the sockets stay open and nobody answers."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its folder; twice is harmless."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def process(self) -> ServerProcess:
        if self._process is None:
            raise ServerFailed(f"the server in {self.folder} is not running; start() it")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_status is None

    # --- how to reach it ---

    @property
    def url(self) -> str:
        """By TCP, as the default user."""
        return self.url_for("tcp")

    def url_for(
        self,
        way: Way = "tcp",
        *,
        user: str = "",
        password: str | None = None,
        db: int = 0,
        address: tuple[str, int] | None = None,
        **options: object,
    ) -> str:
        """Its URL by TCP, unix socket or TLS; through `address`, say a proxy's; as `user`.  `options` are the query."""
        secret = self.password if password is None else password
        login = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if secret else ""
        if way == "unix":
            options = {"db": db, **options} if db else options
            return f"unix://{login}{quote(str(self.socket))}" + _query(options)
        if way == "tls":
            assert self.certificates is not None, "start it with tls=True"
            options = {"ssl_ca_certs": self.certificates.authority, **options}
        host, port = address or (self.tls_address if way == "tls" else None) or self.address
        return f"{'rediss' if way == 'tls' else 'redis'}://{login}{host}:{port}/{db}" + _query(options)

    # --- how to steer it ---

    def do(self, *words: Word) -> Any:
        """One command as its administrator; text, numbers, None and lists of them.  `Said` where it refuses."""
        # A connection for each: a kept one would have to survive kills, fail-overs and CLIENT KILL.
        talk = self.talk()
        try:
            return talk.do(*words)
        finally:
            talk.close()

    def talk(self) -> Talk:
        """A connection as its administrator, for what belongs to a connection (MULTI, BLPOP, ...); close it."""
        user, password = self._admin
        return Talk(self.socket, user="" if user == "default" else user, password=password)

    @property
    def peer_address(self) -> tuple[str, int]:
        """Where servers of its group reach it."""
        ciphered = self._settings.get("tls-replication") == "yes"
        return self.tls_address if ciphered and self.tls_address is not None else self.address

    def info(self, section: str = "everything") -> dict[str, str]:
        """`INFO`, as name and value."""
        lines = str(self.do("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def flush(self) -> None:
        """Empty all its databases."""
        self.do("FLUSHALL", "SYNC")

    def replica(self) -> RedisServer:
        """A new server that follows this one and is in step with it; read-only, as replicas are."""
        settings = {"masterauth": self.password} if self.password else {}
        follower = RedisServer(password=self.password, settings=settings, binary=self.binary)
        follower.start()
        follower.follow(self)
        return follower

    def follow(self, master: RedisServer | None) -> None:
        """Become the replica of `master` and wait until it is in step; None: a master of its own."""
        if master is None:
            self.do("REPLICAOF", "NO", "ONE")
            return
        self.do("REPLICAOF", *master.peer_address)
        until(
            lambda: self.info("replication").get("master_link_status") == "up",
            seconds=15,
            what=lambda: f"{self.address} does not follow {master.peer_address}:\n{self.process.tail()}",
        )

    # --- parts ---

    def _started(self, seconds: float) -> ServerProcess:
        process = ServerProcess([self.binary.path, *self._arguments()], ready=_READY, log=self.log)
        process.await_ready(seconds)
        return process

    def _arguments(self) -> list[str | Path]:
        """Its configuration file, newly written, and flags."""
        conf = self.folder / "redis.conf"
        conf.write_text("".join(f'{key} "{value}"\n' for key, value in self._configuration().items()))
        return [conf]

    def _configuration(self) -> dict[str, str]:
        found = {"port": str(self.address[1]), **self._settings}
        if self.tls_address is not None and self.binary.has_tls:
            assert self.certificates is not None
            found |= {"tls-port": str(self.tls_address[1]), **self.certificates.settings()}
        return found

    def _write_users(self, users: Mapping[str, str]) -> Path:
        self._admin = ("reliq-test-kit", secrets.token_hex(16))
        everything = {"default": "on nopass ~* &* +@all"} | dict(users)
        everything[self._admin[0]] = f"on >{self._admin[1]} ~* &* +@all"
        path = self.folder / "users.acl"
        path.write_text("".join(f"user {name} {rules}\n" for name, rules in everything.items()))
        return path

    def _shut(self) -> None:
        if not self.running:
            return
        with contextlib.suppress(OSError, Said):
            self.do("SHUTDOWN", "NOSAVE")  # at once; a SIGTERM is looked at ten times a second

    def _end(self, signum: int) -> None:
        if self._front is not None:
            self._front.close()
            self._front = None
        if self._process is not None:
            self._process.end(signum)
            self._process = None


def _query(options: Mapping[str, object]) -> str:
    return "?" + urlencode({name: str(value) for name, value in options.items()}, safe="/") if options else ""
