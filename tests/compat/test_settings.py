"""Every row of the table of settings, in each of its spellings; tests/unit/test_config.py has the aliases."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reliq.compat.settings import CELERY_SETTINGS, old_name, setting_named
from reliq.compat.spellings import OLD_SETTINGS
from reliq.config import Config
from reliq.errors import UnknownSetting
from reliq.settings import SETTINGS

OURS = {spelling for setting in SETTINGS for spelling in (setting.name, *setting.aliases)}


@pytest.mark.parametrize("name", CELERY_SETTINGS)
def test_a_setting_without_a_counterpart_is_answered_in_every_spelling(name):
    entry = CELERY_SETTINGS[name]
    for spelling in {name, old_name(name), f"CELERY_{name.upper()}"}:
        with pytest.raises(UnknownSetting) as caught:
            Config("shop", {spelling: "something"}, environ={})
        assert spelling in str(caught.value) and entry.text in str(caught.value)


@pytest.mark.parametrize("name", [n for n, entry in CELERY_SETTINGS.items() if entry.values])
def test_a_setting_that_asks_for_what_is_so_is_accepted(name):
    for value in CELERY_SETTINGS[name].values:
        conf = Config("shop", {name: value, old_name(name): value}, environ={})
        assert repr(conf) == "Config()"
        conf.freeze()


def test_the_tables_do_not_overlap_and_each_old_name_leads_somewhere():
    assert not OURS & CELERY_SETTINGS.keys()
    assert not OURS & OLD_SETTINGS.keys()
    assert set(OLD_SETTINGS.values()) <= CELERY_SETTINGS.keys()
    assert all(setting_named(old_name(name)) is CELERY_SETTINGS[name] for name in CELERY_SETTINGS)
    assert all(entry.status != "works" for entry in CELERY_SETTINGS.values())


def test_a_module_with_a_setting_of_celery_s_is_answered_too():
    for name in ("beat_schedule", "CELERYBEAT_SCHEDULE", "event_queue_ttl"):
        with pytest.raises(UnknownSetting, match="not there yet"):
            Config("shop", {}, environ={}).read(SimpleNamespace(**{name: {"a": 1}}, connect=print))


def test_a_setting_in_the_environment_is_answered():
    with pytest.raises(UnknownSetting, match=r"task_acks_late \(from RELIQ_TASK_ACKS_LATE\)"):
        Config("shop", {}, environ={"RELIQ_TASK_ACKS_LATE": "0"})
