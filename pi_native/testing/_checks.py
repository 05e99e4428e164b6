"""Validators for the arguments of script entries."""

from collections.abc import Mapping, Sequence
from typing import Any

from pi_native import ToolCall, Usage

__all__ = [
    "check_after",
    "check_bytes",
    "check_events",
    "check_optional_text",
    "check_seconds",
    "check_status",
    "check_text",
    "check_tool_calls",
    "check_usage",
    "shown",
]


def check_text(_instance: object, attribute: Any, value: object) -> None:
    """Check that a value is a string or a list of strings."""
    if not isinstance(value, str) and not _is_list_of(str, value):
        raise TypeError(
            f"{attribute.name} must be a string or a list of strings, not {shown(value)}; "
            "for wire events use events([...])"
        )


def check_bytes(_instance: object, attribute: Any, value: Any) -> None:
    """Check that a value is bytes or a list of bytes."""
    if not isinstance(value, bytes) and not _is_list_of(bytes, value):
        raise TypeError(f"{attribute.name} must be bytes or a list of bytes, not {shown(value)}")


def check_tool_calls(_instance: object, _attribute: Any, value: object) -> None:
    """Check that a value is a list of tool calls."""
    if not _is_list_of((ToolCall, Mapping), value):
        raise TypeError(f"tool_calls must be a list of ToolCall or dict, not {shown(value)}")


def check_events(_instance: object, _attribute: Any, value: Any) -> None:
    """Check that a value is a list of events."""
    if not _is_list_of(object, value) or any(isinstance(v, (str, bytes, int)) for v in value):
        raise TypeError(f"events must be a list of events or of dicts, not {shown(value)}")


def check_status(_instance: object, attribute: Any, value: object) -> None:
    """Check that a value is an HTTP status or None."""
    if value is not None and (not isinstance(value, int) or not 100 <= value <= 999):
        raise TypeError(f"{attribute.name} must be an HTTP status such as 503, not {value!r}")


def check_optional_text(_instance: object, attribute: Any, value: Any) -> None:
    """Check that a value is a string or None."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a string, not {shown(value)}")


def check_usage(_instance: object, _attribute: object, value: Any) -> None:
    """Check that a value is a usage, a dict or None."""
    if value is not None and not isinstance(value, (Usage, Mapping)):
        raise TypeError(f"usage must be a Usage or a dict, not {shown(value)}")


def check_after(_instance: object, _attribute: object, value: Any) -> None:
    """Check that a value is the number of events before a fault, or None."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"after must be a number of events or None, not {shown(value)}")
    if value < 0:
        raise ValueError(f"after must not be negative, but is {value}; None is before the response")


def check_seconds(_instance: object, attribute: Any, value: Any) -> None:
    """Check that a value is a number of seconds or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"{attribute.name} must be a number of seconds, not {shown(value)}")


def _is_list_of(kind: Any, value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        return False
    return all(isinstance(item, kind) for item in value)


def shown(value: object) -> str:
    """Return the type and the beginning of a value, for an error."""
    return f"{type(value).__name__}: {value!r:.40}"
