"""Every Python block of the documentation compiles, and those named after an example are that example, which runs.

A block whose first line is `# example: name.py` must equal `examples/name.py`.  Blocks that show a part of something
(`...`, a call alone) only have to compile.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>`{3,})python\n(?P<body>.*?)^(?P=indent)(?P=ticks)$", re.M | re.S
)
_NAMED = re.compile(r"# example: (?P<name>[\w-]+\.py)\n")


def blocks() -> list[pytest.param]:
    found = []
    for page in PAGES:
        if "_build" in page.parts:
            continue
        text = page.read_text("utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            body = re.sub(f"^{match['indent']}", "", match["body"], flags=re.M)
            found.append(pytest.param(body, id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.mark.parametrize("body", blocks())
def test_a_snippet_is_valid_python_and_equals_the_example_it_names(body):
    compile(body, "<snippet>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    named = _NAMED.match(body)
    if named:
        assert body == (ROOT / "examples" / named["name"]).read_text("utf-8")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_names_itself_so_that_a_page_can_show_it(example):
    assert example.read_text("utf-8").startswith(f"# example: {example.name}\n")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example, tmp_path):
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
