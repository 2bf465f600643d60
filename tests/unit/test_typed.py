"""Arguments: checked at the publisher, carried as JSON, rebuilt from the annotations."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import pathlib
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NewType, TypedDict
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliq.errors import (
    AnnotationError,
    ArgumentError,
    ArityError,
    UndecodableMessage,
    UnencodableArgument,
    UnencodableResult,
)
from reliq.wire.splice import splice
from reliq.wire.typed import compile_signature

if TYPE_CHECKING:
    from fractions import Fraction

BERLIN = ZoneInfo("Europe/Berlin")
UTC = dt.UTC
NAIVE = dt.datetime(2026, 3, 1, 9, 0)  # noqa: DTZ001  arguments may be naive; an eta may not


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Row(TypedDict, total=False):
    a: int
    b: str


@dataclass
class Order:
    id: uuid.UUID
    lines: tuple[int, ...] = ()
    at: dt.datetime | None = None
    child: Order | None = None
    tags: set[str] = field(default_factory=set)


class Shape(msgspec.Struct):
    side: Decimal


class Circle(msgspec.Struct, tag=True):
    r: float


class Square(msgspec.Struct, tag=True):
    r: float


class Text(str):
    __slots__ = ()


class Thing:
    pass


class DjangoLike:
    _meta = object()
    pk = 7


class AlchemyLike:
    def __init__(self) -> None:
        self._sa_instance_state = object()


def _label(value: Any) -> str:
    return value[:40].replace("\ud800", "?") if isinstance(value, str) else type(value).__name__


UserId = NewType("UserId", int)


def travel(func: Any, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    compiled = compile_signature(func, name="app.add")
    return compiled.decode(compiled.encode(args, kwargs))


def refusal(error: type[Exception], func: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(error) as caught:
        compile_signature(func, name="app.add").encode(args, kwargs)
    return str(caught.value)


def one(hint: Any) -> Any:
    def func(x): ...

    func.__annotations__ = {"x": hint}
    return func


def add(x: int, y: int = 2, *, scale: float = 1.0) -> int:
    return x + y


def plain(a, b=None): ...


# --- bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "body"),
    [
        ((1,), {}, b"[[1],{}]"),
        ((1, 2), {}, b"[[1,2],{}]"),
        ((), {"y": 3, "x": 1}, b'[[],{"y":3,"x":1}]'),
        ((1,), {"scale": 2.5}, b'[[1],{"scale":2.5}]'),
    ],
)
def test_what_is_positional_stays_positional(
    args: tuple[int, ...], kwargs: dict[str, Any], body: bytes
) -> None:
    compiled = compile_signature(add)
    assert compiled.encode(args, kwargs) == body
    assert compiled.decode(body) == (args, kwargs)
    assert compiled.decode(body) == (args, kwargs)  # now by the decoder of that shape


def test_a_call_without_arguments_is_a_constant() -> None:
    compiled = compile_signature(lambda: None)
    assert compiled.encode((), {}) == b"[[],{}]"
    assert compiled.decode(b"[[],{}]") == ((), {})


def test_shapes_may_alternate_at_the_worker() -> None:
    compiled = compile_signature(add)
    for _ in range(2):
        assert compiled.decode(b"[[1],{}]") == ((1,), {})
        assert compiled.decode(b"[[1, 2], {}]") == ((1, 2), {})
        assert compiled.decode(b'[[1],{"y":2}]') == ((1,), {"y": 2})


def test_every_kind_of_parameter_travels() -> None:
    def func(a: int, /, b: str, *rest: float, key: bool = False, **more: dt.date) -> None: ...

    day = dt.date(2026, 3, 1)
    assert travel(func, 1, "x") == ((1, "x"), {})
    assert travel(func, 1, "x", 2.0, 3) == ((1, "x", 2.0, 3.0), {})
    assert travel(func, 1, b="x", key=True, day=day) == ((1,), {"b": "x", "key": True, "day": day})
    assert travel(func, 1, "x", a=day) == ((1, "x"), {"a": day})


def test_async_bound_partial_and_callable_objects_have_signatures_too() -> None:
    async def later(when: dt.date) -> None: ...

    def method(self: Thing, when: dt.date) -> None: ...

    class Job:
        def __call__(self, when: dt.date) -> None: ...

    @functools.wraps(later)
    def wrapped(*args: Any) -> None: ...

    day = dt.date(2026, 3, 1)
    compiled = compile_signature(method, bind=True)
    assert list(compiled.parameters) == ["when"]
    assert compiled.decode(compiled.encode((day,), {})) == ((day,), {})
    for func in (later, Job(), wrapped, functools.partial(method, Thing())):
        assert travel(func, day) == ((day,), {})


def test_a_class_beside_a_nested_function_is_found_through_its_closure() -> None:
    class Local(msgspec.Struct):
        n: int

    def func(x: Local) -> object:
        return Local

    assert travel(func, Local(1)) == ((Local(1),), {})


# --- arity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "missing 1 required argument: 'x'"),
        ((1, 2, 3), {}, "takes 2 positional arguments but 3 were given"),
        ((1,), {"x": 1}, "got multiple values for argument 'x'"),
        ((1,), {"scael": 1}, "got an unexpected keyword argument 'scael' (did you mean 'scale'?)"),
    ],
)
def test_a_call_python_would_refuse_is_refused_with_the_signature(
    args: tuple[int, ...], kwargs: dict[str, Any], text: str
) -> None:
    message = refusal(ArityError, add, *args, **kwargs)
    assert message.startswith(f"app.add() {text}; it is app.add(x: int, y: int = 2, *, scale: float = 1.0)")


def test_several_missing_and_positional_only_names_are_told() -> None:
    def func(a: int, b: int, /, *, c: int) -> None: ...

    assert "missing 3 required arguments: 'a' and 'b' and 'c'" in refusal(ArityError, func)
    assert "unexpected keyword argument 'a'" in refusal(ArityError, func, 1, 2, c=1, a=1)


_calls = st.tuples(
    st.integers(0, 4), st.lists(st.sampled_from(["a", "b", "c", "k", "z"]), unique=True, max_size=3)
)


@given(_calls)
@settings(max_examples=150, deadline=None)
def test_arity_is_judged_exactly_as_python_does(call: tuple[int, list[str]]) -> None:
    count, names = call
    functions: list[Any] = [
        lambda: None,
        lambda a, b=1: None,
        lambda a, /, b, *, k: None,
        lambda a, *rest, k=1: None,
        lambda a, /, **more: None,
    ]
    for func in functions:
        args, kwargs = (1,) * count, dict.fromkeys(names, 1)
        try:
            func(*args, **kwargs)
        except TypeError:
            with pytest.raises(ArityError):
                compile_signature(func).encode(args, kwargs)
        else:
            compiled = compile_signature(func)
            assert compiled.decode(compiled.encode(args, kwargs)) == (args, kwargs)


def test_a_partial_call_lacks_its_first_argument_only() -> None:
    compiled = compile_signature(add)
    body = compiled.encode_partial((2,), {"scale": 0.5})
    assert compiled.decode(splice(body, b"7")) == ((7, 2), {"scale": 0.5})
    assert compiled.decode(splice(compiled.encode_partial((), {}), b"7")) == ((7,), {})
    with pytest.raises(ArityError):
        compiled.encode_partial((1, 2), {})
    with pytest.raises(ArityError):
        compiled.encode_partial((), {"x": 1})


def test_splice_moves_bytes_only() -> None:
    assert splice(b"[[1],{}]", b"7") == b"[[7,1],{}]"
    assert splice(b"[[],{}]", b'{"a":[1]}') == b'[[{"a":[1]}],{}]'
    for body, value in ((b"{}", b"1"), (b"[[],{}]", b""), (b"", b"1")):
        with pytest.raises(UndecodableMessage):
            splice(body, value)


# --- values -------------------------------------------------------------------------------------------------


RESTORED: list[tuple[Any, Any]] = [
    (dt.datetime, dt.datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)),
    (dt.datetime, NAIVE),
    (dt.date, dt.date(2026, 3, 1)),
    (dt.time, dt.time(9, 30, 1, 5)),
    (dt.timedelta, -dt.timedelta(days=3, microseconds=1)),
    (uuid.UUID, uuid.UUID(int=5)),
    (Decimal, Decimal("1.10")),
    (Colour, Colour.BLUE),
    (Level, Level.LOW),
    (Bits, Bits.A | Bits.B),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"x")),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (tuple[int, ...], (1, 2)),
    (tuple[int, str], (1, "x")),
    (dict[int, str], {1: "a", 2: "b"}),
    (dict[uuid.UUID, tuple[int, ...]], {uuid.UUID(int=1): (1,)}),
    (list[tuple[int, ...]], [(1,), ()]),
    (Point, Point(1, 2.5)),
    (Row, {"b": "x", "a": 1}),
    (
        Order,
        Order(uuid.UUID(int=1), (1,), dt.datetime(2026, 1, 1, tzinfo=UTC), Order(uuid.UUID(int=2)), {"t"}),
    ),
    (Shape, Shape(Decimal("2.50"))),
    (Circle | Square, Square(1.0)),
    # msgspec before 0.22 sorts the values of a Literal, which those of two types do not let it do.
    (Literal["a", 1] if msgspec.__version__ >= "0.22" else Literal["a", "b"], "a"),
    (dt.date | None, None),
    (int | str | None, "x"),
    (int | float, 1),
    (int | float, 1.0),
    (Decimal | float, 1.5),
    (Decimal | int, 1),
    (Decimal | int | float, Decimal("1.0")),
    (dt.timedelta | int, 1),
    (dt.datetime | float, 1.5),
    (float, float("-0.0")),
    (UserId, 5),
    (Annotated[int, msgspec.Meta(gt=0)], 5),
    (None, None),
    (object, {"a": [1, 2.5, None, True, "x"]}),
]


@pytest.mark.parametrize(("hint", "value"), RESTORED, ids=_label)
def test_an_annotation_restores_the_value(hint: Any, value: Any) -> None:
    (arrived,), _ = travel(one(hint), value)
    assert arrived == value
    assert type(arrived) is type(value)


def test_a_zone_arrives_as_its_offset() -> None:
    for fold in (0, 1):
        value = dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
        (arrived,), _ = travel(one(dt.datetime), value)
        assert (arrived - dt.datetime(2026, 10, 25, tzinfo=UTC)) == dt.timedelta(minutes=30 + 60 * fold)


UNANNOTATED: list[tuple[Any, str]] = [
    (
        (1, 2),
        "is a `tuple`, which would arrive as a `list`; annotate the parameter, as in `a: tuple[int, ...]`",
    ),
    (
        [(1,)],
        "holds a `tuple`, which would arrive as a `list`; annotate the parameter, as in `a: list[tuple[",
    ),
    ({1}, "`a: set[int]`"),
    (b"x", "`a: bytes`"),
    (dt.datetime(2026, 1, 1, tzinfo=UTC), "`a: datetime`"),
    (Decimal(1), "`a: Decimal`"),
    (uuid.UUID(int=1), "`a: UUID`"),
    (Level.LOW, "`a: Level`"),
    (Shape(Decimal(1)), "which would arrive as a `dict`"),
    ({1: 2}, "has a dict key that is an `int`, which would arrive as a `str`"),
    ({1: 2, "1": 3}, "has a dict key that is an `int`"),
    (float("nan"), "NaN"),
    ([float("inf")], "NaN or an infinity"),
    ("\ud800", "lone surrogate"),
    (10**5000, "an integer too large"),
    ({(1, 2): 3}, "pass a list of pairs"),
    (Thing(), "is a `Thing`, which JSON cannot carry"),
    ([Thing()], "holds a `Thing`, which JSON cannot carry"),
    (DjangoLike(), "pass its primary key"),
    (AlchemyLike(), "pass its primary key"),
    (print, "which JSON cannot carry"),
    (Text("x"), "is a `Text`, a kind of `str` that would arrive as a plain one; pass str(...)"),
    (defaultdict(int), "is a `defaultdict`, which would arrive as a `dict`; pass a `dict`"),
]


@pytest.mark.parametrize(("value", "text"), UNANNOTATED, ids=_label)
@pytest.mark.filterwarnings("error")
def test_what_json_would_change_is_refused_without_an_annotation(value: Any, text: str) -> None:
    message = refusal(UnencodableArgument, plain, value)
    assert message.startswith("app.add(): argument 'a' ")
    assert text in message
    assert text in refusal(UnencodableArgument, plain, b=None, a=value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "contains itself" in refusal(UnencodableArgument, plain, loop)


UNFIT: list[tuple[Any, Any, str]] = [
    (int, "3", "is a `str`, but its annotation is `int`"),
    (int, True, "is a `bool`, but its annotation is `int`"),
    (bool, 1, "is an `int`, but its annotation is `bool`"),
    (int, 1.0, "is a `float`"),
    (int, None, "is None"),
    (float, 2**53 + 1, "which would arrive as a `float`"),
    (float, float("nan"), "NaN"),
    (float | None, float("nan"), "NaN"),
    (str, b"x", "is a `bytes`, which would arrive as a `str`"),
    (dt.datetime, "2026-01-01T00:00:00Z", "pass a `datetime`"),
    (dt.datetime, dt.date(2026, 1, 1), "but its annotation is `datetime`"),
    (dt.datetime, dt.datetime(1890, 1, 1, tzinfo=BERLIN), "would not arrive unchanged"),
    (dt.datetime, NAIVE.replace(fold=1), "would not arrive unchanged"),
    (tuple[int, ...], [1], "pass a `tuple`"),
    (Sequence[int], (1,), "pass a `list`"),
    (list[int], [1, "secret"], "(Expected `int`, got `str` - at `$[1]`)"),
    (Colour, "red", "pass a `Colour`"),
    (int, Level.LOW, "is a `Level`, which would arrive as an `int`"),
    (Point, (1, 2.0), "pass a `Point`"),
    (Order, Order(uuid.UUID(int=1), [1]), "holds a `list`"),
    (Row, {"a": 1, "z": 2}, "would not arrive unchanged"),
    (Literal["a", "b"], "secret", "but its annotation is `Literal['a', 'b']`"),
    (list[Colour], ["secret"], "Invalid enum value - at"),
]


@pytest.mark.parametrize(("hint", "value", "text"), UNFIT, ids=_label)
def test_a_value_that_does_not_fit_its_annotation_is_refused(hint: Any, value: Any, text: str) -> None:
    message = refusal(UnencodableArgument, one(hint), value)
    assert "argument 'x'" in message
    assert text in message
    assert "secret" not in message


# --- annotations --------------------------------------------------------------------------------------------


def test_a_name_only_for_type_checking_is_named_at_first_use() -> None:
    def func(x: int, ratio: Fraction | None = None) -> None: ...

    compiled = compile_signature(func, name="app.add")  # not before
    with pytest.raises(
        AnnotationError, match="annotation of 'ratio' is `Fraction | None`, and 'Fraction'"
    ) as caught:
        compiled.encode((1,), {})
    assert "outside `if TYPE_CHECKING:`" in str(caught.value)


def test_so_is_one_in_the_return_annotation_or_one_that_makes_no_sense() -> None:
    def returns() -> Fraction: ...

    assert "annotation of its result is `Fraction`" in refusal(AnnotationError, returns)
    assert "cannot be evaluated" in refusal(AnnotationError, one("1 / 0"), 1)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Thing, "has `Thing`, which JSON cannot carry; take a dataclass"),
        (pathlib.Path, "its path as a str"),
        (list[Thing], "`Thing`"),
        (DjangoLike, "take its primary key"),
        (dt.datetime | dt.date, "is not supported"),
    ],
)
def test_an_annotation_json_cannot_carry_is_named(hint: Any, text: str) -> None:
    message = refusal(AnnotationError, one(hint), None)
    assert message.startswith("app.add(): the annotation of 'x'")
    assert text in message


def test_a_parameter_that_is_not_passed_may_have_any_annotation() -> None:
    def func(x: int, client: Thing | None = None) -> None: ...

    assert travel(func, 1) == ((1,), {})
    assert "annotation of 'client'" in refusal(AnnotationError, func, 1, Thing())


# --- the worker's side --------------------------------------------------------------------------------------


def test_arguments_of_another_version_of_the_code_are_named() -> None:
    compiled = compile_signature(add, name="app.add")
    with pytest.raises(ArgumentError, match=r"'x' that does not fit its annotation `int`.*got `str`"):
        compiled.decode(b'[["1"],{}]')
    with pytest.raises(ArityError, match="unexpected keyword argument 'z'"):
        compiled.decode(b'[[1],{"z":1}]')
    with pytest.raises(ArityError):
        compiled.decode(b"[[1,2,3],{}]")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"[[1]]", b'[{"a":1},[]]', b"[[1],{}", b"\xff", b"[" * 5000, b"[[1,,{}]"]
)
def test_bytes_that_are_no_body_are_undecodable(body: bytes) -> None:
    compiled = compile_signature(add)
    compiled.decode(b"[[1],{}]")
    with pytest.raises(UndecodableMessage):
        compiled.decode(body)


@pytest.mark.parametrize(
    "body", [b'[["\xff"],{}]', b"[[" + b"1" * 5000 + b"],{}]", b"[[" + b"[" * 5000 + b"]" * 5000 + b"],{}]"]
)
def test_hostile_bodies_raise_errors_of_the_tree(body: bytes) -> None:
    for func in (add, plain):
        compiled = compile_signature(func)
        for _ in range(2):
            with pytest.raises((UndecodableMessage, ArgumentError)):
                compiled.decode(body)
            compiled.decode(b"[[1],{}]")


def test_a_name_that_no_encoding_carries_is_refused() -> None:
    assert "lone surrogate" in refusal(UnencodableArgument, lambda **more: None, **{"\ud800": 1})
    assert travel(lambda **more: None, **{'a"b': 1.5, "ü": None}) == ((), {'a"b': 1.5, "ü": None})


def test_a_builtin_without_signature_is_refused_at_once() -> None:
    with pytest.raises(AnnotationError, match="wrap it in a function"):
        compile_signature(map)


# --- binding, results ---------------------------------------------------------------------------------------


def test_all_ways_to_write_a_call_bind_alike() -> None:
    compiled = compile_signature(add)
    expected = {"x": 1, "y": 2, "scale": 1.0}
    for args, kwargs in (((1,), {}), ((1, 2), {}), ((), {"x": 1}), ((1,), {"scale": 1, "y": 2})):
        bound = compiled.bind(args, kwargs)
        assert bound == expected
        assert type(bound["scale"]) is float


def test_calls_of_one_form_are_bound_each_with_its_own_values() -> None:
    def func(a: int, b: str = "b", *rest: int, c: float = 0.5) -> None: ...

    compiled = compile_signature(func)
    for a in (1, 2, 3):
        assert compiled.bind((a,), {}) == {"a": a, "b": "b", "rest": (), "c": 0.5}
        assert compiled.bind((), {"b": str(a), "a": a}) == {"a": a, "b": str(a), "rest": (), "c": 0.5}
        assert compiled.bind((a, "x", a), {}) == {"a": a, "b": "x", "rest": (a,), "c": 0.5}
        assert repr(compiled.bind((a,), {"c": a})["c"]) == f"{a}.0"


def test_binding_flattens_keywords_and_keeps_clashing_names_apart() -> None:
    def func(a: int, /, *rest: int, **more: int) -> None: ...

    assert compile_signature(func).bind((1, 2, 3), {"z": 4, "a": 5}) == {
        "a": 1,
        "rest": (2, 3),
        "z": 4,
        "**a": 5,
    }
    assert compile_signature(func).bind((1,), {"rest": 5}) == {"a": 1, "rest": (), "**rest": 5}


def test_a_result_is_rebuilt_from_the_return_annotation() -> None:
    def typed() -> tuple[Decimal, ...]: ...

    compiled = compile_signature(typed)
    assert compiled.decode_result(compiled.encode_result((Decimal("1.10"),))) == (Decimal("1.10"),)
    assert compiled.decode_result(compiled.encode_result(None)) is None
    assert compiled.decode_result(compiled.encode_result("not what it says")) == "not what it says"


def test_a_result_without_annotation_comes_back_as_json_does() -> None:
    compiled = compile_signature(plain)
    assert compiled.decode_result(compiled.encode_result((1, {"a": dt.date(2026, 1, 1)}))) == [
        1,
        {"a": "2026-01-01"},
    ]
    for value in (0, "", [], None, False):
        assert compiled.decode_result(compiled.encode_result(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Thing(), "`Thing`"),
        (float("nan"), "NaN"),
        ({"a": [float("inf")]}, "infinity"),
        (Circle(float("nan")), "NaN"),
        (DjangoLike(), "return its primary key"),
    ],
)
def test_a_result_without_json_is_refused(value: Any, text: str) -> None:
    with pytest.raises(UnencodableResult, match=text) as caught:
        compile_signature(plain, name="app.add").encode_result(value)
    assert str(caught.value).startswith("app.add() returned")
    assert compile_signature(plain).encode_result(["null", None]) == b'["null",null]'


# --- round trips --------------------------------------------------------------------------------------------


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_offsets = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
_rows = st.fixed_dictionaries({}, optional={"a": st.integers(), "b": _text})


def record(
    at: dt.datetime,
    span: dt.timedelta,
    price: Decimal,
    raw: bytes,
    tags: set[str],
    pairs: list[tuple[int, str]],
    colour: Colour | None,
    row: Row,
    by_day: dict[dt.date, frozenset[int]],
    point: Point,
    rest: Any,
) -> None: ...


@given(
    st.fixed_dictionaries(
        {
            "at": st.datetimes(timezones=st.none() | _offsets).map(lambda value: value.replace(fold=0)),
            "span": st.timedeltas(),
            "price": st.decimals(allow_nan=False, allow_infinity=False),
            "raw": st.binary(max_size=10),
            "tags": st.sets(_text, max_size=3),
            "pairs": st.lists(st.tuples(st.integers(), _text), max_size=3),
            "colour": st.none() | st.sampled_from(Colour),
            "row": _rows,
            "by_day": st.dictionaries(st.dates(), st.frozensets(st.integers(), max_size=3), max_size=2),
            "point": st.builds(Point, st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
            "rest": _json,
        }
    ),
    st.integers(0, 11),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_accepted_arrives_as_it_was_given(values: dict[str, Any], positional: int) -> None:
    compiled = compile_signature(record)
    names = list(compiled.parameters)
    args = tuple(values[name] for name in names[:positional])
    kwargs = {name: values[name] for name in names[positional:]}
    body = compiled.encode(args, kwargs)
    assert repr(compiled.decode(body)) == repr((args, kwargs)) or compiled.decode(body) == (args, kwargs)


@given(st.lists(_json, max_size=4), st.dictionaries(_text, _json, max_size=3))
@settings(max_examples=100, deadline=None)
def test_plain_data_needs_no_annotation(args: list[Any], kwargs: dict[str, Any]) -> None:
    def func(*args, **kwargs): ...

    compiled = compile_signature(func)
    body = compiled.encode(tuple(args), kwargs)
    assert compiled.decode(body) == (tuple(args), kwargs)
    assert compiled.encode_partial(tuple(args), kwargs) == body
    assert compiled.decode(splice(body, b"[null]")) == (([None], *args), kwargs)
