"""Every row of the request's table."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reliq.compat.request import REQUEST_FIELDS
from reliq.errors import CeleryNameError

DUE = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC).isoformat()

# field -> what it is in the run below
WORKS = {
    "id": "i",
    "root_id": "r",
    "parent_id": "p",
    "args": (1,),
    "kwargs": {"b": 2},
    "task": lambda value: value.name == "probe",
    "retries": 0,
    "headers": {"h": "x"},
    "eta": DUE,
    "expires": datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC).isoformat(),
    "hostname": lambda value: isinstance(value, str) and value,
    "delivery_info": {"exchange": "", "routing_key": "q", "priority": 3, "redelivered": False},
    "correlation_id": "i",
    "is_eager": False,
    "called_directly": False,
    "timelimit": (9.0, 4.0),
    "ignore_result": True,
    "callbacks": ["other"],
    "errbacks": ["other"],
    "utc": True,
    "get": lambda value: value("root_id") == "r" and value("nothing", 5) == 5,
}

OPTIONS = {
    "task_id": "i",
    "root_id": "r",
    "parent_id": "p",
    "headers": {"h": "x"},
    "countdown": 30,
    "expires": 90,
    "queue": "q",
    "priority": 3,
    "time_limit": 9,
    "soft_time_limit": 4,
    "ignore_result": True,
}


def seen(app, harness, field, **options):
    """What a task reads from its request."""
    found = []

    def probe(self, a: int = 0, b: int = 0) -> None:
        found.append(getattr(self.request, field))

    task = app.task(name="probe", bind=True)(probe)
    other = app.task(name="other")(lambda *a: None)
    task.apply_async((1,), {"b": 2}, **{"link": other.s(), "link_error": other.s(), **OPTIONS, **options})
    harness.run_until_idle(advance=True)
    return found[0]


@pytest.mark.parametrize("field", WORKS)
def test_a_field_that_works_is_seen_in_a_task(app, harness, field):
    value, expected = seen(app, harness, field), WORKS[field]
    assert expected(value) if callable(expected) else value == expected


def test_every_field_that_works_has_its_test():
    assert {name for name, entry in REQUEST_FIELDS.items() if entry.status == "works"} == WORKS.keys()


def test_a_message_that_waits_for_nothing_has_no_eta_and_no_expiry(app, harness):
    options = {"countdown": None, "expires": None}
    assert seen(app, harness, "eta", **options) is None


def test_an_expiry_at_a_moment_is_that_moment(app, harness):
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert seen(app, harness, "expires", expires=moment) == moment.isoformat()


def test_a_run_that_follows_another_is_redelivered(app, harness):
    found = []

    def probe(self):
        found.append((self.request.retries, self.request.delivery_info["redelivered"], self.request.eta))
        if len(found) < 2:
            raise self.retry(countdown=30)

    app.task(name="probe", bind=True)(probe).delay()
    harness.run_until_idle(advance=True)
    assert found == [(0, False, None), (1, True, DUE)]


@pytest.mark.parametrize("field", [name for name, entry in REQUEST_FIELDS.items() if entry.status != "works"])
def test_a_field_that_is_not_there_says_what_to_use(app, harness, field):
    def probe(self):
        try:
            getattr(self.request, field)
        except CeleryNameError as error:
            return str(error)

    handle = app.task(name="probe", bind=True)(probe).delay()
    harness.run_until_idle()
    text = handle.get(0)
    assert f"request.{field}" in text and REQUEST_FIELDS[field].text in text


def test_a_name_that_nobody_has_is_a_plain_error(app, harness):
    handle = app.task(name="probe", bind=True)(lambda self: hasattr(self.request, "zebra")).delay()
    harness.run_until_idle()
    assert handle.get(0) is False
