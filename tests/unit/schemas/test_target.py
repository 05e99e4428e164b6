"""Schemas and conversions agree: jsonschema is the second opinion."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Literal, NamedTuple, Optional

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from typing_extensions import NotRequired, TypedDict

from pi_native import ConfigurationError
from pi_native._schemas.target import MisfitError, make_target

from ...repetitions import repetitions

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("msgspec")


class Color(enum.Enum):
    """A color."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """A level."""

    LOW = 1
    HIGH = 2


@attrs.define
class Tree:
    """A tree."""

    name: str
    color: Color | None = None
    children: list[Tree] = attrs.field(factory=list)


@dataclasses.dataclass
class Point:
    """A point."""

    x: int
    y: float = 0.0


class Settings(TypedDict):
    """Settings."""

    level: Level
    note: NotRequired[str]


class Pair(NamedTuple):
    """A pair."""

    left: int
    right: Point


TYPES: list[Any] = [
    Tree,
    Point,
    Settings,
    Pair,
    Color,
    Level,
    Literal["a", "b"],
    int,
    str,
    bool,
    float,
    None,
    int | str,
    Optional[Point],  # noqa: UP045 - the older spelling
    list[int],
    list[Tree],
    set[str],
    tuple[int, str],
    dict[str, list[Point]],
    Tree | None,
]

names = st.sampled_from(
    ["value", "name", "color", "children", "x", "y", "level", "note", "left", "right", "other"]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    # A float without a fraction is an integer for JSON Schema, and not for msgspec.
    st.floats(-5, 5).filter(lambda number: number != int(number)),
    st.sampled_from(["a", "b", "red", "blue", "", "x"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)
)


def accepts(target: Any, value: Any) -> bool:
    """Return whether the conversion takes a value."""
    try:
        target.convert(value)
    except MisfitError:
        return False
    return True


@pytest.mark.parametrize("into", TYPES, ids=str)
def test_a_schema_is_valid_and_an_object(into: Any) -> None:
    """The metaschema accepts it, its top has no reference, and no definition is unused."""
    schema = make_target(into).schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert "$ref" not in schema
    text = str(schema)
    assert all(f"#/$defs/{name}'" in text for name in schema.get("$defs", {}))


@pytest.mark.parametrize("into", TYPES, ids=str)
def test_the_conversion_accepts_what_the_schema_accepts(into: Any) -> None:
    """A value fits the schema exactly if it fits the conversion."""
    target = make_target(into)
    validator = jsonschema.Draft202012Validator(target.schema)
    schema = target.schema
    wrapped = schema.get("properties", {}).keys() == {"value"}
    shapes = values | st.dictionaries(names, values, max_size=4)
    if wrapped:
        shapes |= st.fixed_dictionaries({"value": values})

    @settings(max_examples=repetitions(25, 8))
    @given(shapes)
    def agree(value: Any) -> None:
        assert accepts(target, value) == validator.is_valid(value), value

    agree()


@pytest.mark.parametrize("into", [object, complex, type("Plain", (), {}), "Tree"], ids=str)
def test_a_type_without_a_schema_is_named(into: Any) -> None:
    """The error names the type, and is raised before any request."""
    with pytest.raises(ConfigurationError, match="has no JSON Schema"):
        make_target(into)


def test_a_misfit_has_a_path_to_its_place() -> None:
    """The path is one in the arguments, through lists and objects."""
    with pytest.raises(MisfitError) as caught:
        make_target(Tree).convert({"name": "a", "children": [{"name": "b"}, {"name": 3}]})
    assert caught.value.problems == [("$.children[1].name", "Expected `str`, got `int`")]
    assert str(caught.value) == "$.children[1].name: Expected `str`, got `int`"
