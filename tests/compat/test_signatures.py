"""Every row of the signatures' table."""

from __future__ import annotations

import pytest

from reliq.compat.signatures import SIGNATURE_NAMES
from reliq.errors import CeleryNameError, OptionError


def ran(harness, handle):
    harness.run_until_idle(advance=True)
    return handle.get(0)


# name -> what it gives for `add.s("b", c="c")`
WORKS = {
    "task": lambda s, h: s.task.name == "join",
    "type": lambda s, h: s.type is s.task,
    "name": lambda s, h: s.name == "join",
    "args": lambda s, h: s.args == ("b",),
    "kwargs": lambda s, h: s.kwargs == {"c": "c"},
    "options": lambda s, h: s.set(queue="q").options == {"queue": "q"},
    "immutable": lambda s, h: s.immutable is False and s.task.si("a").immutable,
    "delay": lambda s, h: ran(h, s.delay()) == "b-c" and ran(h, s.delay("a", c="d")) == "abd",
    "apply_async": lambda s, h: ran(h, s.apply_async(("a",), {"c": "d"}, countdown=3)) == "abd",
    "apply": lambda s, h: s.apply(("a",)).get() == "abc",
    "clone": lambda s, h: (s.clone(("a",), {"c": "d"}).args, s.args) == (("a", "b"), ("b",)),
    "set": lambda s, h: s.set(countdown=5).delay().record().state == "due",
}


@pytest.fixture
def signature(app, harness):
    def join(a: str, b: str = "-", c: str = "-") -> str:
        return a + b + c

    return app.task(name="join")(join).s("b", c="c")


@pytest.mark.parametrize("name", WORKS)
def test_a_name_that_works(signature, harness, name):
    assert WORKS[name](signature, harness)


def test_every_name_that_works_has_its_test():
    assert {name for name, entry in SIGNATURE_NAMES.items() if entry.status == "works"} == WORKS.keys()


@pytest.mark.parametrize("name", [n for n, entry in SIGNATURE_NAMES.items() if entry.status != "works"])
def test_a_name_that_is_not_there_says_what_to_use(signature, name):
    with pytest.raises(CeleryNameError) as caught:
        getattr(signature, name)
    assert f"signature.{name}" in str(caught.value) and SIGNATURE_NAMES[name].text in str(caught.value)


def test_a_chain_is_planned(signature):
    with pytest.raises(OptionError, match="workflows are planned; use apply_async"):
        signature | signature


def test_an_immutable_signature_takes_no_more_arguments(signature):
    with pytest.raises(OptionError, match="is immutable"):
        signature.task.si("a").delay("b")


def test_retry_takes_no_options_of_another_message(app):
    task = app.task(name="t", bind=True)(lambda self: self.retry(queue="other"))
    with pytest.raises(OptionError, match=r"t.retry\(queue=\)"):
        task.apply(throw=True)
