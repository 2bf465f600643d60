"""Which file a URL means, and whether SQLite can keep its promises there."""

from __future__ import annotations

import contextlib
import difflib
import os
import sqlite3
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from reliq.errors import BrokerRefused, ConfigError

DURABILITIES = {"off": 0, "normal": 1, "full": 2}
WORDS = {
    "off": "survives a crash of the process; a crash of the machine may damage the file",
    "normal": "survives a crash of the process; a power failure may take the last moments, never the whole",
    "full": "every confirmed message survives a power failure (one fsync per transaction)",
}
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.sshfs",
    "fuse.gluster",
    "fuse.s3",
)
_OLDEST = (3, 35, 0)


class Location(msgspec.Struct, frozen=True):
    """A database file and how it is used."""

    path: Path
    durability: str = "normal"
    default: bool = False
    allow_network_fs: bool = False

    @property
    def url(self) -> str:
        options = [f"durability={self.durability}"] if self.durability != "normal" else []
        options += ["allow_network_fs=1"] if self.allow_network_fs else []
        return f"sqlite:///{quote(str(self.path))}" + ("?" + "&".join(options) if options else "")


def locate(url: str, *, app: str) -> Location:
    """The file meant by `sqlite:///relative`, `sqlite:////absolute` or `sqlite://` (the app's own file)."""
    parts = urlsplit(url)
    if parts.netloc:
        raise ConfigError(
            f"{url!r}: a SQLite URL names no host; write sqlite:///{parts.netloc}{parts.path} for a relative path "
            "or four slashes for an absolute one"
        )
    if "#" in url:
        raise ConfigError(f"{url!r}: what follows a # is no part of a path; write it as %23")
    options = _options(url, parts.query)
    name = unquote(parts.path[1:])
    if name == ":memory:":
        raise ConfigError(
            "sqlite:///:memory: cannot be shared by processes; use memory:// for an engine in memory"
        )
    return Location(
        path=Path(os.path.abspath(name)) if name else _own_file(app),
        durability=options.get("durability", "normal"),
        default=not name,
        allow_network_fs=options.get("allow_network_fs", "0") == "1",
    )


def prepare(place: Location) -> None:
    """Refuse, with the reason and the next step, where SQLite cannot work; make the folder of the default file."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise BrokerRefused(
            f"SQLite {sqlite3.sqlite_version} is too old, reliq needs 3.35 (March 2021); "
            "use a Python that is built with a newer one"
        )
    if not _has_json():
        raise BrokerRefused(
            f"SQLite {sqlite3.sqlite_version} was built without JSON; use a Python built with it"
        )
    path, folder = place.path, place.path.parent
    if place.default:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerRefused(
                f"The folder {folder} of the default database cannot be made ({error}); name a file: sqlite:////path/to.db"
            ) from error
    if path.is_dir():
        raise BrokerRefused(
            f"{path} is a folder, not a database; name a file in it: sqlite:///{path}/reliq.db"
        )
    if not folder.is_dir():
        raise BrokerRefused(
            f"The folder {folder} of the database does not exist; create it: mkdir -p {folder}"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BrokerRefused(
            f"The folder {folder} cannot be written by uid {os.getuid()}; SQLite keeps {path.name}-wal beside the file"
        )
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise BrokerRefused(
            f"{path} cannot be read and written by uid {os.getuid()}; see its owner: ls -l {path}"
        )
    kind = file_system(folder)
    if kind.startswith(_NETWORK) and not place.allow_network_fs:
        raise BrokerRefused(
            f"{path} lies on a network file system ({kind}), where SQLite's locks and shared memory do not hold; "
            "move it to a local disk, or accept the risk with ?allow_network_fs=1",
            kind=kind,
        )


def file_system(folder: Path, mounts: str = "/proc/self/mounts") -> str:
    """The type of the file system a folder lies on, or "" where the system does not tell."""
    try:
        lines = Path(mounts).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    real = os.path.realpath(folder)
    best, found = -1, ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        if len(point) >= best and (real == point or real.startswith(point.rstrip("/") + "/")):
            best, found = len(point), fields[2]
    return found


def _has_json() -> bool:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        try:
            db.execute("SELECT value FROM json_each('[1]')")
        except sqlite3.OperationalError:
            return False
        return True


def _options(url: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = ("durability", "allow_network_fs")
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{url!r} has an unknown option {name!r}; {hint}")
    durability = options.get("durability", "normal")
    if durability not in DURABILITIES:
        raise ConfigError(f"{url!r}: durability is one of {', '.join(DURABILITIES)}, not {durability!r}")
    return options


def _own_file(app: str) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(os.path.abspath(state)) / "reliq" / f"{quote(app, safe='')}.db"
