"""The SQLite engine: all rules of the ports in one file, for several processes and threads at once.

Where to find a rule: `schema.sql` has the table and the states, `connection` transactions and errors, `claim` the order
and the charged ones, `settle` verdicts, `endings` what an ending frees, `owners` who is charged, `reap` what time alone
brings about, `wake` how an idle worker hears of work.
"""

from __future__ import annotations

from reliq.engines.sqlite.engine import SqliteEngine
from reliq.engines.sqlite.location import locate, prepare
from reliq.policy.clock import Clock, SystemClock

__all__ = ["SqliteEngine", "connect"]


def connect(url: str, *, app: str = "reliq", clock: Clock | None = None) -> SqliteEngine:
    """`sqlite:///relative.db`, `sqlite:////absolute.db` or `sqlite://`: the app's own file in the user's state folder.

    `?durability=normal|full|off` says what a power failure may take, `?allow_network_fs=1` accepts a file system on
    which SQLite promises nothing.  Raises `BrokerRefused` with the reason where the file cannot be used.
    """
    place = locate(url, app=app)
    prepare(place)
    return SqliteEngine(place, clock or SystemClock())
