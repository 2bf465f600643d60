"""The lease protocol, looked at in every interleaving."""

from __future__ import annotations

import pytest
from lease_protocol import Broken, Rules, search


def test_in_every_interleaving_each_receipt_settles_once_and_nothing_is_lost() -> None:
    found = search(Rules())
    print(found)
    assert found.states > 10_000
    assert min(found.answers[answer] for answer in ("applied", "repeated", "stale")) > 100, found.answers


@pytest.mark.parametrize(
    ("off", "what"),
    [
        ("fence", "one receipt settles message 0 twice"),
        ("leased", "a stale receipt settles message 0"),
        ("takes_back", "message 0 is lost: its owner is gone"),
        ("remembers", "message 0 is lost: the worker it is leased to lives and does not know it"),
    ],
)
def test_without_one_of_its_checks_the_same_search_finds_the_protocol_broken(off: str, what: str) -> None:
    with pytest.raises(Broken, match=what) as broken:
        search(Rules()._replace(**{off: False}))
    print(broken.value, *broken.value.trace, sep="\n  ")
    assert len(broken.value.trace) >= 3
