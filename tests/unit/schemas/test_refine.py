"""For types of any shape, the schema and the conversion accept the same values."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import itertools
import typing
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypeVar

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from typing_extensions import TypedDict

from pi_native import ConfigurationError, tool
from pi_native._schemas.target import MisfitError, make_target

from ...repetitions import repetitions

jsonschema = pytest.importorskip("jsonschema")
msgspec = pytest.importorskip("msgspec")

T = TypeVar("T")
UserId = NewType("UserId", int)
Meta = msgspec.Meta


class Color(str, enum.Enum):
    """A color."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """A level."""

    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Box(Generic[T]):
    """A box."""

    inside: T


@attrs.frozen
class Node:
    """A recursive class."""

    name: str
    scores: dict[int, float] = attrs.field(factory=dict)
    tags: set[str] = attrs.field(factory=set)
    left: Node | None = None
    others: dict[Color, list[Node]] = attrs.field(factory=dict)


LEAVES: list[Any] = [
    *(int, str, bool, float, None, Any, Color, Level, UserId, Node),
    Literal["a", "b"],
    *(Annotated[int, Meta(ge=0, lt=3)], Annotated[float, Meta(gt=0.5)]),
    *(Annotated[str, Meta(min_length=1, max_length=2)], Annotated[str, Meta(pattern="^a")]),
    *(Annotated[list[int], Meta(max_length=2)], Annotated[str, "a text"]),
]
HASHABLE: list[Any] = [int, str, bool, Color, Level, Literal["a", "c"]]
numbers = itertools.count()
KEYS: list[Any] = [
    *(str, int, float, Color, Level, Any, Literal["a", "b"], Literal[1, 2]),
    *(Annotated[str, Meta(pattern="^a")], Annotated[int, "a number"]),
]
if tuple(map(int, msgspec.__version__.split(".")[:2])) >= (0, 22):
    # Before, msgspec has no schema for these: a ConfigurationError.
    LEAVES += [Literal[1, "a", None], Literal[1, None], Literal[True]]
    HASHABLE += [Literal["a", 1]]
    KEYS += [Literal[1, "a"]]


def _named(name: str) -> str:
    """Return a name that no other class has: two classes of one name are refused."""
    return f"{name}{next(numbers)}"


def _fields(types: list[Any]) -> list[tuple[str, Any]]:
    return [(f"field_{number}", type_) for number, type_ in enumerate(types)]


def _define(name: str, types: dict[str, Any], **defaults: Any) -> Any:
    """Return an attrs class. `make_class` of attrs 23.1 makes no annotations."""
    return attrs.define(type(name, (), {"__annotations__": types, **defaults}))


def _attrs_class(types: list[Any]) -> Any:
    return _define(_named("Attrs"), dict(_fields(types)))


def _optional_class(types: list[Any]) -> Any:
    fields = [(name, Optional[type_], None) for name, type_ in _fields(types)]  # noqa: UP045
    return dataclasses.make_dataclass(_named("Data"), fields)


def _compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        inner.map(lambda type_: list[type_]),
        inner.map(lambda type_: Sequence[type_]),
        inner.map(lambda type_: tuple[type_, ...]),
        inner.map(lambda type_: Optional[type_]),  # noqa: UP045
        inner.map(lambda type_: Box[type_]),
        st.sampled_from(HASHABLE).map(lambda type_: set[type_]),
        st.sampled_from(HASHABLE).map(lambda type_: frozenset[type_]),
        st.tuples(st.sampled_from(KEYS), inner).map(lambda pair: dict[pair[0], pair[1]]),
        st.tuples(st.sampled_from(KEYS), inner).map(lambda pair: Mapping[pair[0], pair[1]]),
        inner.map(lambda type_: typing.Union[int, list[type_], dict[int, type_]]),  # noqa: UP007
        some.map(lambda types: tuple[tuple(types)]),
        some.map(_attrs_class),
        some.map(_optional_class),
        some.map(lambda types: TypedDict(_named("Typed"), dict(_fields(types)))),
        some.map(lambda types: TypedDict(_named("Typed"), dict(_fields(types)), total=False)),
        some.map(lambda types: NamedTuple(_named("Named"), _fields(types))),
    )


types = st.recursive(st.sampled_from(LEAVES), _compound, max_leaves=5)
texts = st.sampled_from(["", "a", "ab", "abc", "b", "red", "1", "-2", "01", "1.5", "field_0"])
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 4),
    # A float without a fraction is an integer for JSON Schema, and not for msgspec.
    st.sampled_from([-1.5, 0.25, 2.5]),
    texts,
    st.lists(st.integers(0, 1), max_size=2),
    st.dictionaries(texts, st.integers(0, 1), max_size=2),
)


@st.composite
def values(draw: st.DrawFn, schema: Any, definitions: dict[str, Any], depth: int = 3) -> Any:
    """Draw a value that nearly fits a schema: at any place it may be something else."""
    if not isinstance(schema, dict) or depth < 0 or draw(st.integers(0, 9)) == 0:
        return draw(junk)
    if "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]

    def inner(schema: Any) -> Any:
        return draw(values(schema, definitions, depth - 1))

    if "anyOf" in schema:
        return inner(draw(st.sampled_from(schema["anyOf"])))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if schema.get("type") == "array":
        length = draw(st.integers(schema.get("minItems", 0), min(3, schema.get("maxItems", 3))))
        schemas = [*schema.get("prefixItems", ()), *[schema.get("items", {})] * 3]
        return [inner(item) for item in schemas[:length]]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        names = [
            *(name for name in properties if draw(st.integers(0, 5))),
            *draw(st.lists(texts, max_size=2)),
            *schema.get("propertyNames", {}).get("enum", ())[: draw(st.integers(0, 2))],
        ]
        other = schema.get("additionalProperties", {})
        return {name: inner(properties.get(name, other)) for name in names}
    return draw({"integer": st.integers(-2, 4), "string": texts}.get(schema.get("type"), junk))


@settings(max_examples=repetitions(300, 15))
@given(types, st.data())
def test_schema_and_conversion_agree(into: Any, data: st.DataObject) -> None:
    """The schema is valid, and a value fits it exactly if it can be converted."""
    target = make_target(into)
    jsonschema.Draft202012Validator.check_schema(target.schema)
    value = data.draw(values(target.schema, target.schema.get("$defs", {}), depth=5))
    try:
        target.convert(value)
    except MisfitError:
        converted = False
    else:
        converted = True
    assert jsonschema.Draft202012Validator(target.schema).is_valid(value) == converted


@settings(max_examples=repetitions(100, 8))
@given(types, st.data())
def test_tools_take_what_their_schema_accepts(hint: Any, data: st.DataObject) -> None:
    """The same holds for the arguments of a tool, required and optional ones."""

    def function(required: Any, optional: Any = None) -> None: ...

    function.__annotations__ = {"required": hint, "optional": hint}
    made = tool(function)
    jsonschema.Draft202012Validator.check_schema(made.parameters)
    definitions = made.parameters.get("$defs", {})
    arguments = data.draw(values(made.parameters, definitions, depth=5))
    try:
        made._convert(arguments)
    except MisfitError:
        converted = False
    else:
        converted = True
    assert jsonschema.Draft202012Validator(made.parameters).is_valid(arguments) == converted


@pytest.mark.parametrize(
    ("into", "names"),
    [
        (dict[str, int], None),
        (dict[int, int], {"pattern": "^-?(0|[1-9][0-9]*)$"}),
        (dict[Color, int], {"enum": ["blue", "red"]}),
        (dict[Level, int], {"enum": ["1", "2"]}),
        (dict[Literal[1, 2], int], {"enum": ["1", "2"]}),
        (dict[datetime.date, int], {"format": "date"}),
        (dict[uuid.UUID, int], {"format": "uuid"}),
    ],
)
def test_the_keys_of_a_dict_are_in_the_schema(into: Any, names: Any) -> None:
    """Keys that are no plain strings have a schema as `propertyNames`."""
    assert make_target(into).schema.get("propertyNames") == names


@pytest.mark.parametrize(
    ("into", "value"),
    [
        (dict[int, str], {1: "a"}),
        (dict[float, str], {1.5: "a"}),
        (dict[Level, str], {Level.LOW: "a"}),
        (dict[datetime.date, str], {datetime.date(2026, 1, 2): "a"}),
    ],
)
def test_keys_are_converted(into: Any, value: Any) -> None:
    """The keys of JSON, which are strings, become keys of the type."""
    arguments = msgspec.to_builtins(value, str_keys=True)
    assert all(isinstance(key, str) for key in arguments)
    assert make_target(into).convert(arguments) == value


@pytest.mark.parametrize("key", [bool, None, tuple[int, int], Optional[int], Node, bytes])  # noqa: UP045
def test_keys_that_json_cannot_hold_are_refused(key: Any) -> None:
    """The error is raised before any request, also for a dict deep within the type."""
    for into in (dict[key, int], list[Box[dict[key, int]]]):
        with pytest.raises(ConfigurationError, match=r"use dict\[str, \.\.\.\]"):
            make_target(into)


class TestClassesWithoutASchema:
    def test_a_field_without_an_annotation(self) -> None:
        """The error names the field."""
        with pytest.raises(ConfigurationError, match=r"field 'x' of a class has no annotation"):
            make_target(list[attrs.make_class("Bare", ["x"])])

    def test_two_classes_of_one_name(self) -> None:
        """The error names them: a notebook that runs a cell again makes such classes."""
        first, second = (_define("Same", {"x": int}) for _ in "ab")
        with pytest.raises(ConfigurationError, match="two classes in it have the name 'Same'"):
            make_target(tuple[first, second])

    def test_an_annotation_that_cannot_be_evaluated(self) -> None:
        """The error names what is missing."""
        with pytest.raises(ConfigurationError, match="name 'Missing' is not defined"):
            make_target(dataclasses.make_dataclass("Data", [("x", "Missing")]))

    def test_a_default_that_depends_on_the_object(self) -> None:
        """The error says so."""
        default = attrs.Factory(lambda self: self, takes_self=True)
        with pytest.raises(ConfigurationError, match="takes_self"):
            make_target(_define("C", {"x": int}, x=default))


def test_a_misfit_of_a_key_names_the_dict() -> None:
    """The path is that of the dict, and the text says that a key is wrong."""
    with pytest.raises(MisfitError) as caught:
        make_target(Box[dict[int, str]]).convert({"inside": {"one": "a"}})
    assert caught.value.problems == [("$.inside", "Expected `int`, got `str` as a key")]


@pytest.mark.parametrize(
    ("into", "form"),
    [
        (datetime.datetime, "date-time"),
        (datetime.date, "date"),
        (datetime.time, "time"),
        (datetime.timedelta, "duration"),
        (decimal.Decimal, "decimal"),
        (uuid.UUID, "uuid"),
    ],
)
def test_the_form_of_a_string_is_in_the_schema(into: Any, form: str) -> None:
    """A type that is a string on the wire has a format, also within a union or a container."""
    for type_ in (into, Optional[into], list[into], dict[str, into], Box[into]):  # noqa: UP045
        assert f"'format': '{form}'" in str(make_target(type_).schema)
