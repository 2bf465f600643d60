"""A virtual environment for each peer, with pinned versions, made once and kept in a folder outside the tree."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reliq-benchmarks"


def python_of(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of the environment with exactly these requirements; it is made when there is none.

    Without requirements it is this interpreter.  `RuntimeError` carries what pip said.
    """
    if not requirements:
        return Path(sys.executable)
    folder = FOLDER / f"{name}-{digest(requirements)}"
    if not (folder / "complete").exists():
        _make(folder, requirements)
    return folder / "bin" / "python"


def digest(requirements: Sequence[str]) -> str:
    """Changes with the versions that are asked for, and with Python's."""
    text = "\n".join([sys.version, *sorted(requirements)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def versions_in(python: Path) -> dict[str, str]:
    """What is installed there."""
    code = "import importlib.metadata as m; [print(d.name.lower(), d.version) for d in m.distributions()]"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    return dict(sorted(line.split() for line in found.splitlines()))


def _make(folder: Path, requirements: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # one that was begun and not completed
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise RuntimeError(f"pip could not install {', '.join(requirements)} in {folder}:\n{made.stderr}")
    (folder / "complete").touch()
