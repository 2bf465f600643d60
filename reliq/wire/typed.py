"""Arguments checked against the signature at the publisher, carried as JSON, rebuilt from the annotations.

A body is `[[positional...],{keyword...}]`: what was passed by position stays so, and defaults are not sent (the
worker's own apply).  A value is accepted only if it arrives as it was given.  Without an annotation that holds for
str, int, bool, None, finite floats, and lists and str-keyed dicts of these; everything else needs an annotation that
restores it: datetime, date, time, timedelta, UUID, Decimal, Enum, bytes, set, frozenset, tuple, NamedTuple, TypedDict,
dataclass, msgspec.Struct, Literal, Optional and unions as far as msgspec can tell their members apart.

A value must have its annotation's type, not a subclass's: JSON would cut it down to the base.  So `True` is refused
for an `int`, a list for a tuple, text for a datetime.  An int is accepted for a float (and arrives as one) when they
are equal.  An aware datetime arrives with its offset, without the name of its zone.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from reliq.errors import (
    AnnotationError,
    ArgumentError,
    UndecodableMessage,
    UnencodableArgument,
    UnencodableResult,
)
from reliq.wire import arity, hints, refusals
from reliq.wire.lossless import change

T = TypeVar("T")
_EMPTY = b"[[],{}]"
_MAX_SHAPES = 256  # calls of one task differ in few ways, unless **kwargs are data

_encode = msgspec.json.Encoder().encode
_decode_parts = msgspec.json.Decoder(tuple[list[msgspec.Raw], dict[str, msgspec.Raw]]).decode
_decode_any = msgspec.json.Decoder().decode
_ERRORS = (
    TypeError,
    ValueError,
    RecursionError,
)  # what msgspec and Python raise for values that cannot be encoded
_DECODE_ERRORS = (
    msgspec.DecodeError,
    ValueError,
    RecursionError,
)  # ValueError: an integer of thousands of digits


def compile_signature(
    func: Callable[..., Any], *, bind: bool = False, name: str | None = None
) -> CompiledSignature:
    """The signature of `func`, ready to encode and decode calls; cheap, since annotations wait for their first use.

    bind  leave out the first parameter (`self`)
    name  the task's name, for messages; by default the function's module and name
    """
    return CompiledSignature(func, bind=bind, name=name)


class CompiledSignature:
    """How calls of one function travel."""

    def __init__(self, func: Callable[..., Any], *, bind: bool = False, name: str | None = None) -> None:
        self.name = (
            name
            or f"{getattr(func, '__module__', '?')}.{getattr(func, '__qualname__', type(func).__qualname__)}"
        )
        self.signature = hints.signature_of(func, bind=bind)
        self._func = func
        self._shapes: dict[tuple[Any, ...], tuple[_Slot, ...]] = {}
        self._partial: dict[tuple[Any, ...], tuple[_Slot, ...]] = {}
        self._flat: dict[tuple[Any, ...], tuple[tuple[str, ...], dict[str, object]]] = {}
        self._whole: Callable[[bytes], Any] | None = None  # decodes the shape seen last, if by position only

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters a caller fills, in order."""
        return self.signature.parameters

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The body of this call.

        Raises `ArityError` for a call Python would refuse, `UnencodableArgument` for a value that would not arrive as
        given, `AnnotationError` for a parameter whose annotation cannot be resolved or carried.
        """
        slots = self._shapes.get((len(args), *kwargs))
        if slots is None:
            slots = self._shape(len(args), tuple(kwargs))
        return _encode_call(self.name, slots, args, kwargs)

    def encode_partial(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Like `encode`, for a call whose first positional argument is still to come (see `splice`)."""
        slots = self._partial.get((len(args), *kwargs))
        if slots is None:
            slots = self._shape(len(args) + 1, tuple(kwargs))[1:]
            _remember(self._partial, (len(args), *kwargs), slots)
        return _encode_call(self.name, slots, args, kwargs)

    def decode(self, body: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments in `body`, rebuilt from the annotations.

        Raises `UndecodableMessage` for bytes that are no body, `ArityError` and `ArgumentError` for arguments that do
        not fit the function as it is here (the publisher may run other code).
        """
        if self._whole is not None and body[-4:] == b",{}]":
            try:
                return self._whole(body)  # type: ignore[no-any-return]
            except _DECODE_ERRORS:
                pass
        return self._decode_parts(body)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, object]:
        """Each parameter's name with its value or default, for keys: one mapping for all ways to write the same call.

        `**kwargs` are flattened (a name that is also a parameter's gets `**` before it), `*args` are one tuple, and an
        int for a float parameter is that float.
        """
        shape = (len(args), *kwargs)
        flat = self._flat.get(shape)
        if flat is not None:
            names, defaults = flat
            values = (*args, *kwargs.values()) if kwargs else args
            return {**dict(zip(names, values, strict=True)), **defaults}
        slots = self._shapes.get(shape)
        if slots is None:
            slots = self._shape(len(args), tuple(kwargs))
        bound: dict[str, object] = {}
        rest: list[object] = []
        for slot, value in zip(slots, (*args, *kwargs.values()), strict=True):
            restored = float(value) if slot.hint is float and type(value) is int else value
            if slot.kind is inspect.Parameter.VAR_POSITIONAL:
                rest.append(restored)
            elif slot.kind is inspect.Parameter.VAR_KEYWORD and slot.name in self.parameters:
                bound[f"**{slot.name}"] = restored
            else:
                bound[slot.name] = restored
        for name, parameter in self.parameters.items():
            if name not in bound and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                bound[name] = (
                    tuple(rest) if parameter.kind is inspect.Parameter.VAR_POSITIONAL else parameter.default
                )
        if all(slot.kind not in _VARIABLE and slot.hint is not float for slot in slots):
            names = tuple(slot.name for slot in slots)
            _remember(self._flat, shape, (names, {n: v for n, v in bound.items() if n not in names}))
        return bound

    def encode_result(self, value: object) -> bytes:
        """The JSON of what the function returned.

        Results are not checked against the annotation, and one without an annotation comes back as its JSON does: a
        tuple as a list, a datetime as text.  `UnencodableResult` is raised for what has no JSON (or NaN).
        """
        if value is None:
            return b"null"
        try:
            data = _encode(value)
        except _ERRORS as error:
            raise UnencodableResult(f"{self.name}() returned {refusals.result(value, error)}") from error
        if b"null" in data and refusals.has_nonfinite(value):
            raise UnencodableResult(
                f"{self.name}() returned a NaN or an infinity, which JSON does not have; return None or text for it"
            )
        return data

    def decode_result(self, data: bytes) -> Any:
        """The returned value, rebuilt from the return annotation; plain JSON values where it does not fit that."""
        try:
            return self._decode_return(data)
        except msgspec.ValidationError:
            return _decode_any(data)

    # --- compiled at first use -------------------------------------------------------------------------------------

    def _shape(self, count: int, names: tuple[str, ...]) -> tuple[_Slot, ...]:
        """The slot of each value of a call with `count` positional arguments and these keywords."""
        arity.check(self.signature, self.name, count, names)
        self._decode_return  # noqa: B018  the first use names every annotation that cannot be resolved
        slots = self._slots
        positional = [slot for slot in slots.values() if slot.kind in _POSITIONAL]
        rest = next((slot for slot in slots.values() if slot.kind is inspect.Parameter.VAR_POSITIONAL), None)
        extra = next((slot for slot in slots.values() if slot.kind is inspect.Parameter.VAR_KEYWORD), None)
        shape = positional[:count]
        if rest is not None and count > len(positional):
            shape += [rest] * (count - len(positional))
        for name in names:
            slot = slots.get(name)
            if slot is None or slot.kind not in _NAMED:
                assert extra is not None  # arity.check saw to it
                slot = extra.renamed(name)
                if not _is_text(name):
                    raise UnencodableArgument(
                        f"{self.name}(): the argument name {name!r} has a lone surrogate"
                    )
            shape.append(slot)
        for slot in shape:
            if slot.problem:
                raise AnnotationError(
                    f"{self.name}(): the annotation of {slot.name!r} {slot.problem}", parameter=slot.name
                )
        found = tuple(shape)
        _remember(self._shapes, (count, *names), found)
        return found

    @functools.cached_property
    def _slots(self) -> dict[str, _Slot]:
        return {
            name: _Slot(
                name,
                parameter.kind,
                hints.resolve(self._func, repr(name), parameter.annotation, call=self.name),
            )
            for name, parameter in self.parameters.items()
        }

    @functools.cached_property
    def _decode_return(self) -> Callable[[bytes], Any]:
        hint = hints.resolve(self._func, "its result", self.signature.return_annotation, call=self.name)
        return _decode_any if hints.problem(hint) else msgspec.json.Decoder(hint).decode

    def _decode_parts(self, body: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            positional, named = _decode_parts(body)
        except _DECODE_ERRORS as error:
            raise UndecodableMessage(
                f"The body of a call of {self.name} is not `[[...],{{...}}]`: {error}"
            ) from error
        slots = self._shapes.get((len(positional), *named))
        if slots is None:
            slots = self._shape(len(positional), tuple(named))
        values = [
            self._decode_value(slot, raw)
            for slot, raw in zip(slots, (*positional, *named.values()), strict=True)
        ]
        count = len(positional)
        if not named and count <= len(self._slots):
            positions = types.GenericAlias(tuple, tuple(slot.hint for slot in slots))
            shape = types.GenericAlias(tuple, (positions, dict[str, Any]))
            self._whole = msgspec.json.Decoder(shape).decode
        return tuple(values[:count]), dict(zip(named, values[count:], strict=True))

    def _decode_value(self, slot: _Slot, raw: msgspec.Raw) -> Any:
        try:
            return slot.decode(raw)
        except _DECODE_ERRORS as error:
            raise ArgumentError(
                f"{self.name}() was sent {slot.name!r} that does not fit its annotation "
                f"{refusals.hint_text(slot.hint)} here: {refusals.detail(error)}; was it published by another "
                "version of the code?",
                parameter=slot.name,
            ) from error


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NAMED = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class _Slot:
    """One parameter: the types that need no trial, and the decoder for the trial and for the worker."""

    __slots__ = ("decode", "exact", "hint", "kind", "name", "problem")

    def __init__(self, name: str, kind: Any, hint: Any) -> None:
        self.name = name
        self.kind = kind
        self.hint = hint
        self.exact = hints.exact(hint)
        self.problem = hints.problem(hint)
        self.decode: Callable[..., Any] = _decode_any if self.problem else msgspec.json.Decoder(hint).decode

    def renamed(self, name: str) -> _Slot:
        return _Slot(name, self.kind, self.hint)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remember(shapes: dict[tuple[Any, ...], T], key: tuple[Any, ...], found: T) -> None:
    if len(shapes) >= _MAX_SHAPES:
        shapes.clear()
    shapes[key] = found


# --- values -------------------------------------------------------------------------------------------------


def _encode_call(
    call: str, slots: tuple[_Slot, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bytes:
    if not slots:
        return _EMPTY
    values = (*args, *kwargs.values()) if kwargs else args
    for value, slot in zip(values, slots, strict=True):
        if type(value) not in slot.exact:
            break
    else:
        try:
            data = _encode((args, kwargs))
        except _ERRORS:  # a lone surrogate, an absurd integer: told apart below
            data = b"null"
        if data.find(b"null") < 0:  # which a NaN becomes; a None is rare enough to look twice
            return data
    pieces = [_encode_value(call, slot, value) for value, slot in zip(values, slots, strict=True)]
    count = len(args)
    named = (_encode(name) + b":" + piece for name, piece in zip(kwargs, pieces[count:], strict=True))
    return b"[[" + b",".join(pieces[:count]) + b"],{" + b",".join(named) + b"}]"


def _encode_value(call: str, slot: _Slot, value: object) -> bytes:
    try:
        data = _encode(value)
    except _ERRORS as error:
        raise _refused(call, slot, refusals.unencodable(value, error)) from error
    if type(value) in slot.exact and (data != b"null" or value is None):
        return data
    try:
        found = change(value, slot.decode(data))
    except msgspec.ValidationError as error:
        raise _refused(call, slot, refusals.unfit(slot.hint, value, error)) from error
    except RecursionError as error:
        raise _refused(call, slot, refusals.unencodable(value, error)) from error
    if found is not None:
        raise _refused(call, slot, refusals.changed(slot.name, slot.hint, value, found))
    return data


def _refused(call: str, slot: _Slot, why: str) -> UnencodableArgument:
    return UnencodableArgument(f"{call}(): argument {slot.name!r} {why}", parameter=slot.name)
