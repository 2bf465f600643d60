"""What reliq_idempotency promises, broken piece by piece: no mutant survives."""

from __future__ import annotations

import pytest

from tests.mutants.harness import ROOT, Patch, run_with

UNIT = "tests/plugins/test_idempotency.py"
WALK = "tests/plugins/test_walks.py::test_walks[idempotency-0]"
FAULTS = "tests/plugins/test_idempotency_faults.py"
INBOX = "tests/plugins/inbox/test_sqlalchemy.py"


def unit(words: str) -> tuple[str, ...]:
    """Tests of the middleware, on the memory engine."""
    return (UNIT, "-k", f"memory and ({words})")


PATCHES = (
    Patch(
        "a record of an ended message is taken by the next send",
        "plan.py",
        "return Absent(self.key), Put(self.key, accepted, holder=self.id)",
        "return Add(self.key, accepted, holder=self.id), Put(self.key, accepted, holder=self.id)",
        unit("stored_result_exactly"),
    ),
    Patch(
        "a record is taken again by the same id",
        "plan.py",
        "return Absent(self.key), Put(",
        "return Add(self.key, accepted, holder=self.id, or_dead=False), Put(",
        unit("chosen_id"),
    ),
    Patch(
        "the life of a key is counted from the publish",
        "plan.py",
        "return Absent(self.key), Put(self.key, accepted, holder=self.id)",
        "return Absent(self.key), Put(self.key, accepted, holder=self.id, ttl=self.ttl)",
        unit("keeps_its_key"),
    ),
    Patch(
        "a failure leaves the key taken",
        "plan.py",
        '("failed", failed)',
        '("failed", ())',
        unit("frees_the_key"),
    ),
    Patch(
        "a cancelled message leaves the key taken",
        "plan.py",
        '("dropped", (free,))',
        '("dropped", ())',
        unit("frees_the_key"),
    ),
    Patch(
        "an ending removes a record that is another message's",
        "plan.py",
        '("dropped", (free,))',
        '("dropped", (Remove(self.key),))',
        unit("nothing_of_another"),
    ),
    Patch(
        "an ending by a worker that knows nothing of keys leaves the record for ever",
        "plan.py",
        '("done", (done,))',
        '("done", ())',
        unit("without_the_middleware"),
    ),
    Patch(
        "a kept failure is removed by the ending that follows it",
        "plan.py",
        "Remove(self.key, holder=self.id, value=accepted)",
        "Remove(self.key, holder=self.id)",
        unit("kept_as_the_policy_says"),
    ),
    Patch(
        "a dead letter lives again without its key",
        "middleware.py",
        "        ctx.on_replay(plan.retake(accepted))\n",
        "",
        unit("dead_letter"),
    ),
    Patch(
        "the completion is written beside the settlement and not with it",
        "middleware.py",
        "            ctx.with_settlement(effect)\n",
        "            ctx.store.apply((), (effect,))\n",
        unit("lost_its_message"),
    ),
    Patch(
        "the completion asks for no owner",
        "completion.py",
        "ttl=plan.ttl, holder=ctx.id)",
        "ttl=plan.ttl)",
        unit("nothing_of_another"),
    ),
    Patch(
        "results that are false are no results",
        "completion.py",
        "if verdict.value is not None and",
        "if verdict.value and",
        unit("stored_result_exactly"),
    ),
    Patch(
        "results are kept whatever their size",
        "completion.py",
        "elsewhere = result is not None and len(result) > plan.max_result",
        "elsewhere = False",
        unit("large_result"),
    ),
    Patch(
        "retries that ran out count as permanent",
        "completion.py",
        "return verdict.gave_up or isinstance",
        "return isinstance",
        unit("kept_as_the_policy_says"),
    ),
    Patch(
        "arguments are not compared",
        "duplicates.py",
        "return None not in (plan.fingerprint, entry.fingerprint) and",
        "return False and",
        unit("other_arguments"),
    ),
    Patch(
        "the result is only where the message's own record is",
        "duplicates.py",
        "return Join(first, record=entry.record(queue=ctx.queue))",
        "return Join(first)",
        unit("own_record_is_gone"),
    ),
    Patch(
        "a message is kept out by its own dead run",
        "running.py",
        "elif value.holder == ctx.id:",
        "elif value.holder == ctx.id and ctx.attempt == 1:",
        unit("takes_over_at_once"),
    ),
    Patch(
        "a run does the work though another message with the key is at it",
        "running.py",
        "                return _other(ctx, plan, entry, holder, count)\n",
        "                return None\n",
        unit("another_message_with_its_key"),
    ),
    Patch(
        "a run that has lost its message takes a record that nobody frees",
        "running.py",
        "apply((held, *guards, add), ())",
        "apply((*guards, add), ())",
        unit("lost_its_message_takes_no_key"),
    ),
    Patch(
        "a run that was held up does the work of a newer one again",
        "running.py",
        'if entry.state != "done":',
        "if entry:",
        unit("wakes_after"),
    ),
    Patch(
        "a record that a run took again lapses while the message waits to run again",
        "running.py",
        "accepted, holder=ctx.id, or_dead=or_dead",
        "accepted, ttl=1, holder=ctx.id, or_dead=or_dead",
        unit("whose_record_is_gone"),
    ),
    Patch(
        "the store's outage fails the message",
        "middleware.py",
        "        except BrokerUnavailable as error:\n",
        "        except ZeroDivisionError as error:\n",
        (FAULTS, "-k", "memory"),
    ),
    Patch(
        "a worker builds the key from the arguments that arrived",
        "middleware.py",
        "        plan = running.note(ctx).plan\n        if plan is None:\n            return None\n",
        "        plan = running.note(ctx).plan\n        if plan is None:\n            return None\n"
        "        made = self.key_of(ctx.task, ctx.args, ctx.kwargs)\n"
        "        values = (getattr(plan, f) for f in plan.__struct_fields__[3:])\n"
        "        plan = running.note(ctx).plan = type(plan)(1, ctx.id, made or plan.key, *values)\n",
        unit("not_where_it_arrives"),
    ),
    Patch(
        "a message has the key of whoever handed its headers on",
        "middleware.py",
        "        if ctx.headers.pop(HEADER, None) is not None:",
        "        if False:",
        unit("hand_on"),
    ),
    Patch(
        "parents share the keys of their children",
        "chosen.py",
        'namespace = f"{namespace}\\n{parent}"',
        "pass",
        unit("each_parent"),
    ),
    Patch(
        "a key is free again as soon as its message is done",
        "plan.py",
        "kept = Touch(self.key, ttl=self.ttl, holder=self.id)",
        "kept = Remove(self.key, holder=self.id)",
        (WALK,),
    ),
    Patch(
        "what has no result is never told to be done",
        "entry.py",
        "if entry.quiet and",
        "if False and",
        unit("keeps_no_result"),
    ),
    Patch(
        "a failure that the broker made is told to be done",
        "plan.py",
        'quiet = 0 if keep_result or self.failures == "all" else self.ttl',
        "quiet = 0 if keep_result else self.ttl",
        unit("failure_made_by_the_broker"),
    ),
    Patch(
        "nobody writes that a message is done whose failures are all kept",
        "plan.py",
        'if self.failures == "all" and not keep_result:',
        "if False:",
        unit("keeps_no_result"),
    ),
    Patch(
        "an inbox runs the block again",
        "sqlalchemy.py",
        "        if committed is not None:\n            raise",
        "        if committed is None and committed:\n            raise",
        (INBOX, "-k", "sqlite and lost"),
    ),
    Patch(
        "an inbox marks nothing as done",
        "sqlalchemy.py",
        "values(done=True, result",
        "values(done=False, result",
        (INBOX, "-k", "sqlite and lost"),
    ),
    Patch(
        "an inbox commits what an error should undo",
        "sqlalchemy.py",
        "        elif error is not None:\n            if self._commits:\n                session.rollback()\n",
        "        elif error is not None:\n            if self._commits:\n                session.commit()\n",
        (INBOX, "-k", "sqlite and rolls_back"),
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name.replace(" ", "-"))
def test_no_mutant_survives(patch, tmp_path):
    run = run_with(patch, package="reliq_idempotency", folder=tmp_path)
    assert run.killed, f"{patch.name}: the tests ended with status {run.status}\n{run.output[-2000:]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "tests", [unit("key or failure or record"), (WALK,), (FAULTS, "-k", "memory"), (INBOX, "-k", "sqlite")]
)
def test_without_a_patch_the_same_tests_pass(tests, tmp_path):
    nothing = Patch("nothing", "plan.py", 'PREFIX = "idem:"', 'PREFIX = "idem:"', tests)
    run = run_with(nothing, package="reliq_idempotency", folder=tmp_path)
    assert run.status == 0, run.output[-2000:]


def test_every_patch_fits_the_source():
    package = ROOT / "plugins" / "reliq_idempotency"
    wrong = [p.name for p in PATCHES if (package / p.file).read_text("utf-8").count(p.before) != 1]
    assert wrong == []
