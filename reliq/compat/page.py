"""The page `docs/reference/celery-names.md`, written from the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reliq.compat.apps import APP_NAMES
from reliq.compat.conf import CONF_NAMES
from reliq.compat.flags import WORKER_FLAGS
from reliq.compat.imports import IMPORTS
from reliq.compat.names import Name
from reliq.compat.options import CALL_OPTIONS, TASK_OPTIONS
from reliq.compat.request import REQUEST_FIELDS
from reliq.compat.results import GET_OPTIONS, RESULT_NAMES
from reliq.compat.settings import CELERY_SETTINGS, old_name
from reliq.compat.signals import SIGNALS
from reliq.compat.signatures import SIGNATURE_NAMES
from reliq.compat.tasks import OVERRIDES, TASK_NAMES
from reliq.settings import SETTINGS

_HEAD = """\
# Celery's names

Every name that you bring along from Celery works, or raises an error that says what to use, or one that says that it is
not there yet. Nothing is silently ignored. This page is written from the tables that drive that behaviour
(`python -m reliq.compat`).

| | |
|---|---|
| works | as in Celery; the note says what differs |
| always so | what it asks for is always so: asking for it is accepted, asking for anything else is refused |
| use | refused; the note says what to do instead |
| not yet | refused; it is planned |
"""

_WORDS = {"works": "works", "always": "always so", "use": "use", "not_yet": "not yet"}

TABLES: dict[str, Mapping[str, Name]] = {
    "Imports": IMPORTS,
    "Task options": TASK_OPTIONS,
    "Call options": CALL_OPTIONS,
    "The request (`self.request`, `current()`)": REQUEST_FIELDS,
    "Tasks": TASK_NAMES,
    "Results": RESULT_NAMES,
    "Options of `result.get()`": GET_OPTIONS,
    "Signatures": SIGNATURE_NAMES,
    "The app": APP_NAMES,
    "The configuration (`app.conf`)": CONF_NAMES,
    "Signals": SIGNALS,
    "Flags of the worker": WORKER_FLAGS,
}


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for title, table in TABLES.items():
        parts.append(_section(title, table))
    parts += [_bases(), _settings()]
    return "\n".join(parts)


def _section(title: str, table: Mapping[str, Name]) -> str:
    rows = (f"| `{name}` | {_here(entry)} | {_note(entry.text)} |" for name, entry in table.items())
    return _table(title, "| Celery | here | note |", rows)


def _here(entry: Name) -> str:
    return f"`{entry.to}`" if entry.status == "works" and entry.to else _WORDS[entry.status]


def _bases() -> str:
    title = "What a class given as `base=` cannot override"
    return _table(title, "| method | instead |", (f"| `{n}` | {_note(t)} |" for n, t in OVERRIDES.items()))


def _settings() -> str:
    title = "Settings"
    return _table(title, "| Celery | before 4.0 | here | note |", _setting_rows())


def _setting_rows() -> Iterator[str]:
    for setting in SETTINGS:
        if setting.aliases:
            new = ", ".join(f"`{a}`" for a in setting.aliases if a.islower()) or f"`{setting.name}`"
            old = ", ".join(f"`{a}`" for a in setting.aliases if not a.islower())
            yield f"| {new} | {old} | `{setting.name}` | {_note(setting.doc)} |"
    for name, entry in CELERY_SETTINGS.items():
        yield f"| `{name}` | `{old_name(name)}` | {_WORDS[entry.status]} | {_note(entry.text)} |"


def _table(title: str, head: str, rows: Iterator[str]) -> str:
    rule = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([f"## {title}", "", head, rule, *rows, ""])


def _note(text: str) -> str:
    return text.replace("|", "\\|")
