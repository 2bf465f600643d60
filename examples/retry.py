# example: retry.py
from reliq import Backoff, Reliq, Retry
from reliq.testing import Harness

app = Reliq("bank")
asked: list[str] = []


@app.task(retry_on=(TimeoutError,), max_retries=5, backoff=Backoff(base=2, max=60))
def balance(account: str) -> int:
    asked.append(account)
    if len(asked) == 1:
        raise TimeoutError("no answer")  # again, after the back-off
    if len(asked) == 2:
        raise Retry(30, reason="asked to wait")  # again, in 30 s
    return 100


with Harness(app) as harness:
    job = balance.delay("4711")
    harness.run_until_idle(advance=True)
    assert (job.state, len(asked)) == ("SUCCESS", 3)
