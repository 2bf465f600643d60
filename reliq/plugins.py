"""What is installed beside the core: engines by URL scheme and middleware by name, found through entry points."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from reliq.errors import ConfigError, MissingExtra, UnknownPlugin
from reliq.middleware import Middleware
from reliq.policy.clock import Clock

if TYPE_CHECKING:
    from reliq.ports.broker import Engine

#: Extras of the distribution, by the module whose absence asks for them.
EXTRAS = {
    "redis": "redis",
    "kombu": "amqp",
    "sentry_sdk": "sentry",
    "opentelemetry": "otel",
    "tenacity": "tenacity",
    "sqlalchemy": "sqlalchemy",
    "django": "django",
}

#: Schemes whose engine comes with an extra or is planned, for a better answer than "unknown".
_SCHEMES = {"amqp": "amqp", "amqps": "amqp"}


def open_engine(url: str, *, app: str, clock: Clock | None = None) -> Engine:
    """The engine for a URL; `ConfigError` names the schemes there are."""
    scheme = url.partition("://")[0] if "://" in url else ""
    found = {point.name: point for point in entry_points(group="reliq.engines")}
    point = found.get(scheme)
    if point is None:
        known = ", ".join(f"{name}://" for name in sorted(found)) or "none: is reliq-queue installed?"
        if scheme in _SCHEMES:
            raise ConfigError(f"Broker {scheme}:// is not part of this version; there are {known}")
        raise ConfigError(
            f"Broker URL {_shown(url)!r} has no scheme we know; there are {known}, for example sqlite:///shop.db"
        )
    connect = load(point)
    engine: Engine = connect(url, app=app, clock=clock)
    return engine


def load_middleware(spec: Middleware | type | str | Mapping[str, Any]) -> Middleware:
    """An instance from an instance, an entry point's name, an import path, or `{"use": name, option: value}`."""
    if isinstance(spec, Middleware):
        return spec
    if isinstance(spec, type) and issubclass(spec, Middleware):
        return spec()
    options: dict[str, Any] = {}
    if isinstance(spec, Mapping):
        options = dict(spec)
        spec = options.pop("use", "")
    if not isinstance(spec, str) or not spec:
        raise ConfigError(f"middleware takes instances, names or {{'use': name, ...}}, got {spec!r}")
    factory = _by_path(spec) if "." in spec else _by_name(spec)
    try:
        made = factory(**options)
    except TypeError as error:
        raise ConfigError(f"Middleware {spec!r} does not take these options: {error}") from error
    if not isinstance(made, Middleware):
        raise ConfigError(f"{spec!r} is no middleware: it gave {made!r}")
    return made


def installed() -> dict[str, EntryPoint]:
    """The plug-ins there are, by name."""
    return {point.name: point for point in entry_points(group="reliq.plugins")}


def owner_of_option(option: str) -> str | None:
    """The installed middleware that has this task or call option, for the error where it is not switched on."""
    for name, point in installed().items():
        try:
            options = point.load().options
        except (ImportError, AttributeError):
            continue
        if option in options:
            return name
    return None


def load(point: EntryPoint) -> Any:
    """The object of an entry point; `MissingExtra` says what to install."""
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise missing_extra(error, point.name) from error


def missing_extra(error: ModuleNotFoundError, what: str) -> Exception:
    """The error to raise for a module that is not there: `MissingExtra` with the command, where an extra brings it."""
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return error
    return MissingExtra(
        f"{what} needs the package {error.name!r}, which is not installed: pip install 'reliq-queue[{extra}]'",
        extra=extra,
    )


def _by_name(name: str) -> Any:
    points = installed()
    if name not in points:
        there = ", ".join(sorted(points)) or "none"
        what = "is not part of this version" if name in EXTRAS.values() else "is not installed"
        raise UnknownPlugin(f"Middleware {name!r} {what}; there are {there}")
    return load(points[name])


def _by_path(path: str) -> Any:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise UnknownPlugin(f"Middleware {path!r}: there is no module {module!r}") from error
        raise missing_extra(error, path) from error
    except AttributeError as error:
        raise UnknownPlugin(f"Middleware {path!r}: module {module!r} has no {name!r}") from error


def _shown(url: str) -> str:
    return url if "@" not in url else url.partition("://")[0] + "://***@" + url.rpartition("@")[2]
