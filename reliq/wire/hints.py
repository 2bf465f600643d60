"""Annotations: resolved at first use, and judged whether JSON can carry them."""

from __future__ import annotations

import datetime
import functools
import inspect
import sys
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from reliq.errors import AnnotationError

PLAIN: frozenset[type] = frozenset({int, str, bool, float, type(None)})
"""Types that come out of JSON as they went in, without any annotation (a float if it is finite)."""

_RESTORED = PLAIN | {uuid.UUID, datetime.date}


def signature_of(func: Callable[..., Any], *, bind: bool = False) -> inspect.Signature:
    """The signature with its annotations unresolved; `bind` leaves out the first parameter."""
    try:
        found = _signature(func)
    except ValueError as error:
        raise AnnotationError(
            f"{func!r} has no signature (it is written in C?); wrap it in a function"
        ) from error
    parameters = list(found.parameters.values())
    if bind and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        parameters = parameters[1:]
    return found.replace(parameters=parameters)


def _signature(func: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(func, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(func)


def resolve(func: Callable[..., Any], name: str, annotation: Any, *, call: str) -> Any:
    """The annotation of one parameter as a type; `Any` where there is none.

    Raises `AnnotationError` that names the parameter and the name that could not be found.
    """
    if annotation is inspect.Parameter.empty or annotation is Any or annotation is object:
        return Any
    inner = _innermost(func)
    names = getattr(inner, "__globals__", {})
    stand_in = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(stand_in, names, _closure(inner), include_extras=True)["it"]
    except NameError as error:
        missing = error.name or str(error)
        raise AnnotationError(
            f"{call}: the annotation of {name} is {_text(annotation)}, and {missing!r} is not defined in module "
            f"{getattr(inner, '__module__', '?')!r} at run time; import {missing!r} outside `if TYPE_CHECKING:` (reliq "
            "rebuilds arguments from annotations), or annotate with a type that is there",
            parameter=name,
            missing=missing,
        ) from error
    except Exception as error:
        raise AnnotationError(
            f"{call}: the annotation of {name}, {_text(annotation)}, cannot be evaluated: {error}",
            parameter=name,
        ) from error


def exact(hint: Any) -> frozenset[type]:
    """The types whose values certainly fit the hint and survive JSON; what is missing here is tried out instead."""
    if hint is Any:
        return PLAIN
    if hint is None:
        return frozenset({type(None)})
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return frozenset().union(*map(exact, typing.get_args(hint)))
    return frozenset({hint}) if isinstance(hint, type) and hint in _RESTORED else frozenset()


def problem(hint: Any) -> str | None:
    """Why JSON cannot carry this annotation, with what to do instead; None when it can."""
    try:
        msgspec.json.Decoder(hint)
        info = msgspec.inspect.type_info(hint)
    except (TypeError, NameError, AttributeError, ValueError, RecursionError) as error:
        return f"is not supported: {error}"
    for node in _nodes(info, set()):
        cls = getattr(node, "cls", None)
        name = getattr(cls, "__name__", str(cls))
        if cls is not None and is_orm(cls):
            return f"has the model `{name}`, which stays in its database; take its primary key and load it in the task"
        if isinstance(node, msgspec.inspect.CustomType):
            return (
                f"has `{name}`, which JSON cannot carry; take a dataclass, a msgspec.Struct or plain data (for a row "
                "its primary key, for a file its path as a str)"
            )
    return None


def is_orm(thing: object) -> bool:
    """Whether this is a Django or SQLAlchemy model, class or instance; asked without importing either."""
    cls = thing if isinstance(thing, type) else type(thing)
    return (
        hasattr(cls, "_sa_class_manager")
        or hasattr(thing, "_sa_instance_state")
        or (hasattr(cls, "_meta") and hasattr(cls, "pk"))
    )


def _nodes(node: Any, seen: set[int]) -> Iterator[Any]:
    """Every node of a msgspec type description; the description of a recursive type is itself a cycle."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, tuple):
        for item in node:
            yield from _nodes(item, seen)
    elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field):
        yield node
        for name in node.__struct_fields__:
            if name not in ("default", "default_factory", "cls"):
                yield from _nodes(getattr(node, name), seen)


def _innermost(func: Any) -> Any:
    """The function whose module the annotations were written in."""
    while True:
        if isinstance(func, functools.partial):
            func = func.func
        elif hasattr(func, "__wrapped__"):
            func = func.__wrapped__
        elif inspect.ismethod(func):
            func = func.__func__
        elif not hasattr(func, "__globals__") and hasattr(type(func).__call__, "__globals__"):
            func = type(func).__call__
        else:
            return func


def _closure(func: Any) -> Mapping[str, Any]:
    """The function's free variables: classes defined beside a nested function can be found there."""
    names = getattr(getattr(func, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(func, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _text(annotation: Any) -> str:
    return f"`{annotation if isinstance(annotation, str) else getattr(annotation, '__forward_arg__', annotation)}`"
