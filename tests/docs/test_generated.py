"""The tables of the reference say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"

_spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
assert _spec is not None and _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize(("name", "text"), generate.pages().items(), ids=generate.pages())
def test_a_generated_page_is_up_to_date(name: str, text: str) -> None:
    assert (DOCS / "reference" / name).read_text("utf-8") == text, "run: python docs/generate.py"
