"""The parameters of a function: their schema for the model, and its arguments for the function."""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import attrs

from .._schemas.target import convert, inline, load_msgspec, schema_of
from .._threads.abort import AbortSignal
from .._types.content import ToolCall
from ..errors import ConfigurationError

_HANDED_IN = (ToolCall, AbortSignal)
_REFUSED_KINDS: dict[Any, str] = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only, and a model gives arguments by name",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments, so it has no schema",
    inspect.Parameter.VAR_KEYWORD: "takes any argument, so it has no schema",
}


@attrs.frozen(eq=False)
class Parameters:
    """The parameters of one function. `schema` is that of an object with its arguments."""

    schema: dict[str, Any]
    _arguments: Any  # a msgspec.Struct with a field for each argument
    _handed_in: Mapping[str, type]

    def convert(self, arguments: Any) -> dict[str, Any]:
        """Return the arguments of a call as keyword arguments. Raises `MisfitError`.

        Arguments that the model leaves out are left out here, too. No object is shared with
        `arguments`, which are part of the history.
        """
        unset = load_msgspec().UNSET
        struct = convert(copy.deepcopy(arguments), self._arguments)
        values = {name: getattr(struct, name) for name in self._arguments.__struct_fields__}
        return {name: value for name, value in values.items() if value is not unset}

    def hand_in(self, call: ToolCall, signal: AbortSignal) -> dict[str, Any]:
        """Return the keyword arguments that do not come from the model."""
        return {
            name: copy.deepcopy(call) if kind is ToolCall else signal
            for name, kind in self._handed_in.items()
        }


def parameters_of(function: Callable[..., Any], tool: str, texts: Mapping[str, str]) -> Parameters:
    """Return the parameters of a function, described by `texts`.

    Raises `ConfigurationError`, which names the tool and the parameter, for one that a model cannot
    give an argument for.
    """
    described: dict[str, _Argument] = {}
    handed_in: dict[str, type] = {}
    for name, parameter in _signature(function, tool).parameters.items():
        what = f"tool {tool!r}: parameter {name!r}"
        hint = _hint(function, parameter, what)
        kind = _handed_in(hint)
        if kind is not None:
            handed_in[name] = kind
        else:
            schema_of(hint, what)  # raises if the type has none
            described[name] = _Argument(hint, parameter.default, texts.get(name))
    struct = _struct(described)
    schema = inline(schema_of(struct, f"tool {tool!r}"))
    del schema["title"]
    properties = schema["properties"]
    schema["properties"] = {name: described[name].describe(properties[name]) for name in properties}
    return Parameters(schema, struct, handed_in)


@attrs.frozen(eq=False)
class _Argument:
    """A parameter for which the model gives an argument."""

    hint: Any
    default: Any
    text: str | None

    def describe(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Add the description and the default to the schema of the type."""
        text = _annotated_text(self.hint) or schema.get("description") or self.text
        described = {**schema, **({"description": text} if text else {})}
        if self.default is not inspect.Parameter.empty:
            with contextlib.suppress(Exception):  # a default that JSON cannot hold is left out
                described["default"] = load_msgspec().to_builtins(self.default)
        return described


def _struct(arguments: Mapping[str, _Argument]) -> Any:
    msgspec = load_msgspec()
    fields: list[tuple[Any, ...]] = [
        (name, argument.hint)
        if argument.default is inspect.Parameter.empty
        # Unset and not the default itself: the function has that, and it may be any object.
        else (name, Union[argument.hint, msgspec.UnsetType], msgspec.UNSET)  # noqa: UP007
        for name, argument in arguments.items()
    ]
    return msgspec.defstruct("arguments", fields, kw_only=True, forbid_unknown_fields=True)


def _signature(function: Callable[..., Any], tool: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError, NameError) as exc:
        raise ConfigurationError(f"tool {tool!r} has no readable signature: {exc}") from exc


def _hint(function: Callable[..., Any], parameter: inspect.Parameter, what: str) -> Any:
    """Return the type of a parameter. Raises `ConfigurationError`."""
    refused = _REFUSED_KINDS.get(parameter.kind)
    if refused is not None:
        raise ConfigurationError(f"{what} {refused}")
    if parameter.annotation is inspect.Parameter.empty:
        hint = "; tool(object.method) makes a tool of a method"
        raise ConfigurationError(
            f"{what} has no annotation, so its type is not known"
            f"{hint if parameter.name == 'self' else ''}"
        )
    try:
        return _evaluate(parameter.annotation, _globals(function))
    except Exception as exc:  # an annotation may be any expression
        raise ConfigurationError(
            f"{what}: its annotation {parameter.annotation!r} cannot be evaluated: {exc}"
        ) from exc


def _evaluate(annotation: Any, names: dict[str, Any]) -> Any:
    def holder() -> None: ...

    holder.__annotations__ = {"parameter": annotation}
    return typing.get_type_hints(holder, names, include_extras=True)["parameter"]


def _globals(function: Any) -> dict[str, Any]:
    while hasattr(function, "func"):  # a partial
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__globals__") and not isinstance(function, type):
        function = getattr(function, "__func__", type(function).__call__)
    names = getattr(function, "__globals__", None)
    if names is None:
        names = vars(sys.modules.get(getattr(function, "__module__", ""), typing))
    return dict(names)


def _annotated_text(hint: Any) -> str | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((item for item in hint.__metadata__ if isinstance(item, str)), None)


def _handed_in(hint: Any) -> type | None:
    """Return the type of an argument that the caller of the tool hands in, or None."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        hints = [part for part in get_args(hint) if part is not type(None)]
        hint = hints[0] if len(hints) == 1 else None
    return hint if hint in _HANDED_IN else None
