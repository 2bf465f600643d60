"""What `reliq doctor` looks for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from reliq import Reliq
from reliq.ports import records
from reliq_idempotency.chosen import options_for
from reliq_idempotency.entry import Entry
from reliq_idempotency.plan import PREFIX

if TYPE_CHECKING:
    from reliq_idempotency.middleware import Idempotency

_LOOKED_AT = 1_000


def complaints(app: Reliq, middleware: Idempotency) -> Iterator[str]:
    """One sentence for each thing that is wrong."""
    yield from _short_results(app, middleware)
    if not app.broker.capabilities.engine:
        yield (
            f"broker {app.broker.url} moves messages and records apart, and idempotency needs them to move in one "
            "step: use an engine (sqlite, memory, redis)"
        )
        return
    mismatches = sum(counted.get("mismatches", 0) for counted in middleware.tally.read(app.broker).values())
    if mismatches:
        yield (
            f"{mismatches:,} of the sends of the last days used a key again with other arguments, and were refused: "
            "does the key name all that tells two calls apart? (reliq idem counters)"
        )
    orphans = list(_orphans(app))
    if orphans:
        yield (
            f"{len(orphans)} keys are held by messages that the broker does not know (was its data restored in part?); "
            f"`reliq idem rm {orphans[0]}` frees the first"
        )


def _short_results(app: Reliq, middleware: Idempotency) -> Iterator[str]:
    for task in app.tasks.values():
        if middleware not in task.chain.middleware or "idempotency" not in task.middleware_options:
            continue
        options = options_for(middleware.defaults, task)
        kept = app.conf.result_ttl if task.options.result_ttl is None else task.options.result_ttl
        if options is not None and options.ttl > kept:
            yield (
                f"task {task.name}: keys count for {options.ttl:.0f} s, but a result above {options.max_result:,} "
                f"bytes is kept for {kept:.0f} s only (result_ttl); after that a second send has no result"
            )


def _orphans(app: Reliq) -> Iterator[str]:
    for key, value in islice(records(app.broker, PREFIX), _LOOKED_AT):
        if value.expires is None and value.holder is not None:
            entry = Entry.of(value, key=key)
            if entry.state == "accepted" and app.broker.get(value.holder) is None:
                yield key
