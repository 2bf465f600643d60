"""Faults on purpose: journals and their check, a TCP proxy, kills, engines that fail, worker fleets."""

from reliq.testing.faults.check import Report, check
from reliq.testing.faults.faulty import Faulty, at, seeded
from reliq.testing.faults.fleet import Fleet, Worker
from reliq.testing.faults.journal import Fact, Journal, read
from reliq.testing.faults.killer import Killer, Pauser
from reliq.testing.faults.processes import kill_tree, tree
from reliq.testing.faults.proxy import Proxy, Weather

__all__ = [
    "Fact",
    "Faulty",
    "Fleet",
    "Journal",
    "Killer",
    "Pauser",
    "Proxy",
    "Report",
    "Weather",
    "Worker",
    "at",
    "check",
    "kill_tree",
    "read",
    "seeded",
    "tree",
]
