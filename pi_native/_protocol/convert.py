"""JSON to typed objects and back, strict and without loss.

Reading coerces nothing, accepts missing members, and reports all problems of an object at once.
Reading and then writing is the identity on JSON: members without a field and explicit nulls are
kept in `extra`, and objects of an unknown kind are kept whole. Values that the protocol does not
describe (a tool's arguments, a provider's payload) are passed through without a copy.

A cattrs converter finds the hook for a type and caches it; a hook is built on first use. The events
that make up most of a stream bypass the converter, see `decode_event`.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal, TypeVar, get_args, get_origin, overload

import cattrs
from attrs import evolve

from .._types import events as ev
from .._types.base import Unknown, WireObject, wire_fields, wire_name
from .._types.content import Block
from .._types.events import AssistantMessageEvent, PartialSource, UnknownEvent
from .._types.messages import AssistantMessage, Message
from .._types.options import StreamOptions, wire_options
from . import structure as hooks
from .validation import Faults, decode_error, wrong_or_missing

T = TypeVar("T")


@overload
def from_wire(data: object, cls: type[T]) -> T: ...
@overload
def from_wire(data: object, cls: Any) -> Any: ...
def from_wire(data: object, cls: Any) -> Any:
    """Read a value of `json.loads` as a `cls`: a wire class, or a union of them like `Message`.

    Raises `DecodeError`, whose `problems` are all problems, each with its path.

        >>> from_wire({"role": "user", "content": "Hi", "timestamp": 1}, Message)
        UserMessage(content='Hi', timestamp=1)
    """
    if not all(map(_is_readable, get_args(cls) if hooks.is_union(cls) else [cls])):
        raise TypeError(f"{cls!r} is not a type that is read from the wire")
    return _read(data, cls)


def to_wire(obj: WireObject | Unknown) -> dict[str, Any]:
    """Return an object as on the wire, for `json.dumps`.

    Objects and lists that the protocol describes are new; values that it leaves open are shared.

        >>> to_wire(TextContent("Hi"))
        {'type': 'text', 'text': 'Hi'}
    """
    if not isinstance(obj, (WireObject, Unknown)):
        raise TypeError(f"{type(obj).__name__} is not a type of the wire")
    written: dict[str, Any] = _converter().unstructure(obj)
    return written


def decode_event(data: object, snapshot: PartialSource = None) -> AssistantMessageEvent:
    """Read one event of a stream as `from_wire` does, but decode its `partial` on use.

    `snapshot` is a `partial` that was removed from `data` before. Raises `DecodeError`.
    """
    return _decode_plain(data, snapshot) or _decode_any(data, snapshot)


class UnreadMessage(abc.ABC):
    """A snapshot that is decoded when it is called."""

    __slots__ = ()

    @abc.abstractmethod
    def raw(self) -> Any:
        """Return the parsed JSON object."""

    def __call__(self) -> AssistantMessage:
        """Decode the snapshot. Raises `DecodeError`."""
        message: AssistantMessage = _read(self.raw(), AssistantMessage, "$.partial")
        return message


class LazyMessage(UnreadMessage):
    """A snapshot that was parsed together with its event."""

    __slots__ = ("_raw",)

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw

    def raw(self) -> dict[str, Any]:
        """Return the parsed JSON object."""
        return self._raw


# The streaming path.

# Event types with scalar members only, and the member that holds text: nearly all of a stream.
_PLAIN: dict[object, tuple[Callable[..., AssistantMessageEvent], str | None]] = {
    "text_start": (ev.TextStartEvent, None),
    "text_delta": (ev.TextDeltaEvent, "delta"),
    "text_end": (ev.TextEndEvent, "content"),
    "thinking_start": (ev.ThinkingStartEvent, None),
    "thinking_delta": (ev.ThinkingDeltaEvent, "delta"),
    "thinking_end": (ev.ThinkingEndEvent, "content"),
    "toolcall_start": (ev.ToolCallStartEvent, None),
    "toolcall_delta": (ev.ToolCallDeltaEvent, "delta"),
}
_WITH_PARTIAL = frozenset(_PLAIN) | {"start", "toolcall_end", "image_end"}


def _decode_plain(data: Any, snapshot: PartialSource) -> AssistantMessageEvent | None:
    """Return an event of exactly the expected form; None for any other, which the hooks read."""
    try:
        cls, text_member = _PLAIN[data["type"]]
        index = data["contentIndex"]
        text = data[text_member] if text_member else ""
        known = 3 if text_member else 2
        if snapshot is None:
            raw = data["partial"]
            snapshot = LazyMessage(raw) if type(raw) is dict else None
            known += 1
    except (KeyError, TypeError):
        return None
    if type(index) is not int or type(text) is not str or snapshot is None or len(data) != known:
        return None
    return cls(index, text, snapshot) if text_member else cls(index, snapshot)


def _decode_any(data: Any, snapshot: PartialSource) -> AssistantMessageEvent:
    if snapshot is None and _has_lazy_partial(data):
        snapshot = LazyMessage(data["partial"])
        data = {name: value for name, value in data.items() if name != "partial"}
    event: Any = _read(data, AssistantMessageEvent)
    if snapshot is not None and (event.type in _WITH_PARTIAL or isinstance(event, UnknownEvent)):
        event = evolve(event, partial=snapshot)
    decoded: AssistantMessageEvent = event
    return decoded


def _has_lazy_partial(data: Any) -> bool:
    if not isinstance(data, dict) or not isinstance(data.get("partial"), dict):
        return False
    kind = data.get("type")
    return isinstance(kind, str) and kind in _WITH_PARTIAL


# Reading.

_NAMES: dict[Any, str] = {AssistantMessageEvent: "event", Message: "message", Block: "block"}


def _is_readable(cls: Any) -> bool:
    # Options are only written.
    return (hooks.is_wire(cls) or hooks.is_unknown(cls)) and cls is not StreamOptions


def _read(data: object, cls: Any, root: str = "$") -> Any:
    what = cls.__name__ if isinstance(cls, type) else _NAMES.get(cls, "object")
    try:
        return _converter().structure(data, cls)
    except Faults as faults:
        raise decode_error(what, faults, root) from None
    except RecursionError:
        raise decode_error(what, Faults([("", "nested too deep")]), root) from None


def _read_unknown(value: Any, cls: type[Unknown]) -> Unknown:
    return cls(hooks.read_object(value))


def _read_unknown_event(value: Any, _: Any) -> UnknownEvent:
    data = hooks.read_object(value)
    if not isinstance(data.get("type"), str):
        raise Faults([wrong_or_missing("a string", data, "type")])
    partial = data.get("partial")
    return UnknownEvent(data, LazyMessage(partial) if isinstance(partial, dict) else None)


# Writing.


def _class_writer(cls: type[WireObject], write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if issubclass(cls, StreamOptions):
        return wire_options
    getters = {"_partial": _get_partial}
    members = [(wire_name(a), getters.get(a.name) or attrgetter(a.name)) for a in wire_fields(cls)]

    def write_object(obj: WireObject) -> dict[str, Any]:
        parts = ((name, get(obj)) for name, get in members)
        written = {name: _write_part(part, write) for name, part in parts if part is not None}
        for name, part in obj.extra.items():
            written.setdefault(name, part)
        return written

    return write_object


def _write_part(part: Any, write: Callable[[Any], Any]) -> Any:
    if isinstance(part, (WireObject, Unknown)):
        return write(part)
    if isinstance(part, (list, tuple)):
        return [write(item) if isinstance(item, (WireObject, Unknown)) else item for item in part]
    if isinstance(part, dict):
        return dict(part)
    return part.raw() if isinstance(part, UnreadMessage) else part


def _write_unknown(obj: Unknown) -> dict[str, Any]:
    return dict(obj.data)


_get_snapshot = attrgetter("_partial")


def _get_partial(event: Any) -> Any:
    """Return an event's snapshot for writing, without decoding one that was not used."""
    snapshot = _get_snapshot(event)
    return snapshot if isinstance(snapshot, UnreadMessage) else event.partial


# The converter.


def _comes_from(origin: Any) -> Callable[[Any], bool]:
    return lambda hint: get_origin(hint) is origin


@functools.cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    _register_plain(converter)
    for matches, make in (
        (_comes_from(list), hooks.list_hook),
        (_comes_from(dict), hooks.dict_hook),
        (hooks.is_union, hooks.union_hook),
        (hooks.is_wire, hooks.class_hook),
    ):
        converter.register_structure_hook_factory(
            matches, lambda hint, make=make: make(hint, converter.get_structure_hook)
        )
    converter.register_unstructure_hook_func(hooks.is_unknown, _write_unknown)
    converter.register_unstructure_hook_factory(
        hooks.is_wire, lambda cls: _class_writer(cls, converter.unstructure)
    )
    return converter


def _register_plain(converter: cattrs.Converter) -> None:
    converter.register_structure_hook(str, hooks.read_string)
    converter.register_structure_hook(bool, hooks.read_bool)
    converter.register_structure_hook(int, hooks.read_integer)
    converter.register_structure_hook(float, hooks.read_number)
    register = converter.register_structure_hook_func
    register(lambda hint: hint is Any, hooks.read_any)
    # A newer gateway may know more words than a Literal lists, which is for type checkers.
    register(_comes_from(Literal), hooks.read_string)
    register(hooks.is_unknown, _read_unknown)
    register(lambda hint: hint is UnknownEvent, _read_unknown_event)
