"""The contracts between the runtime and whatever stores messages; the docstrings are the specification.

The values that middleware needs are public here.
"""

from __future__ import annotations

from reliq.ports.store import records
from reliq.ports.values import ErrorInfo, Found, Published, Record, Scanned, Value
from reliq.wire.message import (
    Absent,
    Add,
    AtVersion,
    CancelMessage,
    Effect,
    Ending,
    Equals,
    FollowUp,
    Guard,
    Incr,
    IndexPut,
    IndexRemove,
    Leased,
    NotLeased,
    Put,
    Remove,
    Touch,
)

__all__ = [
    "Absent",
    "Add",
    "AtVersion",
    "CancelMessage",
    "Effect",
    "Ending",
    "Equals",
    "ErrorInfo",
    "FollowUp",
    "Found",
    "Guard",
    "Incr",
    "IndexPut",
    "IndexRemove",
    "Leased",
    "NotLeased",
    "Published",
    "Put",
    "Record",
    "Remove",
    "Scanned",
    "Touch",
    "Value",
    "records",
]
