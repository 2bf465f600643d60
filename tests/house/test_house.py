"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/__init__.py"))
PUBLIC_MODULES = {
    "reliq",
    "reliq.cli",
    "reliq.errors",
    "reliq.keys",
    "reliq.middleware",
    "reliq.ports",
    "reliq.testing",
    "reliq.verdicts",
}


def public_objects(package: ModuleType) -> set[str]:
    """What `__all__` names, submodules apart: those are meant to be found under their own name."""
    return {name for name in package.__all__ if not isinstance(getattr(package, name), ModuleType)}


def modules_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        yield path.parent if path.name == "__init__.py" else path


def imports_of(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line, absolute module and imported names of each import statement (relative ones stay in the package)."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, []) for alias in node.names)


def test_no_module_bears_the_name_of_a_public_object():
    # `from reliq import task` must never be a module one day and a function the next.
    names = public_objects(import_module("reliq"))
    for plugin in PLUGINS:
        names |= public_objects(import_module(plugin.name))
    folders = [ROOT / "reliq", *PLUGINS]
    clashes = [
        str(module.relative_to(ROOT))
        for folder in folders
        for module in modules_below(folder)
        if module.with_suffix("").name in names
    ]
    assert clashes == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_public_names_only_and_no_other_plugin(plugin):
    others = {path.name for path in PLUGINS} - {plugin.name}
    public = set(import_module("reliq").__all__)
    wrong = []
    for path in sorted(plugin.rglob("*.py")):
        for line, module, names in imports_of(path):
            top = module.partition(".")[0]
            is_private = top == "reliq" and module not in PUBLIC_MODULES
            unknown = [
                n
                for n in names
                if module == "reliq" and n not in public and f"reliq.{n}" not in PUBLIC_MODULES
            ]
            underscored = [n for n in names if top == "reliq" and n.startswith("_") and n != "__version__"]
            if top in others or is_private or unknown or underscored:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module} {names}")
    assert wrong == []


@pytest.mark.parametrize("package", ["reliq", *(path.name for path in PLUGINS)])
def test_every_package_says_that_it_is_typed(package):
    assert (Path(import_module(package).__file__).parent / "py.typed").is_file()


def test_importing_reliq_costs_msgspec_and_the_standard_library():
    program = (
        "import sys, json; import site; before = set(sys.modules); import reliq; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(run.stdout)}
    assert loaded - set(sys.stdlib_module_names) <= {"reliq", "msgspec"}
    heavy = {"asyncio", "click", "http", "logging", "multiprocessing", "rich", "sqlite3", "urllib"}
    assert loaded & heavy == set()


def test_every_public_name_of_reliq_can_be_had():
    reliq = import_module("reliq")
    assert [name for name in reliq.__all__ if not hasattr(reliq, name)] == []
    assert list(reliq.__all__) == sorted(reliq.__all__)


def test_the_layers_hold():
    # Without an editable install the plug-ins' folder is not on the path.
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'plugins')!r}]; "
        "from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
