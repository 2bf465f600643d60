"""Every row of the table of what `app.conf` has, and settings read in Celery's spellings."""

from __future__ import annotations

import pytest

from reliq.compat.conf import CONF_NAMES
from reliq.compat.settings import CELERY_SETTINGS
from reliq.config import Config
from reliq.errors import CeleryNameError, UnknownSetting
from reliq.settings import SETTINGS


@pytest.fixture
def conf():
    return Config("shop", {}, environ={})


def test_the_names_that_work(conf):
    conf.update({"task_default_queue": "a"}, broker_url="memory://")
    assert conf.get("task_default_queue") == conf["default_queue"] == conf["CELERY_DEFAULT_QUEUE"] == "a"
    assert conf.get("zebra", 3) == 3 and conf.get("beat_schedule") is None
    conf["task_default_queue"] = "b"
    assert ("default_queue", "b", "app.conf.default_queue") not in conf.items()
    assert {name: value for name, value, _ in conf.items()}["default_queue"] == "b"
    assert {n for n, entry in CONF_NAMES.items() if entry.status == "works"} == {"update", "get", "items"}


@pytest.mark.parametrize("name", [n for n, entry in CONF_NAMES.items() if entry.status != "works"])
def test_a_name_that_is_not_there_says_what_to_use(conf, name):
    with pytest.raises(CeleryNameError) as caught:
        getattr(conf, name)
    assert f"app.conf.{name}" in str(caught.value) and CONF_NAMES[name].text in str(caught.value)


@pytest.mark.parametrize(("spelling", "name"), [(a, s.name) for s in SETTINGS for a in s.aliases])
def test_a_setting_is_read_in_every_spelling(conf, spelling, name):
    assert getattr(conf, spelling) == conf[spelling] == getattr(conf, name)


@pytest.mark.parametrize("name", CELERY_SETTINGS)
def test_a_setting_that_is_not_there_is_answered_when_it_is_read(conf, name):
    for read in (lambda: getattr(conf, name), lambda: conf[name]):
        with pytest.raises(CeleryNameError) as caught:
            read()
        assert name in str(caught.value) and CELERY_SETTINGS[name].text in str(caught.value)


def test_an_unknown_item_is_no_setting(conf):
    with pytest.raises(KeyError, match="zebra"):
        conf["zebra"]
    with pytest.raises(UnknownSetting):
        conf["zebra"] = 1
