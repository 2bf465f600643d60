# example: choose_the_ending.py
from reliq import Drop, Fail, Reliq, Retry, Snooze
from reliq.testing import Harness

app = Reliq("mail")


@app.task(max_retries=5)
def send(address: str, hour: int) -> str:
    if "@" not in address:
        raise Fail(f"{address!r} is no address")  # failed, no retry, goes to the dead letters
    if address.endswith("@example.org"):
        raise Drop("unsubscribed")  # dropped: meant, nothing to repair
    if hour < 7:
        raise Snooze(3600, reason="too early")  # later, and not counted as an attempt
    if hour > 22:
        raise Retry(60)  # later, counted against max_retries
    return "sent"


with Harness(app) as harness:
    jobs = [send.delay("nobody", 9), send.delay("a@example.org", 9), send.delay("b@example.com", 9)]
    harness.run_until_idle()
    print([job.state for job in jobs])
    assert [job.state for job in jobs] == ["FAILURE", "IGNORED", "SUCCESS"]
