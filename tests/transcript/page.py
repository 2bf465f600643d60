"""The blocks of the README's section, in their order.

    console   `$ command` and what it prints; `$ reliq worker` goes on running, in a terminal of its own
    pycon     `>>> statement` and what it prints, of an error only its last line; all of them in one interpreter
    text      the next lines of the worker's terminal; `^C` is a key that is pressed there

A line `...` in what is printed stands for any lines.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

README = Path(__file__).parents[2] / "README.md"
_SECTION = re.compile(r"<!-- first-five-minutes -->\n(.*?)<!-- /first-five-minutes -->", re.S)
_FENCE = re.compile(r"^```(?P<kind>console|pycon|text)\n(?P<body>.*?)^```$", re.M | re.S)


class Step(NamedTuple):
    """What is typed (nothing in the worker's terminal), and what is then to be read; `line` is the README's."""

    kind: Literal["command", "statement", "worker"]
    typed: str
    printed: str
    line: int


def steps(page: Path = README) -> list[Step]:
    """Everything a reader of the section does, in order."""
    text = page.read_text("utf-8")
    section = _SECTION.search(text)
    assert section is not None, f"{page} has no section between the markers"
    found: list[Step] = []
    for fence in _FENCE.finditer(section[1]):
        first = text.count("\n", 0, section.start(1) + fence.start("body")) + 1
        if fence["kind"] == "text":
            found.append(Step("worker", "", fence["body"], first))
        else:
            prompt = "$ " if fence["kind"] == "console" else ">>> "
            kind = "command" if fence["kind"] == "console" else "statement"
            found += _split(fence["body"], prompt, kind, first)
    return found


def _split(body: str, prompt: str, kind: Literal["command", "statement"], first: int) -> list[Step]:
    found: list[Step] = []
    for number, line in enumerate(body.splitlines(keepends=True)):
        if line.startswith(prompt):
            found.append(Step(kind, line.removeprefix(prompt).rstrip(), "", first + number))
        elif kind == "statement" and line.startswith("... ") and not found[-1].printed:
            found[-1] = found[-1]._replace(typed=f"{found[-1].typed}\n{line[4:].rstrip()}")
        else:
            found[-1] = found[-1]._replace(printed=found[-1].printed + line)
    return found
