"""The demo's last words: the table, the proof, and what to try next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reliq.demo.proof import Proof, Tally
from reliq.demo.run import Outcome
from reliq.demo.sources import Counts

_TALLY = {
    "published": "messages the broker accepted",
    "refused": "duplicates of a file that was queued already",
    "run": "times a task was started",
    "repeated": "of these again, because its process had died",
    "retried": "of these again, because it had failed",
    "quarantined": "each took down three processes, and was set aside",
}
_NEXT = {
    "killed": "a file whose worker was killed",
    "retried": "a file that failed and was tried again",
    "quarantined": "a task that killed its process three times",
}


def table(tally: Tally) -> Iterator[str]:
    """What happened, a line per class."""
    for name, meaning in _TALLY.items():
        yield f"  {name:<12}{getattr(tally, name):>8,}   {meaning}"


def proof_lines(proof: Proof) -> Iterator[str]:
    """Both totals, side by side, and each claim with what speaks against it."""
    heads = Counts._fields
    yield " " * 22 + "".join(f"{name:>12}" for name in heads)
    for name, counts in (("the tasks' journals", proof.counted), ("one plain pass", proof.expected)):
        yield f"  {name:<20}" + "".join(f"{getattr(counts, head):>12,}" for head in heads)
    for claim, against in proof.claims:
        yield f"  {'no ' if against else 'yes'}  {claim}" + (f": {against}" if against else "")
    if proof.discarded:
        yield f"  ({proof.discarded} runs were finished but not settled when their worker was killed, and do not count:"
        yield "  the run that was settled does)"


def next_commands(outcome: Outcome, url: str) -> Iterator[str]:
    """Commands that show more of the database that was kept."""
    rows = [
        (f"reliq why {id} --broker {url}", _NEXT[what])
        for what, id in outcome.examples.items()
        if what in _NEXT
    ]
    rows += [
        (f"reliq dlq list --broker {url}", "the dead letters"),
        (f"reliq audit --broker {url}", "accepted = sum of all states"),
    ]
    return _aligned(rows)


def _aligned(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for command, meaning in rows:
        yield f"  {command}   # {meaning}"
