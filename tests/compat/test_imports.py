"""Every row of the table of imports, and the page that is written from all tables."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import reliq
from reliq.compat.imports import IMPORTS
from reliq.compat.page import TABLES, page
from reliq.compat.settings import CELERY_SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "celery-names.md"


@pytest.mark.parametrize("name", [n for n, entry in IMPORTS.items() if entry.status == "works"])
def test_what_is_said_to_be_here_can_be_imported(name):
    there = IMPORTS[name].to
    if name == "celery.signals":
        there += ".task_prerun"
    module, _, attribute = there.rpartition(".")
    assert hasattr(import_module(module), attribute)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Celery", "celery.Celery is reliq.Reliq here: from reliq import Reliq"),
        ("shared_task", "celery.shared_task is reliq.task here: from reliq import task"),
        ("AsyncResult", "made by app.AsyncResult(id)"),
        ("chain", "celery.chain is not there yet"),
        ("Relik", "did you mean 'Reliq'?"),
    ],
)
def test_importing_a_name_that_is_not_here_says_what_to_use(name, said):
    with pytest.raises(ImportError) as refused:
        exec(f"from reliq import {name}")
    assert said in str(refused.value)
    with pytest.raises(AttributeError) as missing:
        getattr(reliq, name)
    assert said in str(missing.value)


def test_a_module_is_imported_whatever_name_it_resembles():
    command = "from reliq import signals, tasks, retry"
    ran = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert "cannot import name 'retry' from 'reliq': did you mean 'Retry'?" in ran.stderr


def test_a_row_that_does_not_work_says_what_to_do():
    for table in (*TABLES.values(), CELERY_SETTINGS):
        assert all(entry.text for entry in table.values() if entry.status != "works")
        assert all(entry.values for entry in table.values() if entry.status == "always")


def test_the_page_is_what_the_tables_say():
    assert PAGE.read_text("utf-8") == page(), "python -m reliq.compat > docs/reference/celery-names.md"


def test_the_page_has_every_name():
    text = page()
    for table in (*TABLES.values(), CELERY_SETTINGS):
        assert all(f"| `{name}` |" in text for name in table)


def test_the_page_is_printed_by_the_module():
    run = subprocess.run(
        [sys.executable, "-m", "reliq.compat"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PAGE.parents[2],
    )
    assert run.stdout == page()
