"""Lua with one check less: every condition of a script denied, turned round, or robbed of one of its parts.

A condition is what stands between `if` and `then`, and every `and` / `or` wherever it stands: `a and b or c` chooses
as an `if` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_TOKEN = re.compile(r"--.*|'(?:\\.|[^'])*'|\"(?:\\.|[^\"])*\"|\w+|[<>=~]=|\.\.+|\s+|.")
_GOES_ON = re.compile(r"\s*(?:and|or)\b")
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_BORDERS = frozenset(
    {"if", "elseif", "while", "until", "return", "then", "do", "=", ",", ";", "end", "else", "in"}
)
_CONDITIONS = frozenset({"if", "elseif", "while", "until"})


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed line (or several that are one condition); `file` is a name in `lua/`, without its ending.

    begin, end  where in the line the expression stands that was changed
    truths      what it comes to, as a condition, where the change can be felt
    """

    file: str
    line: int
    before: str
    after: str
    begin: int = 0
    end: int = 0
    truths: tuple[bool, ...] = (True, False)

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.file}.lua:{self.line}: {before}  ->  {after}"

    @property
    def place(self) -> str:
        """Of the expression; what `watched` logs."""
        return f"{self.file}:{self.line}:{self.begin}"

    def apply(self, source: str) -> str:
        lines = source.split("\n")
        first, last = self.line - 1, self.line + self.before.count("\n")
        assert "\n".join(lines[first:last]) == self.before, "the script has changed"
        return "\n".join([*lines[:first], self.after, *lines[last:]])


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every way to take one check from a script, in the order of its lines."""
    for number, text in _statements(source):
        seen = {text}
        for begin, end, after, truths in _changes(text):
            if after not in seen:
                seen.add(after)
                yield Mutant(file, number, text, after, begin, end, truths)


def watched(file: str, source: str) -> str:
    """The same script; each expression that has mutants is handed to `reach_`, with its place."""
    lines = source.split("\n")
    at: dict[int, list[tuple[int, str]]] = {}
    for number, begin, end in {(each.line, each.begin, each.end) for each in mutants(file, source)}:
        at.setdefault(number, []).extend([(begin, f" reach_('{file}:{number}:{begin}',("), (end, "))")])
    for number, text in _statements(source):
        for where, piece in sorted(at.get(number, ()), reverse=True):
            text = text[:where] + piece + text[where:]
        lines[number - 1 : number + text.count("\n")] = text.split("\n")
    return "\n".join(lines)


#: What `watched` scripts need: the server's log gets each place once for a call, with what stood there.
REACH = """local reached_ = {}
local function reach_(place, value)
  local key = place .. (value and ' true' or ' false')
  if not reached_[key] then
    reached_[key] = true
    redis.log(redis.LOG_WARNING, 'reached ' .. key)
  end
  return value
end
"""


def _statements(source: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; those of one condition together, and those that go on with `and` or `or`."""
    lines = source.split("\n")
    number = 0
    while number < len(lines):
        end = number + 1
        while _opens_a_condition("\n".join(lines[number:end])) or _GOES_ON.match(
            "".join(lines[end : end + 1])
        ):
            end += 1
        yield number + 1, "\n".join(lines[number:end])
        number = end


def _opens_a_condition(text: str) -> bool:
    words = [token for token in _TOKEN.findall(text) if not token.startswith("--")]
    wanted = {"if": "then", "elseif": "then", "while": "do"}
    return any(word in words and end not in words for word, end in wanted.items())


def _changes(line: str) -> Iterator[tuple[int, int, str, tuple[bool, ...]]]:
    """Where it was changed, what the line is then, and the truths of that place that feel it."""
    tokens = _TOKEN.findall(line)
    for start, end in _expressions(tokens):
        before, inside, after = ("".join(part) for part in (tokens[:start], tokens[start:end], tokens[end:]))
        where = len(before), len(before) + len(inside)
        condition = bool(start) and tokens[start - 1] in _CONDITIONS
        if condition:
            pad = inside[len(inside.rstrip()) :]
            yield *where, f"{before} false{pad}{after}", (True,)
            yield *where, f"{before} not ({inside.strip()}){pad}{after}", (True, False)
        truths = _felt(tokens[start:end]) if condition else (True, False)
        for shorter in _without_one(tokens[start:end]):
            yield *where, before + shorter + after, truths


def _felt(tokens: list[str]) -> tuple[bool, ...]:
    """A condition of `and`s alone that lacks one can but become true, one of `or`s alone false."""
    words = {token for token in tokens if token in ("and", "or")}
    return {("and",): (False,), ("or",): (True,)}.get(tuple(words), (True, False))


def _expressions(tokens: list[str]) -> Iterator[tuple[int, int]]:
    """Where expressions begin and end: between keywords, commas, assignments and brackets, at each depth."""
    open_at: list[int] = []  # where the expression of each depth has begun
    begun = 0
    for at, token in enumerate([*tokens, ";"]):
        if token in _OPEN:
            open_at.append(begun)
            begun = at + 1
        elif token in _CLOSE:
            yield begun, at
            begun = open_at.pop() if open_at else at + 1
        elif token in _BORDERS or token.startswith("--"):
            yield begun, at
            begun = at + 1
            if token.startswith("--"):
                return


def _without_one(tokens: list[str]) -> Iterator[str]:
    """The expression without one of the operands of its `and`s and `or`s."""
    depth, cuts = 0, [-1]
    for at, token in enumerate(tokens):
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0 and token in ("and", "or"):
            cuts.append(at)
    if len(cuts) == 1:
        return
    cuts.append(len(tokens))
    for number, (left, right) in enumerate(pairwise(cuts)):
        # Without the last operand the word before it goes, else the one after it.
        last = number == len(cuts) - 2
        kept = tokens[: left if last else left + 1] + tokens[right if last else right + 1 :]
        ends = (" " if token.isspace() else "" for token in (tokens[0], tokens[-1]))
        yield " ".join("".join(kept).split()).join(ends)
