"""Mutants that no test can find, because they do the same; each with its reason."""

from __future__ import annotations

EQUAL: dict[str, str] = {}
