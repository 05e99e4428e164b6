"""A function as a tool: its schema, its arguments, and the functions that are refused."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import functools
import inspect
import pickle
from typing import Annotated, Any, Literal, Optional, Union

import attrs
import pytest
from typing_extensions import TypedDict

from pi_native import AbortSignal, ConfigurationError, FunctionTool, ToolCall, ToolError, tool

jsonschema = pytest.importorskip("jsonschema")
msgspec = pytest.importorskip("msgspec")
pytest.importorskip("docstring_parser")


class Color(enum.Enum):
    """A color."""

    RED = "red"


@attrs.define
class Place:
    """A place."""

    name: str


@dataclasses.dataclass
class Point:
    """A point."""

    x: int
    y: float = 0.0


class Settings(TypedDict):
    """Settings."""

    deep: bool


def everything(
    place: Place,
    point: Point,
    settings: Settings,
    color: Color,
    when: datetime.date,
    level: Literal["low", "high"] = "low",
    tags: list[str] = [],  # noqa: B006 - never changed
    limit: int | None = None,
    *,
    sentinel: float = float("inf"),
) -> Any:
    """Take everything."""
    return place, point, settings, color, when, level, tags, limit, sentinel


@tool
def shout(text: str) -> str:
    """Return the text in capitals."""
    return text.upper()


class Speaker:
    """An object with methods."""

    def say(self, text: str) -> str:
        """Say it."""
        return text

    def __call__(self, text: str) -> str:
        """Say it as well."""
        return text

    @classmethod
    def made(cls, text: str) -> str:
        """Say it as a class."""
        return text


def call(function: Any, **arguments: Any) -> Any:
    """Return the result of a call with these arguments."""
    made = function if isinstance(function, FunctionTool) else tool(function)
    return made.call(ToolCall("call_1", made.name, arguments))


def test_the_schema_is_made_of_the_signature() -> None:
    """It is valid, and has types, defaults and the required arguments."""
    schema = tool(everything).parameters
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["place", "point", "settings", "color", "when"]
    properties = schema["properties"]
    assert list(properties) == list(inspect.signature(everything).parameters)
    assert properties["level"] == {"enum": ["high", "low"], "default": "low"}
    assert properties["limit"]["default"] is None
    assert schema["$defs"].keys() == {"Place", "Point", "Settings", "Color"}


def test_arguments_are_converted_to_the_types_of_the_signature() -> None:
    """Classes, enums, dates and containers arrive as such; defaults are the function's own."""
    seen: list[Any] = []

    @functools.wraps(everything)
    def note(*args: Any, **kwargs: Any) -> str:
        seen.append(everything(*args, **kwargs))
        return ""

    call(
        tool(note),
        place={"name": "Paris"},
        point={"x": 1},
        settings={"deep": True},
        color="red",
        when="2024-02-29",
        tags=["a"],
    )
    date = datetime.date(2024, 2, 29)
    expected = (Place("Paris"), Point(1), {"deep": True}, Color.RED, date, "low", ["a"], None)
    assert seen == [(*expected, float("inf"))]


@pytest.mark.parametrize(
    ("hint", "value", "problem"),
    [
        (int, "2", "$.value: Expected `int`, got `str`"),
        (int, True, "$.value: Expected `int`, got `bool`"),
        (int, 1.0, "$.value: Expected `int`, got `float`"),
        (str, 2, "$.value: Expected `str`, got `int`"),
        (bool, "yes", "$.value: Expected `bool`, got `str`"),
        (list[int], [1, "2"], "$.value[1]: Expected `int`, got `str`"),
        (dict[str, int], {"a": None}, "$.value[...]: Expected `int`, got `null`"),
        (Color, "blue", "$.value: Invalid enum value 'blue'"),
        (Place, {"name": 5}, "$.value.name: Expected `str`, got `int`"),
        (Place, {}, "$.value: Object missing required field `name`"),
        (Optional[Point], {"x": "1"}, "$.value.x: Expected `int`, got `str`"),  # noqa: UP045
    ],
    ids=str,
)
def test_arguments_are_never_guessed(hint: Any, value: Any, problem: str) -> None:
    """A value of another type is an error that names its path."""

    def take(value: Any) -> None:
        """Take it."""
        raise AssertionError(value)

    take.__annotations__["value"] = hint
    result = call(take, value=value)
    assert result.is_error
    assert str(result) == f"{problem}\nCall the tool again."


@pytest.mark.parametrize("arguments", [None, [], "text", 5])
def test_arguments_that_are_no_object_do_not_fit(arguments: Any) -> None:
    """The result says so."""
    result = shout.call(ToolCall("call_1", "shout", arguments))
    assert result.is_error
    assert str(result).startswith("$: Expected `object`")


@pytest.mark.parametrize(
    "docstring",
    [
        "Do it.\n\nAt length.\n\nArgs:\n    left: The left\n        one.\n"
        "    right (int): Right.\n",
        "Do it.\n\nAt length.\n\nParameters\n----------\nleft : int\n    The left one.\n"
        "right : int\n    Right.\n",
        "Do it.\n\nAt length.\n\n:param left: The left one.\n:param int right: Right.\n"
        ":returns: nothing\n",
    ],
    ids=["Google", "numpy", "reST"],
)
def test_the_texts_come_from_the_docstring(docstring: str) -> None:
    """Each style describes the tool and its parameters; a text in the annotation wins."""

    def do(
        left: int, right: Annotated[int, "mine", msgspec.Meta(ge=0)], other: int = 0
    ) -> None: ...

    do.__doc__ = docstring
    made = tool(do)
    assert made.description == "Do it.\n\nAt length."
    properties = made.parameters["properties"]
    assert properties["left"] == {"type": "integer", "description": "The left one."}
    assert properties["right"] == {"type": "integer", "description": "mine", "minimum": 0}
    assert properties["other"] == {"type": "integer", "default": 0}


@pytest.mark.parametrize("text", ["Do: it.", "Do it.\n\n    indented\n  less", ":param", ""])
def test_a_docstring_of_no_style_is_the_description(text: str) -> None:
    """Its words are kept."""

    def do() -> None: ...

    do.__doc__ = text
    assert tool(do).description.split() == text.split()


def test_name_and_description_can_be_given() -> None:
    """They win over those of the function."""
    made = tool(lambda: None, name="other", description="Other.")
    assert (made.name, made.description, made.parameters["properties"]) == ("other", "Other.", {})


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (Speaker().say, "say"),
        (Speaker.made, "made"),
        (functools.partial(Speaker().say), "say"),
        (tool(name="speak")(Speaker()), "speak"),
    ],
    ids=["method", "class method", "partial", "object"],
)
def test_what_can_be_a_tool(function: Any, name: str) -> None:
    """Methods, partials and callable objects are functions as well."""
    made = function if isinstance(function, FunctionTool) else tool(function)
    assert made.name == name
    assert made.parameters["properties"] == {"text": {"type": "string"}}
    assert str(call(made, text="hi")) == "hi"


def positional(value: int, /) -> None:
    """Take it by position."""


def variadic(*values: int) -> None:
    """Take any."""


def keywords(**values: int) -> None:
    """Take any by name."""


def bare(value) -> None:  # type: ignore[no-untyped-def]
    """Take something."""


def untyped(value: object) -> None:
    """Take an object."""


def misspelt(value: Plase) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Take what does not exist."""


def two_classes(value: Union[Place, Point]) -> None:  # noqa: UP007
    """Take one of two classes, which JSON does not tell apart."""


def method(self, value: int) -> None:  # type: ignore[no-untyped-def]
    """Be a method without its object."""


async def awaited() -> None:
    """Be async."""


def generated() -> Any:
    """Be a generator."""
    yield 1


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (positional, "tool 'positional': parameter 'value' is positional-only"),
        (variadic, "tool 'variadic': parameter 'values' takes any number of arguments"),
        (keywords, "tool 'keywords': parameter 'values' takes any argument"),
        (bare, "tool 'bare': parameter 'value' has no annotation"),
        (untyped, "tool 'untyped': parameter 'value': object has no JSON Schema"),
        (misspelt, "tool 'misspelt': parameter 'value': its annotation 'Plase' cannot be"),
        (two_classes, r"tool 'two_classes': parameter 'value': .* has no JSON Schema"),
        (method, r"parameter 'self' has no annotation.*; tool\(object.method\)"),
        (awaited, "tool 'awaited' is an async function"),
        (generated, "tool 'generated' is a generator function"),
        (lambda: None, r"cannot be named '<lambda>': tool\(\..., name=...\)|cannot be named"),
        (Speaker(), "has no name"),
        (max, "no readable signature|takes any number"),
        (shout, "'shout' is a tool already"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_function_that_cannot_be_described_is_refused(function: Any, text: str) -> None:
    """The error names the parameter and the reason."""
    with pytest.raises(ConfigurationError, match=text):
        tool(function)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"function": 5}, "a tool is made of a function, not of int"),
        ({"approve": print}, "approve must be True or False, .* argument of run"),
        ({"parallel": 1}, "parallel must be True or False, not int"),
        ({"name": 3}, "name must be a string, not int"),
        ({"description": ["Sing."]}, "description must be a string, not list"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_a_type_error(settings: dict[str, Any], text: str) -> None:
    """The error names the setting."""
    with pytest.raises(TypeError, match=text):
        tool(**{"function": positional, **settings})


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "a.b"])
def test_a_name_that_providers_refuse_is_refused(name: str) -> None:
    """A name has letters, digits, underscores and dashes."""
    with pytest.raises(ConfigurationError, match="cannot be named"):
        tool(lambda: None, name=name)


def test_a_tool_is_still_the_function() -> None:
    """It is called as before, and keeps its name, docstring and signature."""
    assert shout("a") == "A"
    assert (shout.__name__, shout.__doc__) == ("shout", "Return the text in capitals.")
    assert list(inspect.signature(shout).parameters) == ["text"]
    assert repr(shout) == "<FunctionTool shout(text)>"


def test_a_call_is_answered_with_its_id() -> None:
    """A `ToolError` is a result; other exceptions are raised."""

    def fail(reason: str) -> None:
        """Fail."""
        raise ToolError(reason) if reason else RuntimeError("crash")

    result = call(fail, reason="no")
    assert (result.tool_call_id, result.tool_name) == ("call_1", "fail")
    assert (str(result), result.is_error) == ("no", True)
    with pytest.raises(RuntimeError, match="crash"):
        call(fail, reason="")
    with pytest.raises(TypeError, match="call must be a ToolCall, not dict"):
        shout.call({})  # type: ignore[arg-type]


def test_a_tool_error_without_words_has_a_result() -> None:
    """A result is never empty by accident."""

    def fail() -> None:
        """Fail."""
        raise ToolError

    assert str(call(fail)) == "the tool failed"


def test_a_signal_can_be_given_to_a_call() -> None:
    """It is handed to the parameter; without one it is a signal that never aborts."""
    seen: list[AbortSignal] = []

    def look(signal: AbortSignal) -> None:
        """Look."""
        seen.append(signal)

    signal = AbortSignal()
    made = tool(look)
    made.call(ToolCall("1", "look", {}), signal=signal)
    made.call(ToolCall("1", "look", {}))
    assert seen[0] is signal
    assert not seen[1].aborted


def test_a_declaration_is_a_copy() -> None:
    """Changing what is sent does not change the tool."""
    shout.declaration.parameters["properties"].clear()
    assert shout.declaration.parameters == shout.parameters


def test_a_copy_of_a_tool_is_the_tool() -> None:
    """The object of a method is not copied with it."""
    made = tool(Speaker().say)
    assert copy.deepcopy({"say": made}) == {"say": made}


@pytest.mark.parametrize(
    "made", [shout, tool(Speaker().say, approve=True)], ids=["decorated", "method"]
)
def test_a_tool_can_be_pickled(made: Any) -> None:
    """A decorated function by its name, another one with its settings."""
    restored = pickle.loads(pickle.dumps(made))
    assert (restored.name, restored.parameters) == (made.name, made.parameters)
    assert restored.approve == made.approve
    assert (restored is shout) == (made is shout)
