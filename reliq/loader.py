"""From what a user says after `-A` to the app: `shop`, `shop.jobs:queue`, `shop.py`.

`-A proj` tries `proj:app`, `proj.reliq:app`, `proj.tasks:app`, then the only app in those modules.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from reliq.errors import AppNotFound, ReliqError

if TYPE_CHECKING:
    from reliq.app import Reliq

__all__ = ["load_app"]

VARIABLE = "RELIQ_APP"
_PLACES = ("", ".reliq", ".tasks")
_SHOWN = 6  # lines of a traceback


def load_app(spec: str | None = None) -> Reliq:
    """The app named by `spec`, or by RELIQ_APP; its task modules (`imports`) are loaded too.

    `AppNotFound` tells what was tried, what was found, and how an import failed.
    """
    spec = (spec or os.environ.get(VARIABLE) or "").strip()
    if not spec:
        raise _nothing_given()
    _see_current_directory()
    place, _, name = spec.partition(":")
    module = _module_of_file(place, spec) if place.endswith(".py") or os.sep in place else place
    if not all(part.isidentifier() for part in module.split(".")):
        raise AppNotFound(
            f"-A {spec}: {place!r} is no module name; write -A shop, -A shop.jobs:app or -A shop.py",
            spec=spec,
        )
    app = _attribute(_import(module, spec), name, spec) if name else _search(module, spec)
    import_tasks(app, spec)
    return app


def _search(name: str, spec: str) -> Reliq:
    root = _import(name, spec)
    modules = [root]
    if not name.endswith((".reliq", ".tasks")):
        modules += [_import(name + place, spec) for place in _PLACES[1:] if _has(root, place)]
    for module in modules:
        app: Any = getattr(module, "app", None)
        if _is_app(app):
            return app  # type: ignore[no-any-return]
    found = {
        id(app): (f"{module.__name__}:{key}", app) for module in modules for key, app in _apps_in(module)
    }
    if len(found) == 1:
        return next(iter(found.values()))[1]
    tried = [f"{name}{place}:app" for place in _PLACES]
    if found:
        names = [path for path, _ in found.values()]
        raise AppNotFound(
            f"-A {spec}: there are several apps, {', '.join(names)}; say which, for example -A {names[0]}",
            spec=spec,
            tried=tried,
            found=names,
        )
    raise AppNotFound(
        f"-A {spec}: module {name!r} ({_origin(root)}) has no Reliq instance; tried {', '.join(tried)} and any other "
        f"name. Create one there: app = Reliq({name.rpartition('.')[2]!r}){_elsewhere(name)}",
        spec=spec,
        tried=tried,
        found=[],
    )


def _attribute(module: ModuleType, path: str, spec: str) -> Reliq:
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise _no_attribute(module, path, spec)
        found = getattr(found, part)
    if isinstance(found, ModuleType):
        return _search(found.__name__, spec)
    if not _is_app(found):
        raise AppNotFound(
            f"-A {spec}: {path!r} in module {module.__name__!r} is {_what(found)}, not a Reliq instance"
            f"{_others(module)}",
            spec=spec,
        )
    return found  # type: ignore[no-any-return]


def _no_attribute(module: ModuleType, path: str, spec: str) -> AppNotFound:
    apps = [key for key, _ in _apps_in(module)]
    return AppNotFound(
        f"-A {spec}: module {module.__name__!r} ({_origin(module)}) has no {path!r}{_others(module)}",
        spec=spec,
        found=apps,
        nearest=f"{module.__name__}:{_nearest(path, apps) or apps[0]}" if apps else None,
    )


def _others(module: ModuleType) -> str:
    apps = [key for key, _ in _apps_in(module)]
    if not apps:
        return "; there is no Reliq instance in it"
    return f"; found {', '.join(f'`{key}`' for key in apps)}: -A {module.__name__}:{apps[0]}"


def _import(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise _no_module(name, error.name, spec) from error
        raise _broken(name, spec, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, spec, error) from error


def _no_module(name: str, missing: str, spec: str) -> AppNotFound:
    here = sorted(
        {p.stem for p in _python_files()} | {p.parent.name for p in Path.cwd().glob("*/__init__.py")}
    )
    near = _nearest(name.partition(".")[0], here)
    hint = (
        f"did you mean -A {near}?"
        if near
        else f"in {Path.cwd()} there are {', '.join(here[:8]) or 'no modules'}"
    )
    return AppNotFound(
        f"-A {spec}: there is no module {missing!r}; {hint}", spec=spec, nearest=near, found=here
    )


def _broken(name: str, spec: str, error: BaseException) -> AppNotFound:
    """The import itself failed: the user's own frames tell why."""
    ours = (__file__, "<frozen importlib", importlib.__file__)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    package = str(Path(__file__).parent) + os.sep
    theirs = [f for f in frames if not f.filename.startswith(package)]
    if theirs or not isinstance(error, ReliqError):
        frames = theirs  # what is missing is where the user wrote it
    last = [] if isinstance(error, ReliqError) else traceback.format_exception_only(error)
    lines = "".join([*traceback.format_list(frames), *last]).splitlines()
    shown = "\n".join(lines[-_SHOWN:])
    return AppNotFound(
        f"-A {spec}: importing {name!r} failed with {type(error).__name__}: {error}\n{shown}",
        spec=spec,
        traceback="\n".join(lines),
    )


def import_tasks(app: Reliq, spec: str) -> None:
    """Import the modules of the setting `imports`; `AppNotFound` tells why not."""
    try:
        app.import_tasks()
    except (Exception, SystemExit) as error:
        raise _broken(", ".join(app.conf.imports), spec, error) from error


def _module_of_file(place: str, spec: str) -> str:
    """The module name of a file, with the folder above its outermost package on the path."""
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        near = _nearest(path.name, [p.name for p in path.parent.glob("*.py")])
        hint = f"; did you mean {near}?" if near else ""
        raise AppNotFound(f"-A {spec}: there is no file {path}{hint}", spec=spec, nearest=near)
    parts = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return ".".join(parts)


def _nothing_given() -> AppNotFound:
    candidates = [p for p in _python_files() if "Reliq(" in _text(p)]
    if candidates:
        hint = f"{candidates[0].name} here has one: -A {candidates[0].stem}"
    else:
        hint = "`reliq init shop` writes one to start from"
    return AppNotFound(
        f"No app was given: say where it is with -A shop (shop.py or the package shop) or {VARIABLE}=shop; {hint}",
        spec=None,
        nearest=candidates[0].stem if candidates else None,
    )


def _python_files() -> list[Path]:
    return sorted(Path.cwd().glob("*.py"))[:100]


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(50_000)
    except OSError:
        return ""


def _see_current_directory() -> None:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _has(package: ModuleType, place: str) -> bool:
    return hasattr(package, "__path__") and importlib.util.find_spec(package.__name__ + place) is not None


def _apps_in(module: ModuleType) -> list[tuple[str, Reliq]]:
    """The apps of a module by name, each once, underscored names last."""
    seen: dict[int, tuple[str, Any]] = {}
    for key in sorted(vars(module), key=lambda k: (k.startswith("_"), k)):
        value = vars(module)[key]
        if _is_app(value):
            seen.setdefault(id(value), (key, value))
    return list(seen.values())


def _is_app(value: object) -> bool:
    found = sys.modules.get("reliq.app")  # where it was not imported nobody can have an instance
    return found is not None and isinstance(value, found.Reliq)


def _elsewhere(name: str) -> str:
    """Where else in the package a Reliq instance seems to be."""
    spec = importlib.util.find_spec(name)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.py"))[:50]:
            if path.stem != "__init__" and "Reliq(" in _text(path):
                return f". {path.name} beside it seems to have one: -A {name}.{path.stem}"
    return ""


def _origin(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "a folder without __init__.py"


def _what(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return (
        "a function"
        if callable(value) and hasattr(value, "__name__")
        else f"{type(value).__qualname__!s} object"
    )


def _nearest(word: str, words: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)), None)
