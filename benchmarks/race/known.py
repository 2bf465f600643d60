"""What each peer did beside the bare loop when its settings were looked for, so that a peer set up badly is noticed.

Measured on two cores with Python 3.11.7 and Redis 7.0.15, medians of three; the bare loop drained 280,000 messages per
second with one process and 390,000 with two, and one RPUSH after another made 8,100 per second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.figures import Figures

BARE = {"drain, 1 process": 280_000, "drain, 2 processes": 390_000, "publish one by one": 8_100}
PEERS = {
    "celery": {"drain, 1 process": 945, "drain, 2 processes": 1_063, "publish one by one": 2_010},
    "celery-solo": {"drain, 1 process": 1_106, "drain, 2 processes": 2_482, "publish one by one": 2_010},
    "dramatiq": {"drain, 1 process": 4_307, "drain, 2 processes": 8_198, "publish one by one": 5_220},
    "taskiq": {"drain, 1 process": 3_697, "drain, 2 processes": 5_342, "publish one by one": 3_568},
    "huey": {"drain, 1 process": 2_611, "drain, 2 processes": 7_589, "publish one by one": 6_622},
    "saq": {"drain, 1 process": 2_797, "drain, 2 processes": 4_320, "publish one by one": 5_237},
    "streaq": {"drain, 1 process": 1_340, "drain, 2 processes": 2_385, "publish one by one": 3_487},
    "arq": {"drain, 1 process": 2_412, "drain, 2 processes": 2_013, "publish one by one": 2_400},
    "rq": {"drain, 1 process": 216, "drain, 2 processes": 458, "publish one by one": 2_454},
}
_LEAST = 0.8
_TRIPS = "publish one by one"  # one round trip after another


def behind(figures: Figures, peers: Sequence[str]) -> Iterator[str]:
    """A sentence for each peer that fell below 80 % of the ratio to the bare loop that it is known for.

    The bare loop's drain tells how fast this machine runs Python, its publish how fast a round trip is; a peer is
    bound by both, and machines differ in each.  So it only counts as behind where it is behind by both.
    """
    for peer in peers:
        for what, rate in PEERS.get(peer, {}).items():
            found = {over: figures.ratio(f"{what}, {peer}", f"{over}, bare") for over in (what, _TRIPS)}
            shares = [ratio / (rate / BARE[over]) for over, ratio in found.items() if ratio is not None]
            if shares and max(shares) < _LEAST:
                yield (
                    f"{peer} falls behind: {what} is {max(shares):.0%} of what is known of it beside the bare loop; "
                    "its ratios to reliq are not to be trusted before the cause is found"
                )
