"""What travels of a lock: short where an option has its default, and read once for all calls of a task."""

from __future__ import annotations

import msgspec
import pytest

from reliq import Reliq
from reliq_once import Once, conf
from reliq_once.terms import Terms
from reliq_once.ticket import HEADER, Newer, Ticket, quiet_ttl, ticket_of

DIGEST = "0123456789abcdef0123456789abcdef01234567"


def terms(**options) -> Terms:
    app = Reliq("shop", broker="memory://")
    conf.declare(app)
    return Terms.of(app, Once().over(options, where="here"))


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({}, 0),
        ({"timeout": 20.5}, 0),
        ({"until": "start", "relock_on_retry": True}, 0),
        ({"while_running": 3, "on_busy": "drop"}, 0),
        ({"on_conflict": "rerun", "on_store_error": "run"}, 0),
        ({"hold_on_failure": True}, 0),
        ({"until": "expiry"}, 0),
        ({"debounce": (1, 5)}, 1_700_000_000_000),
    ],
)
def test_a_ticket_arrives_as_it_was_sent(options, first):
    sent = terms(**options)
    expected = msgspec.structs.replace(sent.ticket, digest=DIGEST, first=first)
    for _ in range(2):
        assert ticket_of({HEADER: sent.header(DIGEST, first)}) == expected
        quiet = expected.asks_nothing and not first
        assert quiet_ttl(sent.header(DIGEST, first)) == (expected.ttl if quiet else None)


def test_what_a_ticket_says_by_default_is_left_out():
    assert terms().header(DIGEST, 0) == f'[1,"{DIGEST}",3600000,"d"]'
    assert terms(hold_on_failure=True).header(DIGEST, 0).endswith(',"d",false,false,0,"snooze",false,true]')


def test_a_ticket_of_another_form_is_not_taken_for_one_that_was_read():
    known = terms(timeout=77).header(DIGEST, 0)
    assert quiet_ttl(known) == 77_000
    newer = "[2" + known[2:]
    assert quiet_ttl(newer) is None and ticket_of({HEADER: newer}) == Newer(2)
    for other in (DIGEST[:-1], DIGEST + "0"):
        header = known.replace(DIGEST, other)
        assert quiet_ttl(header) is None and ticket_of({HEADER: header}) == Ticket(1, other, 77_000, "d")


def test_terms_follow_the_app_s_settings_while_they_can_change():
    app = Reliq("shop", broker="memory://")
    conf.declare(app)
    before = Terms.of(app, Once())
    app.conf.ONCE = {"settings": {"default_timeout": 5}}
    assert before.revision != app.conf.revision and Terms.of(app, Once()).ticket.ttl == 5_000
