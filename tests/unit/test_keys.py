"""The key builder: equal calls, equal keys; everything else differs."""

from __future__ import annotations

import datetime as dt
import inspect
import os
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliq.errors import OptionError, UnkeyableArgument
from reliq.keys import build, check_keys, digest, digest_value
from reliq.wire.typed import compile_signature

SAMPLE = {"order": 7, "note": "ü", "rate": 1.5, "flags": {"b", "a"}, "at": dt.date(2026, 3, 1), "none": None}


@dataclass
class Plain:
    b: int
    a: frozenset[int]


class Tagged(msgspec.Struct, tag="t"):
    n: int


class Other(msgspec.Struct, tag="o"):
    n: int


def rebuild(customer: int, why: str = "import", *, force: bool = False, **more: int) -> None: ...


def test_digests_are_stable_for_ever() -> None:
    """Golden values: a change here changes every key in every queue, and needs a new VERSION and a changelog entry."""
    assert digest("app.f", {}) == "f23ebe8b5e2f8075a1d1b416e914a1201cad2a60"
    assert digest("app.f", {"a": 1, "b": "x"}) == "30bf8c8f6bc653cac28bba1061bce0af5747bae6"
    assert digest("app.f", SAMPLE, namespace="n") == "939a5c737b3b028b7fefc6dc5d16929d88267f53"
    assert (
        digest("app.f", {"p": Plain(1, frozenset({2, 1})), "d": {2: Decimal("1.10")}})
        == "1a235cee1319ca74e3137debcd925b54b1e7079b"
    )
    assert digest_value("app.f", ("a", 1)) == "10b71afa830ef98392164653d5e06835b863dab7"


def test_digests_do_not_depend_on_the_hash_seed() -> None:
    code = "from reliq.keys import digest; print(digest('t', {'s': {'a', 'b', 'c', ('d', 1)}}))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(runs) == 1


def test_all_ways_to_write_a_call_give_one_key() -> None:
    signature = compile_signature(rebuild)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((7,), {}),
        ((7, "import"), {}),
        ((), {"customer": 7}),
        ((7,), {"why": "import", "force": False}),
    ]
    assert len({build(signature, "t", args, kwargs) for args, kwargs in calls}) == 1
    assert build(signature, "t", (7,), {"z": 1, "y": 2}) == build(signature, "t", (7,), {"y": 2, "z": 1})


def test_values_of_different_types_give_different_keys() -> None:
    values = [1, "1", True, 1.0, None, "", 0, False, [], {}, [1], {"1": 1}, {1: 1}, "null", "true"]
    assert len({digest("t", {"x": value}) for value in values}) == len(values)
    assert digest("t", {"x": Tagged(1)}) != digest("t", {"x": Other(1)})
    assert digest("t", {"x": Decimal("1.1")}) != digest("t", {"x": Decimal("1.10")})


def test_task_namespace_and_names_count() -> None:
    digests = {
        digest("t", {"x": 1}),
        digest("u", {"x": 1}),
        digest("t", {"y": 1}),
        digest("t", {"x": 1}, namespace="n"),
        digest("t", {}),
        digest_value("t", "x"),
        digest_value("t", ("x", 1)),
    }
    assert len(digests) == 7


def test_order_does_not_count_where_python_has_none() -> None:
    assert digest("t", {"a": 1, "b": 2}) == digest("t", {"b": 2, "a": 1})
    assert digest("t", {"x": {"a": 1, "b": {"c": 1, "d": 2}}}) == digest(
        "t", {"x": {"b": {"d": 2, "c": 1}, "a": 1}}
    )
    assert digest("t", {"x": {1: 1, 2: 2}}) == digest("t", {"x": {2: 2, 1: 1}})
    assert digest("t", {"x": {1, "a", None, (2, 3)}}) == digest("t", {"x": {(2, 3), None, "a", 1}})
    assert digest("t", {"x": [1, 2]}) != digest("t", {"x": [2, 1]})


def test_a_subset_of_arguments_makes_the_key() -> None:
    first, second = {"a": 1, "b": 2, "c": object()}, {"a": 1, "b": 3, "c": object()}
    assert digest("t", first, keys=["a"]) == digest("t", second, keys=["a"])
    assert digest("t", first, keys=["a", "b"]) == digest("t", first, keys=["b", "a"])
    assert digest("t", first, keys=["a", "b"]) != digest("t", second, keys=["a", "b"])
    assert digest("t", first, keys=[]) == digest("t", {}, keys=[])


@pytest.mark.parametrize(
    "value",
    [object(), [object()], float("nan"), {"a": float("inf")}, "\ud800", print, {1, print}, 10**5000],
    ids=lambda value: type(value).__name__,
)
def test_an_argument_without_canonical_json_is_named_and_never_repred(value: Any) -> None:
    with pytest.raises(UnkeyableArgument, match=r"shop.pay: argument 'x' of type") as caught:
        digest("shop.pay", {"y": 1, "x": value})
    assert "keys=[...]" in str(caught.value)
    assert hex(id(value))[2:] not in str(caught.value)


def test_a_computed_key_is_a_string_or_a_tuple() -> None:
    for value in (1, ["a"], {"a"}):
        with pytest.raises(UnkeyableArgument, match="give a str, a tuple or None"):
            digest_value("t", value)  # type: ignore[arg-type]


def test_an_unknown_name_in_keys_fails_at_decoration() -> None:
    def closed(customer: int, why: str) -> None: ...

    parameters = inspect.signature(closed).parameters
    for fine in (None, [], ["why"], ("customer", "why")):
        check_keys(parameters, fine)
    with pytest.raises(OptionError, match="app.f: keys names 'custmer'.*did you mean 'customer'"):
        check_keys(parameters, ["custmer"], task="app.f")
    with pytest.raises(OptionError, match="it has customer, why"):
        check_keys(parameters, ["zzz"])
    with pytest.raises(OptionError, match=r"as in keys=\['customer'\]"):
        check_keys(parameters, "customer")
    check_keys(inspect.signature(rebuild).parameters, ["anything"])  # it may be among **more


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)


@given(_json, _json)
@settings(max_examples=100, deadline=None)
def test_keys_agree_exactly_when_the_json_does(one: Any, other: Any) -> None:
    same = msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
    assert (digest("t", {"x": one}) == digest("t", {"x": other})) is same
