"""The contract of `reliq.ports.broker.Broker`."""

from __future__ import annotations

from reliq.testing.contracts.ahead import Ahead
from reliq.testing.contracts.blocking import Blocking
from reliq.testing.contracts.burying import Burying
from reliq.testing.contracts.cancelling import Cancelling
from reliq.testing.contracts.charged import Charged
from reliq.testing.contracts.claiming import Claiming
from reliq.testing.contracts.fences import Fences
from reliq.testing.contracts.following import Following
from reliq.testing.contracts.looking import Looking
from reliq.testing.contracts.operating import Operating
from reliq.testing.contracts.owning import Owning
from reliq.testing.contracts.publishing import Publishing
from reliq.testing.contracts.reaping import Reaping
from reliq.testing.contracts.restarting import Restarting
from reliq.testing.contracts.settling import Settling


class BrokerContract(
    Publishing,
    Claiming,
    Charged,
    Fences,
    Settling,
    Following,
    Owning,
    Burying,
    Reaping,
    Cancelling,
    Looking,
    Operating,
    Blocking,
    Ahead,
    Restarting,
):
    """Publish, claim, settle, bury, reap, cancel, look."""
