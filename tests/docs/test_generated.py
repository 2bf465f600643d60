"""The tables of the reference say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from reliq.options import TaskOptions
from reliq.tasks import CALL_NAMES

DOCS = Path(__file__).parents[2] / "docs"

_spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
assert _spec is not None and _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize(("name", "text"), generate.pages().items(), ids=generate.pages())
def test_a_generated_page_is_up_to_date(name: str, text: str) -> None:
    assert (DOCS / "reference" / name).read_text("utf-8") == text, "run: python docs/generate.py"


def test_the_page_of_tasks_has_every_option() -> None:
    page = (DOCS / "reference" / "tasks.md").read_text("utf-8")
    task, call = page.split("## Call options")
    celerys = {n for n in TaskOptions.names() if n.startswith(("retry_", "default_"))} - {"retry_on"}
    assert not [name for name in TaskOptions.names() - celerys if f"| `{name}` |" not in task]
    assert not [name for name in CALL_NAMES if f"`{name}`" not in call.split("## Calling")[0]]
