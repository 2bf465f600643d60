"""Settings: who wins, what is refused, and what the refusal says."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from reliq.config import Config
from reliq.errors import ConfigError, ConfigFrozen, UnknownSetting
from reliq.policy.redaction import redact
from reliq.settings import SETTINGS


def config(values: dict[str, object] | None = None, **environ: str) -> Config:
    return Config("shop", values, environ=environ)


def test_every_default_is_a_value_of_its_kind() -> None:
    for setting in SETTINGS:
        setting.kind.convert(setting.default)
        assert setting.doc and not setting.doc.endswith(".")


def test_no_spelling_belongs_to_two_settings() -> None:
    spellings = [s for setting in SETTINGS for s in (setting.name, *setting.aliases)]
    assert len(spellings) == len(set(spellings))


def test_each_source_wins_over_the_one_before_it() -> None:
    conf = config()
    assert (conf.lease, conf.source("lease")) == (30.0, "default")
    conf.read({"lease": 20})
    assert (conf.lease, conf.source("lease")) == (20.0, "the mapping given (lease)")
    conf.update(lease=21)
    assert (conf.lease, conf.source("lease")) == (21.0, "app.conf.update")
    conf = config({"lease": 21}, RELIQ_LEASE="22")
    conf.read({"lease": 20})
    assert (conf.lease, conf.source("lease")) == (22.0, "RELIQ_LEASE")
    conf.override({"lease": 23, "threads": None}, source="--lease")
    assert (conf.lease, conf.source("lease"), conf.threads) == (23.0, "--lease", 1)
    assert conf.given_on_command_line() == {"lease": 23.0}


def test_an_attribute_may_be_set_until_the_first_use() -> None:
    conf = config()
    conf.lease = 5
    assert conf.lease == 5.0
    conf.freeze("the first publish")
    with pytest.raises(ConfigFrozen, match=r"lease was changed by app.conf.lease after the first publish"):
        conf.lease = 6
    assert conf.lease == 5.0


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownSetting, match="did you mean 'concurrency'") as caught:
        config({"concurency": 3})
    assert caught.value.__dict__["nearest"] == "concurrency"
    with pytest.raises(UnknownSetting, match=r"from RELIQ_LEESE.*'lease'"):
        config(RELIQ_LEESE="3")


def test_a_celery_setting_without_a_counterpart_is_answered() -> None:
    with pytest.raises(UnknownSetting, match="always acknowledged after they ran"):
        config({"CELERY_ACKS_LATE": False})


@pytest.mark.parametrize(("spelling", "name"), [(a, s.name) for s in SETTINGS for a in s.aliases])
def test_celerys_spelling_sets_the_same(spelling: str, name: str) -> None:
    values = {"broker": "memory://", "imports": ["a"], "routes": {"a": "b"}, "timezone": "Europe/Berlin"}
    value = values.get(name, True if name == "ignore_result" else "q" if name == "default_queue" else 7)
    conf = config({spelling: value})
    assert conf.source(name) == f"Reliq('shop', {spelling}=...)"


def test_a_wrong_value_names_setting_value_source_and_what_was_expected() -> None:
    with pytest.raises(ConfigError) as caught:
        config(RELIQ_THREADS="many")
    assert str(caught.value) == "threads = 'many' (from RELIQ_THREADS); expected a whole number from 1"
    with pytest.raises(ConfigError, match="time zone 'Mars/Base'"):
        config({"timezone": "Mars/Base"})
    with pytest.raises(ConfigError, match=r"5 is no middleware"):
        config({"middleware": [5]})
    with pytest.raises(
        ConfigError, match=r"'a' leads to \{'exchange': 'x'\}; a target is a queue or a table"
    ):
        config({"routes": {"a": {"exchange": "x"}}})
    with pytest.raises(ConfigError, match=r"not possible yet"):
        config({"routes": print})


@pytest.mark.parametrize("bad", [True, -1, "soon", float("nan"), None, 0])
def test_a_lease_that_is_no_duration_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError):
        config({"lease": bad})


def test_durations_are_numbers_timedeltas_or_text() -> None:
    assert config({"result_ttl": timedelta(hours=2)}).result_ttl == 7200.0
    assert config(RELIQ_RESULT_TTL="2h").result_ttl == 7200.0
    assert config(RELIQ_TIME_LIMIT="none").time_limit is None
    assert config(RELIQ_SOFT_TIME_LIMIT="500ms").soft_time_limit == 0.5


def test_text_of_the_environment_becomes_the_kind_of_the_setting() -> None:
    conf = config(
        RELIQ_IGNORE_RESULT="yes",
        RELIQ_IMPORTS="shop.tasks, shop.mail",
        RELIQ_RETRY_ON="TimeoutError,json.JSONDecodeError",
        RELIQ_ROUTES='{"shop.*": "shop"}',
        RELIQ_MIDDLEWARE='[{"use": "idempotency", "ttl": 5}]',
    )
    assert conf.ignore_result is True
    assert conf.imports == ("shop.tasks", "shop.mail")
    assert [e.__name__ for e in conf.retry_on] == ["TimeoutError", "JSONDecodeError"]
    assert conf.routes == {"shop.*": "shop"}
    assert conf.middleware == ({"use": "idempotency", "ttl": 5},)


def test_what_is_no_setting_in_the_environment_is_left_alone() -> None:
    conf = config(
        RELIQ_APP="shop",
        RELIQ_SERVICE_HOST="10.0.0.1",
        RELIQ_PORT_80_TCP="x",
        RELIQ_TEST_REQUIRE="all",
        HOME="/",
    )
    assert repr(conf) == "Config()"


def test_the_lease_must_be_renewed_twice_in_its_life() -> None:
    conf = config({"lease": 3})
    conf.renew_every = 2
    with pytest.raises(ConfigError, match="renew at least twice per lease"):
        conf.freeze()


def test_a_soft_limit_above_the_hard_one_is_refused_as_a_whole() -> None:
    with pytest.raises(ConfigError, match="could never act"):
        config({"time_limit": 5, "soft_time_limit": 6}).freeze()


def test_passwords_are_not_printed() -> None:
    conf = config({"broker": "sqlite://user:hunter2@host/0"})
    assert "hunter2" not in repr(conf) + str(conf.items())
    assert conf.broker == "sqlite://user:hunter2@host/0"
    with pytest.raises(ConfigError) as caught:
        config({"threads": "redis://u:hunter2@h"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://u:p/w@x@h/0", "redis://u:***@h/0"),
        ("redis://h:6379/0?mail=a@b", "redis://h:6379/0?mail=a@b"),
        ("amqp://h/?password=abc&x=1", "amqp://h/?password=***&x=1"),
        (
            "redis+sentinel://h/m?sentinel_password=abc&ssl_password=d&ssl_keyfile_password=e",
            "redis+sentinel://h/m?sentinel_password=***&ssl_password=***&ssl_keyfile_password=***",
        ),
        ("sqlite:////var/lib/a.db", "sqlite:////var/lib/a.db"),
        (
            "cannot reach redis://u:pw@h: refused, nor amqp://a:b@c/",
            "cannot reach redis://u:***@h: refused, nor amqp://a:***@c/",
        ),
    ],
)
def test_only_the_password_of_a_url_is_hidden(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "reliq.toml"
    path.write_text('lease = 12\nroutes = {"a.*" = "slow"}\nresult_ttl = "2h"\n')
    conf = config()
    conf.read(str(path))
    assert (conf.lease, conf.routes, conf.result_ttl) == (12.0, {"a.*": "slow"}, 7200.0)
    assert conf.source("lease") == f"{path} (lease)"
    project = tmp_path / "pyproject.toml"
    project.write_text("[tool.reliq]\nthreads = 4\n")
    conf.read(project)
    assert conf.threads == 4
    project.write_text("[tool.other]\n")
    with pytest.raises(ConfigError, match="has no \\[tool.reliq\\]"):
        conf.read(project)
    path.write_text("lease = = 3")
    with pytest.raises(ConfigError, match="is no TOML"):
        conf.read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        conf.read(tmp_path / "absent.toml")


def test_an_object_may_hold_other_things_but_no_misspelt_setting() -> None:
    conf = config()
    conf.read(SimpleNamespace(lease=9, connect=print, Path=Path, DEBUG=True))
    assert conf.lease == 9.0
    with pytest.raises(UnknownSetting, match="default_queue"):
        conf.read(SimpleNamespace(task_default_queu="x"))


def test_a_namespace_reads_djangos_settings() -> None:
    conf = config()
    conf.read(SimpleNamespace(CELERY_TASK_DEFAULT_QUEUE="mail", DEBUG=True), namespace="CELERY")
    assert conf.default_queue == "mail"


class Once(msgspec.Struct, frozen=True):
    ttl: float = 60.0


def test_a_plugin_declares_a_section_and_finds_what_was_given_before() -> None:
    conf = config()
    conf.read({"once": {"ttl": 5}})
    conf.declare("once", Once)
    assert conf.section("once") == Once(ttl=5)
    conf.declare("events", Once)
    assert conf.section("events") == Once()
    with pytest.raises(ConfigError, match="it has no `tll`"):
        conf.once = {"tll": 3}


def test_a_section_that_nobody_declares_is_refused_at_first_use() -> None:
    conf = config()
    conf.read({"zebra": {"ttl": 5}})
    with pytest.raises(UnknownSetting, match="zebra"):
        conf.freeze()


def test_its_errors_survive_pickling() -> None:
    with pytest.raises(UnknownSetting) as caught:
        config({"leese": 3})
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.__dict__["nearest"]) == (str(caught.value), "lease")
