"""What Celery's `app.conf` has beside settings, and settings under Celery's spellings."""

from __future__ import annotations

from typing import Any

from reliq.compat.names import Name, Refused, refuse
from reliq.compat.settings import CELERY_SETTINGS, setting_named
from reliq.errors import CeleryNameError
from reliq.settings import SETTINGS

# fmt: off
CONF_NAMES: dict[str, Name] = {
    "update": Name("works"),
    "get": Name("works", text="also `conf[name]`, in every spelling"),
    "items": Name("works", text="name, value and source of each setting"),
    "setdefault": Name("use", text="use conf.update(), or conf.source(name) to see who set it"),
    "pop": Name("use", text="a setting is set, not removed"),
    "keys": Name("use", text="use conf.items(), or `reliq config`"),
    "values": Name("use", text="use conf.items(), or `reliq config`"),
    "changes": Name("use", text="use conf.source(name), or `reliq config`"),
    "defaults": Name("use", text="use conf.source(name), or `reliq config`"),
    "add_defaults": Name("use", text="use conf.update()"),
    "humanize": Name("use", text="use `reliq config`"),
    "table": Name("use", text="use conf.items(), or `reliq config`"),
    "with_defaults": Name("use", text="every setting has its default here"),
    "without_defaults": Name("use", text="use conf.source(name)"),
    "find_option": Name("use", text="use conf.doc(name)"),
    "find_value_for_key": Name("use", text="use conf[name]"),
    "finalize": Name("use", text="a configuration is ready at once, and frozen at its first use"),
    "prefix": Name("use", text="give namespace= to config_from_object"),
}
# fmt: on


class _Spelling:
    """A setting under one of Celery's spellings."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        return self if instance is None else vars(instance)[self.name]


@refuse(CONF_NAMES)
class ConfigNames:
    """Settings as items, and Celery's names for them."""

    _spoken = "app.conf"

    def __getitem__(self, name: str) -> Any:
        if name not in vars(self) and name not in _NAMES:
            entry = setting_named(name)
            if entry is None:
                raise KeyError(name)
            raise CeleryNameError(entry.answer(f"app.conf[{name!r}]"), name=name)
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a setting, in any spelling; the default for one that is not here."""
        return self[name] if name in vars(self) or name in _NAMES else default


_NAMES = {alias: setting.name for setting in SETTINGS for alias in setting.aliases}
for _alias, _name in _NAMES.items():
    setattr(ConfigNames, _alias, _Spelling(_name))
for _name, _entry in CELERY_SETTINGS.items():
    setattr(ConfigNames, _name, Refused(_name, _entry))
