"""The scripts: each file of `lua/`, behind the parts of `lua/lib/` that it names."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_FOLDER = files("reliq.engines.redis") / "lua"
_NEEDS = re.compile(r"^-- needs: (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_LITERAL = r"(?:[\d ^]+|'[^',]*')"
_CONSTANTS = re.compile(
    rf"^local ([A-Z][A-Z_]+(?:, [A-Z][A-Z_]+)*) = ({_LITERAL}(?:, {_LITERAL})*)(?: --.*)?\n", re.MULTILINE
)
_NAME = re.compile(r"\b[A-Z][A-Z_]+\b")


class Script(NamedTuple):
    """A script as the server gets it, and the digest by which it is called."""

    name: str
    source: bytes
    sha: bytes


@cache
def script(name: str) -> Script:
    """The script of one operation."""
    own = source_of(name)
    parts: dict[str, str] = {}
    for part in _needs(own):
        _gather(part, parts)
    text = _inlined(_COMMENT.sub("", "".join([*parts.values(), own])))
    source = f"-- reliq {name}\n{text}".encode()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


def _inlined(text: str) -> str:
    """Constants by their values.

    A local of the script would be looked up once for each function that uses it, each time the script is called: that
    was most of what an idle claim cost.
    """
    constants: dict[str, str] = {}

    def take(found: re.Match[str]) -> str:
        names, values = found[1].split(", "), found[2].split(", ")
        constants.update(zip(names, values, strict=True))
        return ""

    text = _CONSTANTS.sub(take, text)
    return _NAME.sub(lambda found: constants.get(found[0], found[0]), text)


def source_of(name: str) -> str:
    """A file of `lua/`, by its name without the ending."""
    return (_FOLDER / f"{name}.lua").read_text("utf-8")


def names() -> list[str]:
    """All operations."""
    return sorted(file.name[:-4] for file in _FOLDER.iterdir() if file.name.endswith(".lua"))


def _gather(part: str, parts: dict[str, str]) -> None:
    """What a part needs, then the part itself, each once."""
    if part in parts:
        return
    own = source_of(f"lib/{part}")
    for other in _needs(own):
        _gather(other, parts)
    parts[part] = own


def _needs(source: str) -> list[str]:
    return [name for found in _NEEDS.findall(source) for name in found.split()]
