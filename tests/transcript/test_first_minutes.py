"""The README's "The first five minutes", typed as a reader types it, with real workers.

When this fails, a command prints something else than the README says: the failure shows the difference and the new
output, and one of the two has to change.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transcript.page import README, Step, steps
from tests.transcript.reading import Bindings, Differs, compare, without_root
from tests.transcript.terminal import Terminals

DEMO = "reliq demo"
PATIENCE = 15.0


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()


def test_the_first_five_minutes_go_as_the_readme_says(terminals: Terminals) -> None:
    bindings = Bindings()
    for step in steps():
        if step.typed == DEMO:
            continue  # below
        end = time.monotonic() + PATIENCE
        while (difference := look(step, terminals, bindings)) and may_be_repeated(step, end):
            time.sleep(0.5)
        if difference:
            pytest.fail(f"README.md:{step.line}: {step.typed or 'the worker'}\n\n{difference}", pytrace=False)


def test_the_demo_prints_what_the_readme_says(terminals: Terminals) -> None:
    (step,) = [step for step in steps() if step.typed == DEMO]
    try:
        compare(terminals.run(f"{DEMO} --files 60"), step.printed, Bindings(), demo=True)
    except Differs as differs:
        pytest.fail(f"README.md:{step.line}: {step.typed}\n\n{differs}", pytrace=False)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_what_the_readme_begins_with_installs_reliq_and_proves_the_sum(tmp_path: Path) -> None:
    """In a copy of the source, with packages from the registry."""
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns(".*", "_build", "__pycache__", "tests")
    shutil.copytree(README.parent, source, ignore=unwanted)
    (command,) = re.findall(r"^python3 -m venv .* demo$", README.read_text("utf-8"), re.M)
    environ = {n: v for n, v in os.environ.items() if not n.startswith(("RELIQ_", "PYTHON"))}
    done = subprocess.run(
        command, shell=True, cwd=source, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nthe sum is proved, after " in done.stdout


def test_the_banner_is_at_most_twelve_lines_long() -> None:
    (worker,) = [step for step in steps() if step.typed.startswith("reliq worker -A shop ")]
    banner = worker.printed.split("\n\n")[0].splitlines()
    said = " ".join(line.split()[0] for line in banner)
    assert said == "reliq app broker durability queues tasks middleware runs"
    assert len(banner) <= 12


def look(step: Step, terminals: Terminals, bindings: Bindings) -> str:
    """Do a step; the difference between what is printed and what the README says, if there is one."""
    try:
        compare(follow(step, terminals, bindings), step.printed.removeprefix("^C\n"), bindings)
    except Differs as differs:
        return str(differs)
    return ""


def may_be_repeated(step: Step, end: float) -> bool:
    """A reader looks again when this machine is slower than the README's."""
    return step.typed.startswith("reliq why") and time.monotonic() < end


def follow(step: Step, terminals: Terminals, bindings: Bindings) -> str:
    """Do what a step says; what is printed then."""
    if step.kind == "statement":
        return terminals.type(bindings.applied(step.typed))
    if step.kind == "command" and not step.typed.startswith("reliq worker -A shop "):
        return terminals.run(bindings.applied(step.typed))
    if step.kind == "command":
        terminals.start_worker(step.typed)
    elif step.printed.startswith("^C\n"):
        terminals.press_ctrl_c()
    return read_worker(step, terminals)


def read_worker(step: Step, terminals: Terminals) -> str:
    wanted = step.printed.removeprefix("^C\n").count("\n")
    printed = without_root(terminals.next_lines(wanted))
    missing = wanted - printed.count("\n")
    printed += without_root(terminals.next_lines(missing)) if missing > 0 else ""
    # A burial and the start of the next child are logged by two threads at the same time, in either order.
    return "".join(sorted(printed.splitlines(keepends=True), key=lambda line: " started worker=" in line))
