"""Tool results: convert the value or the error of a tool into a message for the model."""

from __future__ import annotations

import json
from typing import Any, cast

from .._schemas.target import load_msgspec
from .._types.base import Unknown, WireObject
from .._types.content import ImageContent, InputBlock, TextContent, ToolCall, UnknownContent
from .._types.messages import ToolResultMessage

FAILED = "the tool failed"
NOT_RUN = "not run"
CANCELLED = "cancelled"
_BLOCKS = (TextContent, ImageContent, UnknownContent)


def success(call: ToolCall, value: Any, details: Any = None) -> ToolResultMessage:
    """Return the result of a call: a string as it is, blocks as blocks, all else as JSON.

    Raises `TypeError` for a value that JSON cannot hold.
    """
    return ToolResultMessage(call.id, call.name, _content(call, value), details=details)


def failure(call: ToolCall, text: str) -> ToolResultMessage:
    """Return a result that is marked as an error."""
    return ToolResultMessage(call.id, call.name, text, is_error=True)


def _content(call: ToolCall, value: Any) -> str | list[InputBlock]:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, _BLOCKS):
        return [value]
    if isinstance(value, (list, tuple)) and any(isinstance(item, _BLOCKS) for item in value):
        return [TextContent(item) if isinstance(item, str) else item for item in value]
    try:
        return _json(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise TypeError(
            f"tool {call.name!r} returned a value that is no string, no content block and no "
            f"JSON: {exc}"
        ) from exc


def _json(value: Any) -> str:
    if isinstance(value, (WireObject, Unknown)):
        return value.to_json()
    msgspec = load_msgspec()
    try:
        return cast("str", msgspec.json.encode(value, enc_hook=_plain).decode())
    except UnicodeEncodeError:
        # Half a surrogate pair, as in the name of a file that is not UTF-8.
        return json.dumps(msgspec.to_builtins(value, str_keys=True, enc_hook=_plain))


def _plain(value: Any) -> Any:
    """Return a pydantic model or a value of numpy as JSON's types; neither is imported here."""
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump(mode="json")
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    raise TypeError(f"an object of type {type(value).__name__} has no JSON form")
