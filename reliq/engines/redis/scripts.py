"""The scripts: each file of `lua/`, behind the parts of `lua/lib/` that it names."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_FOLDER = files("reliq.engines.redis") / "lua"
_NEEDS = re.compile(r"^ *-- needs: (.+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_LITERAL = r"(?:[\d ^]+|'[^',]*'|KEYS\[1\]|redis\.call)"
_CONSTANT = r"(?:[A-Z][A-Z_]+|N|call)"
_CONSTANTS = re.compile(
    rf"^local ({_CONSTANT}(?:, {_CONSTANT})*) = ({_LITERAL}(?:, {_LITERAL})*)(?: --.*)?\n", re.MULTILINE
)
_NAME = re.compile(rf"(?<![.\w]){_CONSTANT}\b")


class Script(NamedTuple):
    """A script as the server gets it, and the digest by which it is called."""

    name: str
    source: bytes
    sha: bytes


@cache
def script(name: str) -> Script:
    """The script of one operation."""
    text = _inlined(_COMMENT.sub("", _whole(source_of(name), set())))
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


def _whole(source: str, there: set[str]) -> str:
    """A file with the parts that it needs in the place where it says so, each once.

    What stands at the top is made whenever the script is called; what a function needs, when that is entered, and each
    function has its own.
    """

    def parts(found: re.Match[str]) -> str:
        text, here = "", set(there) if found[0].startswith(" ") else there
        for part in found[1].split():
            if part not in here:
                here.add(part)
                text += _whole(source_of(f"lib/{part}"), here)
        return text

    return _NEEDS.sub(parts, source)
