"""What reliq_once promises, broken piece by piece: no mutant survives."""

from __future__ import annotations

import pytest

from tests.mutants.harness import ROOT, Patch, run_with

LOCK = "tests/plugins/once/test_lock.py"
MODES = "tests/plugins/once/test_modes.py"
BAD = "tests/plugins/once/test_bad_input.py"
FAULTS = "tests/plugins/once/test_faults.py"
STALE = "tests/plugins/once/test_stale.py"
TICKET = "tests/plugins/once/test_ticket.py"


def memory(file: str, words: str) -> tuple[str, ...]:
    """Tests on the memory engine."""
    return (file, "-k", f"memory and ({words})")


PATCHES = (
    Patch(
        "an ending frees the lock of whoever has it",
        "placing.py",
        "        free = Remove(key, holder=id)\n",
        "        free = Remove(key)\n",
        memory(LOCK, "lapsed_does_not_free_its_successor"),
    ),
    Patch(
        "the start frees the lock of whoever has it",
        "starting.py",
        "effects: tuple[Effect, ...] = (Remove(ticket.key, holder=ctx.id),)",
        "effects: tuple[Effect, ...] = (Remove(ticket.key),)",
        memory(LOCK, "later_call_s_lock"),
    ),
    Patch(
        "the life of a lock is counted from the publish",
        "placing.py",
        "plain = Add(key, value, ticket.ttl, id, or_dead=ticket.or_dead, from_due=True)",
        "plain = Add(key, value, ticket.ttl, id, or_dead=ticket.or_dead)",
        memory(LOCK, "counts_from_the_due_time"),
    ),
    Patch(
        "a retry lets the lock lapse in the moment of its settlement",
        "middleware.py",
        "Put(ticket.key, write(record), ttl=ticket.ttl, holder=ctx.id, from_due=True)",
        "__import__('reliq.ports').ports.Touch(ticket.key, ttl=ticket.ttl, holder=ctx.id, from_due=True)",
        memory(MODES, "longer_than_its_timeout"),
    ),
    Patch(
        "a message that is put off lets its lock lapse",
        "middleware.py",
        "        if started is not None and ticket.lets_go and not ticket.relock:\n",
        "        if started is None or (ticket.lets_go and not ticket.relock):\n",
        memory(MODES, "waits_for_a_slot"),
    ),
    Patch(
        "runs are counted, and a dead one counts for ever",
        "starting.py",
        "Add(slot, value, ttl=0, holder=ctx.id)), effects)",
        "Add(slot, value)), effects)",
        memory(MODES, "slot_is_free_again"),
    ),
    Patch(
        "nobody counts the runs",
        "starting.py",
        "        if applied.ok:\n            return slot",
        "        if True:\n            return slot",
        memory(MODES, "so_many_of_a_key"),
    ),
    Patch(
        "a slot is kept after the run",
        "starting.py",
        "Add(slot, value, ttl=0, holder=ctx.id)), effects)",
        "Add(slot, value, ttl=60_000, holder=ctx.id)), effects)",
        memory(MODES, "slot_is_free_again"),
    ),
    Patch(
        "a run that lost its message frees the lock of the next one",
        "starting.py",
        "        applied = ctx.store.apply((held,), effects)\n",
        "        applied = ctx.store.apply((), effects)\n",
        memory(STALE, "neither_runs"),
    ),
    Patch(
        "a run that lost its message takes a slot",
        "starting.py",
        "(held, Add(slot",
        "(Add(slot",
        memory(STALE, "neither_runs"),
    ),
    Patch(
        "a run that lost its message takes its lapsed lock again",
        "starting.py",
        "    applied = ctx.store.apply((held, guard), ())\n",
        "    applied = ctx.store.apply((guard,), ())\n",
        memory(STALE, "lapsed"),
    ),
    Patch(
        "the key is computed again at the worker",
        "middleware.py",
        "            return start(ctx, ticket, self.tally)\n",
        "            again = keys.digest(ctx.task.name, {'a': ctx.args[0]} if ctx.args else {})\n"
        "            ticket = type(ticket)(ticket.v, again, ticket.ttl, ticket.frees)\n"
        "            return start(ctx, ticket, self.tally)\n",
        memory(MODES, "never_computed_again"),
    ),
    Patch(
        "the lock is taken before the publish and freed when the answer is lost",
        "placing.py",
        "        ctx.with_publish(guard)\n",
        "        if not ctx.store.apply((guard,), ()).ok:\n            ctx.with_publish(guard)\n",
        (FAULTS, "-k", "memory"),
    ),
    Patch(
        "a replayed dead letter is a second owner",
        "placing.py",
        "        ctx.on_replay(again)\n",
        "",
        memory(MODES, "a_replay"),
    ),
    Patch(
        "a replay replaces a newer call",
        "placing.py",
        "        ctx.on_replay(again)\n",
        "        ctx.on_replay(guard)\n",
        memory(MODES, "a_replay"),
    ),
    Patch(
        "a replay goes on with a burst that is over",
        "placing.py",
        "        ctx.on_replay(again)\n",
        "        ctx.on_replay(plain)\n",
        memory(MODES, "after_the_replay_of_a_debounced"),
    ),
    Patch(
        "a failed message frees a key that is to be held",
        "placing.py",
        '        ctx.on_end("failed", Put(key, value, ttl=ticket.ttl, holder=id))\n',
        '        ctx.on_end("failed", free)\n',
        memory(MODES, "hold_on_failure"),
    ),
    Patch(
        "a key that is held after a failure is anybody's",
        "ticket.py",
        'return self.frees != "e" and not self.hold',
        'return self.frees != "e"',
        memory(MODES, "hold_on_failure"),
    ),
    Patch(
        "an older call runs after a newer one",
        "starting.py",
        "    if newest == ctx.id:\n",
        "    if newest:\n",
        memory(MODES, "gives_way or wins"),
    ),
    Patch(
        "replace takes the key of what runs",
        "placing.py",
        'or_leased=ticket.frees == "s",',
        "or_leased=True,",
        memory(MODES, "replace_does_not_touch_what_runs"),
    ),
    Patch(
        "a debounced call waits for ever",
        "placing.py",
        "ctx.delay = max(0, min(delay, first + most - now))",
        "ctx.delay = delay",
        memory(MODES, "no_longer_than_max_wait"),
    ),
    Patch(
        "a message that publishes its own call conflicts with itself",
        "placing.py",
        "        if inside is not None and not once.says_conflict",
        "        if False and not once.says_conflict",
        memory(MODES, "publishes_its_own_call"),
    ),
    Patch(
        "what a run publishes runs beside it",
        "placing.py",
        '            ctx.with_publish(Put(slot_key(self.digest, 0), b"", ttl=0, holder=self.inside.id))\n',
        "            pass\n",
        memory(MODES, "publishes_its_own_call"),
    ),
    Patch(
        "tasks of one namespace have keys of their own",
        "digests.py",
        "(once.namespace, once.namespace) if once.namespace else",
        '(task.name, once.namespace or "") if once.namespace else',
        memory(MODES, "share_a_namespace"),
    ),
    Patch(
        "a store that fails at the start fails the message",
        "middleware.py",
        "            return Snooze(wait, reason=",
        "            raise\n            return Snooze(wait, reason=",
        memory(BAD, "puts_the_message_off"),
    ),
    Patch(
        "a message is in time whatever its due time",
        "middleware.py",
        "ctx.app.clock.now_ms() - delivery.due < ttl",
        "ctx.app.clock.now_ms() - delivery.due < ttl * 1_000",
        memory(MODES, "laps"),
    ),
    Patch(
        "a newer ticket is read as one of this version",
        "ticket.py",
        "if found is not _UNREAD and header.startswith(_HEAD):",
        "if found is not _UNREAD:",
        (TICKET, "-k", "another_form"),
    ),
    Patch(
        "the ticket of another message is passed on",
        "middleware.py",
        "        ctx.headers.pop(HEADER, None)",
        "        ctx.headers.get(HEADER, None)",
        memory(BAD, "passed_on_to_another"),
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name.replace(" ", "-"))
def test_no_mutant_survives(patch, tmp_path):
    run = run_with(patch, package="reliq_once", folder=tmp_path)
    assert run.killed, f"{patch.name}: the tests ended with status {run.status}\n{run.output[-2000:]}"


def test_every_patch_fits_the_source():
    package = ROOT / "plugins" / "reliq_once"
    wrong = [p.name for p in PATCHES if (package / p.file).read_text("utf-8").count(p.before) != 1]
    assert wrong == []
