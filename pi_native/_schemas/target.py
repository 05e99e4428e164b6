"""The type that an answer is converted to: its JSON Schema, and the conversion of arguments.

msgspec makes both from attrs classes, dataclasses, TypedDicts, NamedTuples, enums, literals and
containers. A pydantic model brings its own. A dict is a schema that goes out unchanged.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from ..errors import ConfigurationError
from .refine import refine

T = TypeVar("T")

Problem = tuple[str, str]
_WRAPPED = "value"
_PLACE = re.compile(r" - at `(key` in `)?(\$.*)`$")
_REFERENCE = "#/$defs/"


class MisfitError(ValueError):
    """Arguments that do not fit a type; `problems` are pairs of a path and a text."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{path}: {text}" for path, text in problems))
        self.problems = problems


class Target(Protocol[T]):  # type: ignore[misc]
    """A type with its schema, which is that of an object."""

    schema: dict[str, Any]

    def convert(self, arguments: Any) -> T:
        """Return the value of a call's arguments. Raises `MisfitError`."""


def make_target(into: Any) -> Target[Any]:
    """Return the target of an `into` argument. Raises `ConfigurationError`."""
    if isinstance(into, Mapping):
        return _SchemaTarget(into)
    if hasattr(into, "model_json_schema") and hasattr(into, "model_validate"):
        return _PydanticTarget(into)
    return _TypeTarget(into)


class _SchemaTarget:
    """A schema of the caller; the value is the unchecked dict."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            json.dumps(schema, allow_nan=False)
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(f"into: the schema cannot be written as JSON: {exc}") from exc
        if schema.get("type", "object") != "object":
            raise ConfigurationError(
                f'into: a schema must have the type "object", not {schema["type"]!r:.40}'
            )
        self.schema = copy.deepcopy(dict(schema))

    def convert(self, arguments: Any) -> dict[str, Any]:
        if not isinstance(arguments, dict):
            raise MisfitError([("$", f"expected an object, got {type(arguments).__name__}")])
        return arguments


class _PydanticTarget:
    """A pydantic model, through its own methods: pydantic is never imported here."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.schema: dict[str, Any] = model.model_json_schema()

    def convert(self, arguments: Any) -> Any:
        try:
            return self._model.model_validate(arguments)
        except ValueError as exc:
            raise MisfitError(_pydantic_problems(exc)) from exc


def _pydantic_problems(error: Any) -> list[Problem]:
    details = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
    return [(_path(detail["loc"]), str(detail["msg"])) for detail in details]


def _path(parts: Any) -> str:
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return "$" + "".join(steps)


class _TypeTarget(Generic[T]):
    """A type that msgspec knows. What is no object on the wire is wrapped in `{"value": …}`."""

    def __init__(self, into: type[T]) -> None:
        self._type = into
        schema = schema_of(into, "into")
        inlined = inline(schema)
        self._wrapped = inlined.get("type") != "object"
        self.schema = inline(_wrap(schema)) if self._wrapped else inlined

    def convert(self, arguments: Any) -> T:
        if not self._wrapped:
            return convert(arguments, self._type)
        return convert(self._unwrap(arguments), self._type, f"$.{_WRAPPED}")

    def _unwrap(self, arguments: Any) -> Any:
        if not isinstance(arguments, dict) or _WRAPPED not in arguments:
            raise MisfitError([("$", f"Object missing required field `{_WRAPPED}`")])
        unknown = arguments.keys() - {_WRAPPED}
        if unknown:
            raise MisfitError([("$", f"Object contains unknown field `{min(unknown)}`")])
        return arguments[_WRAPPED]


def schema_of(type_: Any, what: str) -> dict[str, Any]:
    """Return the JSON Schema of a type. Raises `ConfigurationError`, which begins with `what`."""
    msgspec = load_msgspec()
    try:
        schema: dict[str, Any] = msgspec.json.schema(type_)
        refine(schema, msgspec.inspect.type_info(type_))
    except Exception as exc:  # a NameError for an annotation, a KeyError for none, and others
        raise ConfigurationError(
            f"{what}: {_name(type_)} has no JSON Schema: {_reason(exc)}"
        ) from exc
    return schema


def _reason(exc: Exception) -> str:
    """Return what is wrong with a type, from an exception of msgspec."""
    if isinstance(exc, KeyError):
        key = exc.args[0]
        if isinstance(key, str):
            return f"the field {key!r} of a class has no annotation"
        return f"two classes in it have the name {_name(key)!r}"
    return str(exc).strip().splitlines()[-1]


def convert(value: Any, type_: type[T], path: str = "$") -> T:
    """Return a value of JSON as a value of the type, without any guess. Raises `MisfitError`.

    `path` is the path of the value in the arguments.
    """
    msgspec = load_msgspec()
    try:
        result: T = msgspec.convert(value, type_, strict=True, str_keys=True)
    except msgspec.ValidationError as exc:
        text = str(exc)
        place = _PLACE.search(text)
        problem = (f"{path}{place[2][1:] if place else ''}", _PLACE.sub(_of_key, text))
        raise MisfitError([problem]) from exc
    return result


def _of_key(place: re.Match[str]) -> str:
    return " as a key" if place[1] else ""


def load_msgspec() -> Any:
    """Import msgspec. Raises `ConfigurationError` that names the extra."""
    try:
        import msgspec  # lazy: an optional dependency, extra [tools]
    except ImportError:
        raise ConfigurationError(
            "types as schemas need msgspec: pip install '.[tools]' in a checkout of pi-native"
        ) from None
    return msgspec


def inline(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema whose top is not a reference: providers want an object there."""
    definitions = schema.get("$defs", {})
    name = str(schema.get("$ref", "")).removeprefix(_REFERENCE)
    top = definitions.get(name) or {key: schema[key] for key in schema if key != "$defs"}
    used = _used(top, definitions)
    return {**top, **({"$defs": used} if used else {})}


def _used(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the definitions that a schema refers to, directly or not."""
    used: dict[str, Any] = {}
    found = [schema]
    while found:
        text = json.dumps(found.pop())
        for name, definition in definitions.items():
            if name not in used and json.dumps(f"{_REFERENCE}{name}") in text:
                used[name] = definition
                found.append(definition)
    return {name: used[name] for name in definitions if name in used}


def _wrap(schema: dict[str, Any]) -> dict[str, Any]:
    definitions = schema.pop("$defs", None)
    wrapped = {
        "type": "object",
        "properties": {_WRAPPED: schema},
        "required": [_WRAPPED],
        "additionalProperties": False,
    }
    return wrapped if definitions is None else {**wrapped, "$defs": definitions}


def _name(into: Any) -> str:
    return getattr(into, "__name__", None) or repr(into)
