"""Compares what a command printed with what the README says it prints.

These may differ, and nothing else:

    ids         01a1fdbe-65f1-72b4-b78d-42d7524ca0bc
    processes   laptop:3836:01405f3c, the name of a worker process: host, process id, chance
    pids        child 3836, pid 3831, worker 3831, kill -9 3836
    times       10:54:36.045, with or without a date
    spans       909 ms, 1.13 s, 2 min 5 s; not those of a setting: `lease 30 s`, `have 25 s`
    figures     every number, but only of `reliq demo`
    files       test/test_dis.py, but only of `reliq demo`

An id, process or pid stands for the same thing wherever the README repeats it: `Bindings` remembers what it was this
time, puts that into the commands that follow, and notices when two of one in the README are two different things.
"""

from __future__ import annotations

import difflib
import re

_SPAN = r"\d+(?:\.\d+)? (?:ms|s|min|h|d)\b(?: \d+ (?:s|min|h)\b)?"
_KINDS = {
    "id": r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
    "process": r"[\w.-]+:\d+:[0-9a-f]{8}",
    "pid": r"(?:(?<=child )|(?<=pid )|(?<=worker )|(?<=kill -9 ))\d+",
    "time": r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(?:\.\d{3})?",
    "span": rf"(?<!lease )(?<!have )(?<![\d.]){_SPAN}",
}
_OF_THE_DEMO = {"file": r"[\w/]+\.py\b", "figure": r" *\d[\d,.]*\d| *\d"}
_BOUND = ("id", "process", "pid")
_OF_ROOT = re.compile(r"^  note +running as root: so do the tasks\n", re.M)


class Differs(AssertionError):
    """What was printed is not what the README says."""


class Bindings:
    """What the README's ids, processes and pids are this time."""

    def __init__(self) -> None:
        self._actual: dict[str, str] = {}

    def applied(self, typed: str) -> str:
        """A command with the values of this time."""
        for written, actual in self._actual.items():
            typed = re.sub(rf"(?<!\w){re.escape(written)}(?!\w)", actual, typed)
        return typed

    def learn(self, kind: str, written: str, actual: str) -> None:
        if kind in _BOUND and self._actual.setdefault(written, actual) != actual:
            raise Differs(f"the README's {kind} {written} is both {self._actual[written]} and {actual}")


def compare(printed: str, expected: str, bindings: Bindings, *, demo: bool = False) -> None:
    """`Differs` with a diff unless they say the same."""
    kinds = {**_KINDS, **_OF_THE_DEMO} if demo else _KINDS
    token = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()))
    printed = without_root(printed)
    found = re.fullmatch(_pattern(expected, token, kinds), printed)
    if found is None:
        raise Differs(_difference(expected, printed, token))
    written = [(m.lastgroup or "", m[0]) for line in _lines(expected) for m in token.finditer(line)]
    for (kind, value), actual in zip(written, found.groups(), strict=True):
        bindings.learn(kind, value, actual)


def without_root(printed: str) -> str:
    """The output without the line of the banner that only root sees."""
    return _OF_ROOT.sub("", printed)


def _pattern(expected: str, token: re.Pattern[str], kinds: dict[str, str]) -> str:
    parts = []
    for line in expected.splitlines():
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
            continue
        at = 0
        for found in token.finditer(line):
            parts += [re.escape(line[at : found.start()]), f"({kinds[found.lastgroup or '']})"]
            at = found.end()
        parts += [re.escape(line[at:]), r"\n"]
    return "".join(parts)


def _lines(expected: str) -> list[str]:
    return [line for line in expected.splitlines() if line.strip() != "..."]


def _difference(expected: str, printed: str, token: re.Pattern[str]) -> str:
    """A diff of both with the tokens named, then the output as it came: what the README should say."""

    def plain(text: str) -> list[str]:
        return [token.sub(lambda found: f"<{found.lastgroup}>", line) for line in text.splitlines()]

    diff = difflib.unified_diff(
        plain(expected), plain(printed), "README.md", "printed now", lineterm="", n=99
    )
    return "\n".join([*diff, "", "As it was printed:", printed])
