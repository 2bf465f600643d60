# example: test_without_a_broker.py
from reliq import Reliq
from reliq.testing import Harness

app = Reliq("shop")
calls: list[int] = []


@app.task(retry_on=(TimeoutError,), max_retries=3)
def charge(order: int) -> str:
    calls.append(order)
    if len(calls) < 3:
        raise TimeoutError("the bank is slow")
    return "paid"


with Harness(app) as harness:
    job = charge.delay(1)
    harness.run_until_idle()  # runs what is ready; the retry is due later
    assert job.state == "RETRY"

    harness.run_until_idle(advance=True)  # the clock is virtual, so nobody waits
    assert job.state == "SUCCESS"
    assert calls == [1, 1, 1]
