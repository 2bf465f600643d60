"""The one key builder: a digest that is equal for equal calls of a task.

The digest is blake2b (160 bits, hex) of canonical JSON `[version, namespace, task, {name: value}]`.  It is stable over
processes, hash seeds, machines and releases; a change of the form raises the version, and then every key changes, so
that is a breaking change.  `tests/unit/test_keys.py` holds golden digests.

Values count with their JSON type: `1`, `"1"`, `True` and `1.0` differ.  Sets count without order, a tuple as the
list it travels as, an aware datetime with its offset as written.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import Any, Protocol

import msgspec

from reliq.errors import OptionError, UnkeyableArgument

VERSION = 1
_PLAIN = frozenset({str, int, bool, type(None)})
_encode = msgspec.json.Encoder(order="sorted").encode


class Binds(Protocol):
    """What `build` needs of a signature."""

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], /) -> Mapping[str, object]:
        """Each parameter's name with its value or default, `**kwargs` flattened."""


def build(
    signature: Binds,
    task: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    namespace: str = "",
    keys: Sequence[str] | None = None,
) -> str:
    """The digest of a call: positional, keyword and default forms of the same call give the same one."""
    return digest(task, signature.bind(args, kwargs), namespace=namespace, keys=keys)


def digest(
    task: str, arguments: Mapping[str, object], *, namespace: str = "", keys: Sequence[str] | None = None
) -> str:
    """The digest of bound arguments, or of those named by `keys` (None: all of them; `[]`: one key per task).

    Raises `UnkeyableArgument` naming the argument that has no canonical JSON.
    """
    if keys is not None:
        arguments = {name: arguments[name] for name in keys if name in arguments}
    for value in arguments.values():
        if type(value) not in _PLAIN:
            arguments = {
                name: value if type(value) in _PLAIN else _argument(task, name, value)
                for name, value in arguments.items()
            }
            break
    return _hash(task, namespace, arguments)


def digest_value(task: str, value: str | tuple[object, ...], *, namespace: str = "") -> str:
    """The digest of a key the user computed: a string or a tuple.  Never equal to that of any arguments."""
    if not isinstance(value, str | tuple):
        raise UnkeyableArgument(
            f"The key of {task} is a `{type(value).__name__}`; give a str, a tuple or None"
        )
    return _hash(task, namespace, _argument(task, "key", value))


def check_keys(
    parameters: Mapping[str, Parameter], keys: Sequence[str] | None, *, task: str = "the task"
) -> None:
    """Raise `OptionError` at decoration for a name in `keys` that no call can have."""
    if keys is None:
        return
    if isinstance(keys, str) or not all(isinstance(name, str) for name in keys):
        raise OptionError(
            f"{task}: keys is {keys!r}; give a list of parameter names, as in keys=[{str(keys)!r}]"
        )
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in keys:
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(parameters) or 'none'}"
            raise OptionError(f"{task}: keys names {name!r}, which is not a parameter; {hint}", key=name)


def _hash(task: str, namespace: str, values: object) -> str:
    try:
        data = _encode([VERSION, namespace, task, values])
    except (TypeError, ValueError) as error:  # a lone surrogate, an absurd integer among plain values
        if isinstance(values, Mapping):
            for name, value in values.items():
                _argument(task, name, value)
        raise UnkeyableArgument(f"{task}: no key can be made: {error}") from error
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def _argument(task: str, name: str, value: object) -> msgspec.Raw:
    try:
        return msgspec.Raw(_encode(_canonical(value)))
    except (TypeError, ValueError, RecursionError) as error:
        raise UnkeyableArgument(
            f"{task}: argument {name!r} of type `{type(value).__name__}` cannot be part of a key ({error}); name the "
            f"arguments that identify the call with keys=[...], or compute a key with key=callable",
            parameter=name,
        ) from error


def _canonical(value: Any) -> Any:
    """Plain data with one form for equal values; what msgspec encodes in one form by itself is left to it."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise ValueError("NaN and infinities have no JSON")
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return [msgspec.Raw(data) for data in sorted(_encode(_canonical(item)) for item in value)]
    if isinstance(value, dict):
        if all(type(key) is str for key in value):
            return {key: _canonical(item) for key, item in value.items()}
        pairs = sorted((_encode(_canonical(key)), _encode(_canonical(item))) for key, item in value.items())
        return [[msgspec.Raw(key), msgspec.Raw(item)] for key, item in pairs]
    if isinstance(value, msgspec.Struct):
        fields = {name: _canonical(getattr(value, name)) for name in value.__struct_fields__}
        tag = value.__struct_config__.tag
        return fields if tag is None else [tag, fields]
    if hasattr(type(value), "__dataclass_fields__"):
        return {name: _canonical(getattr(value, name)) for name in type(value).__dataclass_fields__}
    return value
