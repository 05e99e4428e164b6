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

T = TypeVar("T")

Problem = tuple[str, str]
_WRAPPED = "value"
_PLACE = re.compile(r" - at `(.*)`$")
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
        self.schema = _wrap(schema) if self._wrapped else inlined

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
    try:
        schema: dict[str, Any] = load_msgspec().json.schema(type_)
    except (TypeError, ValueError) as exc:
        reason = str(exc).strip().splitlines()[-1]
        raise ConfigurationError(f"{what}: {_name(type_)} has no JSON Schema: {reason}") from exc
    return schema


def convert(value: Any, type_: type[T], path: str = "$") -> T:
    """Return a value of JSON as a value of the type, without any guess. Raises `MisfitError`.

    `path` is the path of the value in the arguments.
    """
    msgspec = load_msgspec()
    try:
        result: T = msgspec.convert(value, type_, strict=True)
    except msgspec.ValidationError as exc:
        text = str(exc)
        place = _PLACE.search(text)
        problem = (f"{path}{place[1][1:] if place else ''}", _PLACE.sub("", text))
        raise MisfitError([problem]) from exc
    return result


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
    name = str(schema.get("$ref", "")).removeprefix(_REFERENCE)
    definitions = schema.get("$defs", {})
    if name not in definitions:
        return schema
    used = {key: value for key, value in definitions.items() if _is_used(key, definitions)}
    return {**definitions[name], **({"$defs": used} if used else {})}


def _is_used(name: str, definitions: dict[str, Any]) -> bool:
    return json.dumps(f"{_REFERENCE}{name}") in json.dumps(definitions)


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
