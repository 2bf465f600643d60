"""The contract of `reliq.ports.broker.Engine`: guards, effects and messages move in one step."""

from __future__ import annotations

from reliq.testing.contracts.effects import Effects
from reliq.testing.contracts.endings import Endings
from reliq.testing.contracts.freeing import Freeing
from reliq.testing.contracts.guards import Guards


class EngineContract(Guards, Effects, Endings, Freeing):
    """Guards refuse whole items, effects go with a step, and what ends a message frees what it holds."""
