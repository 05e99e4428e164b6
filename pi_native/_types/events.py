"""The events of a stream: one class for each kind.

Events are created by the thousand, so they are built without checks. Each one comes with a snapshot
of the whole message so far, which most readers never use: an event may hold a function instead,
which creates the snapshot when `partial` is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from attrs import define, field

from ..errors import DecodeError
from .base import REQUIRED, Unknown, WireObject
from .content import ImageContent, ToolCall
from .messages import AssistantMessage

PartialSource: TypeAlias = AssistantMessage | Callable[[], AssistantMessage | None] | None
"""A message so far, or a function that creates it (picklable if the event is to be pickled)."""


def _resolve(source: PartialSource) -> AssistantMessage | None:
    return source() if callable(source) else source


class _LazyPartial:
    """Base of the events that have a snapshot: `partial` and `extra` are created when read."""

    __slots__ = ()

    _partial: PartialSource

    @property
    def partial(self) -> AssistantMessage | None:
        """The message so far, as it was when the event was sent; it may be ahead of the event.

        Raises `DecodeError`, each time, when the snapshot is not a valid message.
        """
        message = _resolve(self._partial)
        self._partial = message  # type: ignore[misc]  # the slot is in the subclass
        return message

    if not TYPE_CHECKING:  # a type checker would accept any attribute

        def __getattr__(self, name: str) -> Any:
            if name != "extra":
                raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
            self.extra = {}  # `bare_delta` leaves it out
            return self.extra


@define(eq=False, repr=False)
class _BlockStart(_LazyPartial, WireObject):
    """Base of the events that begin a block."""

    __match_args__ = ("content_index",)
    content_index: int
    _partial: PartialSource = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class _BlockDelta(_LazyPartial, WireObject):
    """Base of the events that add to a block."""

    __match_args__ = ("content_index", "delta")
    content_index: int
    delta: str
    _partial: PartialSource = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class _BlockEnd(_LazyPartial, WireObject):
    """Base of the events that end a block of text."""

    __match_args__ = ("content_index", "content")
    content_index: int
    content: str
    _partial: PartialSource = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class StartEvent(_LazyPartial, WireObject):
    """The message begins."""

    __match_args__ = ()
    type: Literal["start"] = field(default="start", init=False, metadata=REQUIRED)
    _partial: PartialSource = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False, match_args=False)
class TextStartEvent(_BlockStart):
    """A block of text begins."""

    type: Literal["text_start"] = field(default="text_start", init=False, metadata=REQUIRED)


@define(eq=False, repr=False, match_args=False)
class TextDeltaEvent(_BlockDelta):
    """More text. It may end inside a surrogate pair, which the next delta completes."""

    type: Literal["text_delta"] = field(default="text_delta", init=False, metadata=REQUIRED)


@define(eq=False, repr=False, match_args=False)
class TextEndEvent(_BlockEnd):
    """A block of text is complete."""

    type: Literal["text_end"] = field(default="text_end", init=False, metadata=REQUIRED)


@define(eq=False, repr=False, match_args=False)
class ThinkingStartEvent(_BlockStart):
    """A block of thinking begins."""

    type: Literal["thinking_start"] = field(default="thinking_start", init=False, metadata=REQUIRED)


@define(eq=False, repr=False, match_args=False)
class ThinkingDeltaEvent(_BlockDelta):
    """More thinking."""

    type: Literal["thinking_delta"] = field(default="thinking_delta", init=False, metadata=REQUIRED)


@define(eq=False, repr=False, match_args=False)
class ThinkingEndEvent(_BlockEnd):
    """A block of thinking is complete."""

    type: Literal["thinking_end"] = field(default="thinking_end", init=False, metadata=REQUIRED)


@define(eq=False, repr=False, match_args=False)
class ToolCallStartEvent(_BlockStart):
    """A tool call begins."""

    type: Literal["toolcall_start"] = field(default="toolcall_start", init=False, metadata=REQUIRED)


@define(eq=False, repr=False, match_args=False)
class ToolCallDeltaEvent(_BlockDelta):
    """More of the JSON text of a tool call's arguments."""

    type: Literal["toolcall_delta"] = field(default="toolcall_delta", init=False, metadata=REQUIRED)


@define(eq=False, repr=False)
class ToolCallEndEvent(_LazyPartial, WireObject):
    """A tool call is complete."""

    __match_args__ = ("content_index", "tool_call")
    type: Literal["toolcall_end"] = field(default="toolcall_end", init=False, metadata=REQUIRED)
    content_index: int
    tool_call: ToolCall
    _partial: PartialSource = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class ImageEndEvent(_LazyPartial, WireObject):
    """An image is complete."""

    __match_args__ = ("content_index", "content")
    type: Literal["image_end"] = field(default="image_end", init=False, metadata=REQUIRED)
    content_index: int
    content: ImageContent
    _partial: PartialSource = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class DoneEvent(WireObject):
    """The last event of a turn that succeeded; `message` is complete."""

    type: Literal["done"] = field(default="done", init=False, metadata=REQUIRED)
    reason: Literal["stop", "length", "toolUse"]
    message: AssistantMessage = field(metadata=REQUIRED)

    @property
    def partial(self) -> AssistantMessage:
        """The message."""
        return self.message


@define(eq=False, repr=False)
class ErrorEvent(WireObject):
    """The last event of a turn that failed; `error` is the message as far as it arrived."""

    type: Literal["error"] = field(default="error", init=False, metadata=REQUIRED)
    reason: Literal["aborted", "error"]
    error: AssistantMessage = field(metadata=REQUIRED)

    @property
    def partial(self) -> AssistantMessage:
        """The message as far as it arrived."""
        return self.error


@define(eq=False, repr=False)
class UnknownEvent(Unknown):
    """An event of a type that this version does not know; `data` is the object unchanged."""

    __match_args__ = ("data",)
    _partial: PartialSource = field(default=None, alias="partial", eq=False, repr=False)

    @property
    def type(self) -> Literal["<a type not known here>"]:
        """The type of the event.

        At run time it is any string. The annotation is a literal that equals no other one, so
        that comparing `event.type` with a known type leaves only the class of that type.
        """
        return cast('Literal["<a type not known here>"]', self.data.get("type"))

    @property
    def partial(self) -> AssistantMessage | None:
        """The message so far, if the event has one."""
        try:
            self._partial = message = _resolve(self._partial)
        except DecodeError:
            # An unknown event may use the name `partial` for something else.
            self._partial = message = None
        return message


AssistantMessageEvent: TypeAlias = (
    StartEvent
    | TextStartEvent
    | TextDeltaEvent
    | TextEndEvent
    | ThinkingStartEvent
    | ThinkingDeltaEvent
    | ThinkingEndEvent
    | ToolCallStartEvent
    | ToolCallDeltaEvent
    | ToolCallEndEvent
    | ImageEndEvent
    | DoneEvent
    | ErrorEvent
    | UnknownEvent
)


DeltaEvent: TypeAlias = TextDeltaEvent | ThinkingDeltaEvent | ToolCallDeltaEvent


def result_of(event: AssistantMessageEvent) -> AssistantMessage | None:
    """Return the message of a terminal event; None for any other event."""
    if isinstance(event, DoneEvent):
        return event.message
    if isinstance(event, ErrorEvent):
        return event.error
    return None
