"""Where an application's keys are: everything under one namespace, which is one hash tag on a cluster."""

from __future__ import annotations

import os
import re

PREFIX = "reliq"
_SPACE = re.compile(r"\s")


def namespace(app: str, prefix: str = PREFIX) -> str:
    """`{reliq:shop}:`; what follows the colon is named in the scripts, by `lua/lib`.

    message born payload value error story on_end  (hashes by id)   all that is kept of a message
    later                            (hash)    rows and payloads of messages that wait for their time as published
    ready: charged: due:    + queue  (sorted)  what waits, by priority and place or by due time
    held: stop:             + owner  (sets)    what is leased to it, what of it was asked to stop
    expiring gone failed tomb        (sorted)  ids by the end of their time
    disturbed                        (set)     ids of those with records that somebody else has changed
    owner leased book                (hashes)  owners, leased messages per queue, the counters of the books
    grave                            (sorted)  owners that were buried
    record lapsing lapsing: + second           the store: records, when they may be thrown away
    index:                  + name   (sorted)  the store's ordered indexes
    idle: + queue, waiting                     who is to be told of work, of an ending
    said: + call                               what a call was answered, in case the answer was lost
    queues version
    """
    return f"{{{prefix}:{app}}}:"


def channel(space: str) -> str:
    """A channel of this process alone, in one word: where it stands in a list, spaces part it from others."""
    return f"{_SPACE.sub('-', space)}to:{os.getpid():x}-{os.urandom(6).hex()}"
