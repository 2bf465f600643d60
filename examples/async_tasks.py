# example: async_tasks.py
import asyncio

from reliq import Reliq
from reliq.testing import Harness

app = Reliq("fetch")


@app.task(soft_time_limit=10, retry_on=(ConnectionError,))
async def fetch(url: str) -> int:
    await asyncio.sleep(0.01)  # your HTTP client
    return len(url)


with Harness(app) as harness:
    job = fetch.delay("https://example.org")
    harness.run_until_idle()
    assert job.state == "SUCCESS"
