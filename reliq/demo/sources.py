"""The input: the source files of the installed standard library, and what is counted in one."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(sysconfig.get_paths()["stdlib"])
_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")


class Counts(NamedTuple):
    """What is in one file, or in many."""

    files: int = 0
    classes: int = 0
    functions: int = 0
    lines: int = 0
    unparsable: int = 0  # a few files of the standard library's own tests are wrong on purpose

    def plus(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


def source_files() -> list[str]:
    """All `.py` files of the standard library, relative to its root, sorted; installed packages are not part of it."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    return sorted(str(path) for path in found if not {"site-packages", "dist-packages"} & set(path.parts))


def count_file(path: str) -> Counts:
    """Parse one file and count."""
    source = (ROOT / path).read_bytes()
    lines = source.count(b"\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are not ours to report
            module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Counts(files=1, lines=lines, unparsable=1)
    classes, functions = _definitions(module)
    return Counts(1, classes, functions, lines)


def count_all(paths: Iterable[str]) -> Counts:
    """One plain pass, one file after the other, here and now."""
    total = Counts()
    for path in paths:
        total = total.plus(count_file(path))
    return total


def _definitions(module: ast.Module) -> tuple[int, int]:
    # Definitions are statements, so expressions, most of a tree, need not be looked at.
    classes = functions = 0
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        classes += isinstance(node, ast.ClassDef)
        functions += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for name in _BLOCKS:
            block = getattr(node, name, None)
            if isinstance(block, list):
                waiting += block
    return classes, functions
