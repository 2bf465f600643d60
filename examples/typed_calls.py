# example: typed_calls.py
"""What a type checker knows of a call: parameters by ParamSpec, results by the function's own annotation."""

from typing import assert_type

from reliq import Handle, Reliq, Task
from reliq.errors import TaskDropped, TaskFailed
from reliq.testing import Harness

app = Reliq("typed", broker="memory://")


@app.task
def price(cents: int) -> str:
    return f"{cents / 100:.2f}"


@app.task(queue="slow")
async def double(n: int) -> int:
    return 2 * n


@app.task(bind=True)
def tries(self: Task[[int], int], most: int) -> int:
    return min(self.request.attempt, most)


with Harness(app) as harness:
    job = price.using(priority=9).delay(500)  # price.delay("5") is an error to mypy, and raises here
    other = double.delay(21)
    third = tries.delay(3)  # without `self`, which the worker gives
    harness.run_until_idle()
    assert_type(job, Handle[str])
    assert_type(job.get(), str)
    assert_type(other.get(), int)  # of an async task: what the coroutine returns
    assert_type(third.get(), int)
    assert_type(third.get(propagate=False), int | TaskFailed | TaskDropped)  # an error is given, not raised
    print(job.get(), other.get(), third.get())
