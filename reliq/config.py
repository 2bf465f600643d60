"""Where settings come from, and which one wins.

default < file or object < constructor and code < `RELIQ_*` in the environment < command line

Every value is checked where it enters, so the error can name its source.  Reading is a plain attribute.  The app
freezes its configuration at its first use: a change that some part of the program would not see is an error.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from reliq.compat.conf import ConfigNames
from reliq.compat.settings import setting_named
from reliq.errors import ConfigError, ConfigFrozen, UnknownSetting
from reliq.policy import kinds
from reliq.policy.redaction import redact
from reliq.settings import SETTINGS, Setting

__all__ = ["Config"]

DEFAULT, FILE, CODE, ENVIRONMENT, COMMAND_LINE = range(5)

# Ours but not settings, or put there by Kubernetes for a service called `reliq`.
_NOT_SETTINGS = re.compile(r"APP|RDB.*|TEST_.*|(.*_)?SERVICE_(HOST|PORT).*|PORT(_.*)?")

# Sections of plug-ins as other projects spell them: in a module they are meant for us, also before they are declared.
_SECTIONS = ("ONCE", "CELERY_ONCE")


class Config(ConfigNames):
    """The settings of one app, as attributes; `source(name)` tells where a value came from."""

    if TYPE_CHECKING:
        broker: str
        imports: tuple[str, ...]
        middleware: tuple[Any, ...]
        default_queue: str
        default_priority: int
        routes: Any
        ignore_result: bool
        max_retries: int | None
        retry_on: tuple[type[BaseException], ...]
        max_crashes: int
        max_snooze: float
        soft_time_limit: float | None
        time_limit: float | None
        result_ttl: float
        keep_done: float
        dead_letter_ttl: float
        park_for: float
        max_message: int
        timezone: str
        naive: str
        concurrency: int
        threads: int
        async_slots: int
        lease: float
        renew_every: float | None
        shutdown_timeout: float
        max_tasks_per_child: int | None
        max_memory_per_child: int | None
        log_level: str
        log_format: str
        _table: dict[str, Setting]
        _names: dict[str, str]  # every spelling -> name
        _given: dict[str, dict[int, tuple[str, Any]]]  # name -> level -> source and value
        _pending: dict[str, list[tuple[int, str, Any]]]  # sections that may be declared later
        _frozen: str | None  # by what
        revision: int  # grows with every change of a value

    def __init__(
        self,
        app: str = "app",
        values: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`values` are the constructor's of the app of that name; `environ` replaces `os.environ`."""
        keep = self.__dict__
        keep["_table"] = {setting.name: setting for setting in SETTINGS}
        keep["_names"] = _spellings(SETTINGS)
        keep["_given"] = {}
        keep["_pending"] = {}
        keep["_frozen"] = None
        keep["revision"] = 0
        for setting in SETTINGS:
            self._resolve(setting)
        for name, value in (values or {}).items():
            self._give(CODE, f"Reliq({app!r}, {name}=...)", name, value)
        self._read_environment(os.environ if environ is None else environ)

    # --- giving values ---

    def __setattr__(self, name: str, value: Any) -> None:
        self._give(CODE, f"app.conf.{name}", name, value)

    def update(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Set several from code; they win over a file and lose to the environment."""
        for name, value in {**(values or {}), **named}.items():
            self._give(CODE, "app.conf.update", name, value)

    def override(self, values: Mapping[str, Any], *, source: str = "command line") -> None:
        """Set from the command line: wins over everything.  A value of None was not given."""
        for name, value in values.items():
            if value is not None:
                self._give(COMMAND_LINE, source, name, value)

    def read(self, origin: Any, *, namespace: str | None = None) -> None:
        """Read settings from a mapping, a module or object, a module's name, `reliq.toml` or `pyproject.toml`.

        With `namespace`, only names with that prefix count (`CELERY` reads `CELERY_TIMEZONE` as timezone).
        """
        source, values, strict = _load(origin)
        prefix = ""
        if namespace is not None:
            prefix = namespace.rstrip("_") + "_"
            values, strict = {k[len(prefix) :]: v for k, v in values.items() if k.startswith(prefix)}, True
        for name, value in values.items():
            spelling = name.lower() if namespace is not None else name
            known = spelling in self._names or spelling in _SECTIONS or setting_named(spelling) is not None
            if not strict and not known and not _looks_like_setting(spelling, self._names):
                continue  # a module may hold other things beside settings
            self._give(FILE, f"{source} ({prefix}{name})", spelling, value)

    def declare(
        self, section: str, schema: type[msgspec.Struct], doc: str = "", *, aliases: tuple[str, ...] = ()
    ) -> None:
        """Add a plug-in's section: a setting whose value is a struct of this type, with all defaults when not given.

        aliases  other spellings of its name
        """
        if section in self._table:
            if self._table[section].doc == doc:
                return
            raise ConfigError(f"Two plug-ins declare the section {section!r}")
        setting = Setting(section, kinds.section(schema), schema(), doc, aliases)
        self._table[section] = setting
        self._names.update(_spellings([setting]))
        self._resolve(setting)
        for spelling in (section, *aliases):
            for level, source, value in self._pending.pop(spelling, ()):
                self._give(level, source, section, value)

    # --- asking ---

    def section(self, name: str) -> Any:
        """The struct of a declared section; the same as the attribute, for those who check types."""
        return self.__dict__[self._find(name, "config.section()").name]

    def source(self, name: str) -> str:
        """Where the value of a setting came from, in words."""
        setting = self._find(name, "config.source()")
        given = self._given.get(setting.name)
        return given[max(given)][0] if given else "default"

    def items(self) -> list[tuple[str, Any, str]]:
        """Every setting in the table's order: name, value fit for printing, source."""
        return [(name, self.printable(name), self.source(name)) for name in self._table]

    def printable(self, name: str) -> Any:
        """The value with passwords hidden."""
        value = getattr(self, name)
        return redact(value) if isinstance(value, str) else value

    def doc(self, name: str) -> str:
        return str(self._find(name, "config.doc()").doc)

    def given_on_command_line(self) -> dict[str, Any]:
        """What `override` set, for a process that must be started with the same."""
        return {name: given[COMMAND_LINE][1] for name, given in self._given.items() if COMMAND_LINE in given}

    def __repr__(self) -> str:
        changed = ", ".join(f"{name}={self.printable(name)!r}" for name in self._given)
        return f"Config({changed})"

    # --- first use ---

    @property
    def frozen(self) -> bool:
        return self._frozen is not None

    def freeze(self, use: str = "the app's first use") -> None:
        """From now on a change raises `ConfigFrozen`, which names `use`.  Checks what only the whole can tell."""
        if self._frozen is not None:
            return
        for name, entries in self._pending.items():
            raise self._unknown(name, entries[0][1])
        if self.renew_every is not None and self.renew_every * 2 > self.lease:
            raise ConfigError(
                f"renew_every is {self.renew_every:g} s ({self.source('renew_every')}) and lease is {self.lease:g} s "
                f"({self.source('lease')}): one late renewal would lose the lease; renew at least twice per lease"
            )
        if (
            self.time_limit is not None
            and self.soft_time_limit is not None
            and self.time_limit < self.soft_time_limit
        ):
            raise ConfigError(
                f"time_limit is {self.time_limit:g} s ({self.source('time_limit')}), below soft_time_limit, "
                f"{self.soft_time_limit:g} s ({self.source('soft_time_limit')}): the soft limit could never act"
            )
        self.__dict__["_frozen"] = use

    # --- steps ---

    def _give(self, level: int, source: str, name: str, value: Any, *, text: bool = False) -> None:
        if name not in self._names and (celery := setting_named(name)) is not None:
            if celery.allows(value):
                return
            raise UnknownSetting(celery.answer(f"{name} (from {source})"), setting=name, nearest=None)
        if name not in self._names and isinstance(value, Mapping) and not self._nearest(name):
            self._pending.setdefault(name, []).append((level, source, value))  # a section declared later
            return
        setting = self._find(name, source)
        if self._frozen is not None:
            raise ConfigFrozen(
                f"{setting.name} was changed by {source} after {self._frozen}; "
                "parts of the program would not see it. Set it where the app is made",
                setting=setting.name,
                source=source,
            )
        self._given.setdefault(setting.name, {})[level] = (
            source,
            _checked(setting, value, source, text=text),
        )
        self._resolve(setting)

    def _resolve(self, setting: Setting) -> None:
        given = self._given.get(setting.name)
        value = given[max(given)][1] if given else setting.default
        self.__dict__[setting.name] = value
        for alias in setting.aliases:
            if not hasattr(type(self), alias):  # of a section: Celery's spellings are names of the class
                self.__dict__[alias] = value
        self.__dict__["revision"] += 1

    def _read_environment(self, environ: Mapping[str, str]) -> None:
        for variable in sorted(environ):
            name = variable.removeprefix("RELIQ_")
            if name == variable or _NOT_SETTINGS.fullmatch(name):
                continue
            text = environ[variable]
            section, _, field = name.lower().partition("__")
            value: Any = {field: text} if field else text
            self._give(ENVIRONMENT, variable, section, value, text=not field)

    def _find(self, name: str, source: str) -> Setting:
        known = self._names.get(name)
        if known is None:
            raise self._unknown(name, source)
        setting: Setting = self._table[known]
        return setting

    def _nearest(self, name: str) -> str | None:
        near = difflib.get_close_matches(name.lower(), self._names, n=1, cutoff=0.7)
        return self._names[near[0]] if near else None

    def _unknown(self, name: str, source: str) -> UnknownSetting:
        nearest = self._nearest(name)
        hint = f"did you mean {nearest!r}?" if nearest else "`reliq config` lists them all"
        return UnknownSetting(
            f"There is no setting {name!r} (from {source}); {hint}", setting=name, nearest=nearest
        )


def _checked(setting: Setting, value: Any, source: str, *, text: bool) -> Any:
    try:
        return setting.kind.parse(value) if text else setting.kind.convert(value)
    except (ValueError, TypeError) as error:
        shown = redact(repr(value))
        why = f" ({redact(str(error))})" if error.args and isinstance(error, kinds.Unfit) else ""
        raise ConfigError(
            f"{setting.name} = {shown[:200]} (from {source}){why}; expected {setting.kind.expected}",
            setting=setting.name,
            source=source,
            expected=setting.kind.expected,
        ) from error


def _spellings(settings: Iterable[Setting]) -> dict[str, str]:
    names = {}
    for setting in settings:
        for spelling in (setting.name, *setting.aliases):
            names[spelling] = setting.name
    return names


def _looks_like_setting(name: str, names: Iterable[str]) -> bool:
    """Whether a module's unknown attribute is worth an error: public, and near a setting or spelt as Celery spells."""
    if name.startswith("_") or not (name.islower() or name.isupper()):
        return False
    spelt = re.match(r"(task|worker|broker|result|celery|celeryd|celerybeat)_", name.lower())
    return bool(spelt) or bool(difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.85))


def _load(origin: Any) -> tuple[str, dict[str, Any], bool]:
    """Name of the source, its values, and whether every name in it must be a setting."""
    if isinstance(origin, Mapping):
        return "the mapping given", dict(origin), True
    if isinstance(origin, Path) or (isinstance(origin, str) and origin.endswith(".toml")):
        return _load_toml(Path(origin))
    if isinstance(origin, str):
        import importlib

        module, _, attribute = origin.partition(":")
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"No module {error.name!r} to read the configuration {origin!r} from"
            ) from error
        if attribute and not hasattr(found, attribute):
            raise ConfigError(f"Module {module!r} has no {attribute!r} to read the configuration from")
        return _load(getattr(found, attribute) if attribute else found)
    name = origin.__name__ if isinstance(origin, ModuleType | type) else type(origin).__name__
    values = {key: getattr(origin, key) for key in dir(origin) if not key.startswith("_")}
    return name, {k: v for k, v in values.items() if not isinstance(v, ModuleType)}, False


def _load_toml(path: Path) -> tuple[str, dict[str, Any], bool]:
    import tomllib

    try:
        with path.open("rb") as file:
            values: Any = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    if path.name == "pyproject.toml":
        values = values.get("tool", {}).get("reliq")
        if values is None:
            raise ConfigError(f"{path} has no [tool.reliq]")
    return str(path), dict(values), True
