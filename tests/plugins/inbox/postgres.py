"""A PostgreSQL of the tests' own: a new cluster in a temporary folder, on a random loopback port."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from reliq.testing.servers import lacking
from reliq.testing.servers.ports import free_port
from reliq.testing.servers.process import ServerProcess

_USERS = ("postgres", "nobody")
_PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")
# PostgreSQL refuses to be run by root: become somebody else, then be the command.
_AS_USER = """
import os, sys
uid, gid = map(int, sys.argv[1:3])
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Postgres:
    """The server; `database()` gives the address of a new, empty database."""

    def __init__(self) -> None:
        programs = _programs()
        self._as = _as_user()
        self.folder = Path(tempfile.mkdtemp(prefix="reliq-postgres-"))
        if self._as:
            os.chown(self.folder, int(self._as[3]), int(self._as[4]))
        data = self.folder / "data"
        subprocess.run(
            [
                *self._as,
                programs / "initdb",
                "-D",
                data,
                "-U",
                "reliq",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )
        self.port = free_port()
        settings = (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "log_destination=stderr",
        )
        flags = [word for setting in settings for word in ("-c", setting)]
        command = [*self._as, str(programs / "postgres"), "-D", str(data), "-p", str(self.port), *flags]
        ready = ("database system is ready to accept connections",)
        self.process = ServerProcess(command, ready=ready, log=self.folder / "log")
        self.process.await_ready(30)
        self._numbers = itertools.count(1)

    def database(self) -> str:
        """host, port, user and name of a new database, as libpq writes them."""
        import psycopg

        name = f"d{next(self._numbers)}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._dsn(name)

    def _dsn(self, name: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=reliq dbname={name}"

    def close(self) -> None:
        self.process.end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


def _programs() -> Path:
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    for root in map(Path, _PLACES):
        places += sorted(root.glob("**/bin"), reverse=True) if root.is_dir() else []
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    lacking("No PostgreSQL: initdb and postgres are neither in PATH nor under " + ", ".join(_PLACES))


def _as_user() -> list[str]:
    """The words before a command that make it another user's, where we are root."""
    if os.geteuid() != 0:
        return []
    import pwd

    for name in _USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return [sys.executable, "-c", _AS_USER, str(user.pw_uid), str(user.pw_gid)]
    lacking(f"PostgreSQL refuses to be run by root, and there is no user {' or '.join(_USERS)}")
