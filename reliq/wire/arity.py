"""What is wrong with a call, in Python's words."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence

from reliq.errors import ArityError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check(signature: inspect.Signature, call: str, count: int, names: Sequence[str]) -> None:
    """Raise `ArityError` unless `count` positional arguments and keywords `names` fit, exactly as Python judges it."""
    try:
        signature.bind(*(None,) * count, **dict.fromkeys(names))
    except TypeError as error:
        raise ArityError(
            f"{call}() {_complaint(signature, count, names, str(error))}; it is {call}{_shown(signature)}"
        ) from None


def _complaint(signature: inspect.Signature, count: int, names: Sequence[str], fallback: str) -> str:
    parameters = signature.parameters
    positional = [name for name, parameter in parameters.items() if parameter.kind in _POSITIONAL]
    kinds = {parameter.kind for parameter in parameters.values()}
    if count > len(positional) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return f"takes {_many(len(positional), 'positional argument')} but {count} were given"
    by_name = [name for name, parameter in parameters.items() if parameter.kind in _POSITIONAL[1:] + _KEYWORD]
    unknown = [name for name in names if name not in by_name]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        near = difflib.get_close_matches(unknown[0], by_name, 1)
        return f"got an unexpected keyword argument {unknown[0]!r}" + (
            f" (did you mean {near[0]!r}?)" if near else ""
        )
    if twice := [name for name in positional[:count] if name in names and name in by_name]:
        return f"got multiple values for argument {twice[0]!r}"
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in _POSITIONAL + _KEYWORD
        and name not in positional[:count]
        and (name not in names or name not in by_name)
    ]
    if missing:
        return f"missing {_many(len(missing), 'required argument')}: " + " and ".join(map(repr, missing))
    return fallback


def _shown(signature: inspect.Signature) -> inspect.Signature:
    """The signature as its author wrote it: annotations that are still text, without the quotes."""
    parameters = [
        parameter.replace(annotation=_Text(parameter.annotation))
        if isinstance(parameter.annotation, str)
        else parameter
        for parameter in signature.parameters.values()
    ]
    returned = signature.return_annotation
    return inspect.Signature(
        parameters, return_annotation=_Text(returned) if isinstance(returned, str) else returned
    )


class _Text(str):
    __slots__ = ()
    __repr__ = str.__str__


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


_KEYWORD = (inspect.Parameter.KEYWORD_ONLY,)
