"""A tenacity policy decides about retries, and its waits are due times."""

from __future__ import annotations

import pytest
import tenacity

from reliq.errors import OptionError


def retrying(**policy: object) -> tenacity.Retrying:
    return tenacity.Retrying(
        **{"stop": tenacity.stop_after_attempt(3), "wait": tenacity.wait_fixed(60), **policy}
    )


def test_its_wait_is_a_due_time_and_its_stop_the_end(app, harness):
    @app.task(retry_with=retrying())
    def work() -> None:
        raise ValueError("no")

    job = work.delay()
    assert harness.run_until_idle() == 1
    record = job.record()
    assert record.state == "due"
    assert record.due == harness.clock.now_ms() + 60_000
    assert harness.run_until_idle(advance=True) == 2
    assert job.record().reason == "ValueError: no (after 2 retries)"


def test_its_retry_predicate_chooses_the_errors(app, harness):
    @app.task(retry_with=retrying(retry=tenacity.retry_if_exception_type(OSError)))
    def work() -> None:
        raise ValueError("no")

    job = work.delay()
    assert harness.run_until_idle(advance=True) == 1
    assert job.record().reason == "ValueError: no"


def test_stop_after_delay_counts_from_the_publish(app, harness):
    @app.task(retry_with=retrying(stop=tenacity.stop_after_delay(100)))
    def work() -> None:
        raise ValueError("no")

    work.delay()
    assert harness.run_until_idle(advance=True) == 3  # at 0, 60 and 120 s


@pytest.mark.parametrize("policy", [3, tenacity.Retrying, lambda: None])
def test_anything_else_is_refused_where_the_task_is_defined(app, policy):
    with pytest.raises(OptionError, match=r"retry_with takes tenacity\.Retrying"):
        app.task(name="t", retry_with=policy)(lambda: None)


def test_it_decides_alone(app):
    with pytest.raises(OptionError, match="retry_with decides alone"):
        app.task(name="t", retry_with=retrying(), max_retries=3)(lambda: None)
