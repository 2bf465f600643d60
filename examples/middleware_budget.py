# example: middleware_budget.py
from reliq import Drop, Middleware, Reliq, RunContext, Verdict
from reliq.ports import Incr
from reliq.testing import Harness


class Budget(Middleware):
    """At most `limit` successful runs a day for each task that has `budget=`."""

    options = frozenset({"budget"})

    def key(self, ctx: RunContext) -> str:
        return f"budget:{ctx.task.name}"

    def prerun(self, ctx: RunContext) -> Verdict | None:
        limit = ctx.options.get("budget", 0)
        spent = ctx.store.store_get(self.key(ctx)) if limit else None
        return Drop("budget spent") if spent and int(spent.data) >= limit else None

    def postrun(self, ctx: RunContext, value: object) -> None:
        if "budget" in ctx.options:  # counted only if the settlement counts, in the same step
            ctx.with_settlement(Incr(self.key(ctx), ttl=86_400_000))


app = Reliq("ads", middleware=[Budget()])


@app.task(budget=2)
def show(customer: int) -> str:
    return f"shown to {customer}"


if __name__ == "__main__":
    with Harness(app) as harness:
        jobs = [show.delay(customer) for customer in (1, 2, 3)]
        harness.run_until_idle()
        print([job.state for job in jobs])
        assert [job.state for job in jobs] == ["SUCCESS", "SUCCESS", "IGNORED"]
        assert jobs[2].why().splitlines()[0].endswith("budget spent (decided by middleware 'budget')")
