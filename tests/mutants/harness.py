"""Source patches that must make tests fail: a patch is applied to a copy of a plug-in, and tests are run with the copy.

A mutant that survives says that nothing tests what it breaks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Patch", "Run", "run_with"]

ROOT = Path(__file__).parents[2]
_FAILED = 1  # the exit status of pytest when tests ran and some failed
_PATIENCE = 180


@dataclass(frozen=True, slots=True)
class Patch:
    """One mutant.

    name    what it breaks, as a sentence
    file    in the package
    before  stands in the file exactly once
    tests   what to run: arguments of pytest
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """How the tests went with the mutant: it is dead only if tests ran, and one failed."""

    status: int
    output: str

    @property
    def killed(self) -> bool:
        return self.status == _FAILED


def run_with(patch: Patch, *, package: str, folder: Path) -> Run:
    """Run the patch's tests against a patched copy of `plugins/<package>` below `folder`."""
    copy = folder / package
    shutil.copytree(ROOT / "plugins" / package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = (copy / patch.file).read_text("utf-8")
    if source.count(patch.before) != 1:
        raise AssertionError(
            f"{patch.name!r}: {package}/{patch.file} has {source.count(patch.before)} times {patch.before!r}, "
            "it must be there once; the patch is of another version of the file"
        )
    (copy / patch.file).write_text(source.replace(patch.before, patch.after), "utf-8")
    paths = f"{folder} . plugins"  # the copy is found before the original
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-o",
        f"pythonpath={paths}",
    ]
    ran = subprocess.run(
        [*command, *patch.tests],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "RELIQ_TEST_MUTANT": "1",
            "PYTHONPATH": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    return Run(ran.returncode, ran.stdout + ran.stderr)
