"""What a stream is made of: one class for each kind of event.

Events are made by the thousand, so they are built without checks. Each comes with a snapshot of
the whole message so far, which most readers never look at: an event may hold a function that makes
the snapshot instead, and calls it when `partial` is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from attrs import define, field

from ..errors import DecodeError
from .base import REQUIRED, Unknown, WireObject
from .content import ImageContent, ToolCall
from .messages import AssistantMessage

Snapshot: TypeAlias = AssistantMessage | Callable[[], AssistantMessage | None] | None
"""A message so far, or what makes one. To pickle an event, the function must allow it too."""


def _resolve(snapshot: Snapshot) -> AssistantMessage | None:
    return snapshot() if callable(snapshot) else snapshot


class _HasPartial:
    """Gives an event its `partial`."""

    __slots__ = ()

    _partial: Snapshot

    @property
    def partial(self) -> AssistantMessage | None:
        """The message so far, as it was when the event was sent; it may be ahead of the event.

        Raises `DecodeError`, each time, when what the gateway sent is no message.
        """
        message = _resolve(self._partial)
        self._partial = message  # type: ignore[misc]  # the slot is in the subclass
        return message

    if not TYPE_CHECKING:  # which would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            if name != "extra":
                raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
            self.extra = {}  # of an event that was made without
            return self.extra


@define(eq=False, repr=False)
class StartEvent(_HasPartial, WireObject):
    """The model has begun."""

    __match_args__ = ()
    type: Literal["start"] = field(default="start", init=False, repr=False, metadata=REQUIRED)
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class TextStartEvent(_HasPartial, WireObject):
    """A block of text begins."""

    __match_args__ = ("content_index",)
    type: Literal["text_start"] = field(
        default="text_start", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class TextDeltaEvent(_HasPartial, WireObject):
    """More text. It may end within a surrogate pair, which the next delta completes."""

    __match_args__ = ("content_index", "delta")
    type: Literal["text_delta"] = field(
        default="text_delta", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    delta: str
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class TextEndEvent(_HasPartial, WireObject):
    """A block of text is complete."""

    __match_args__ = ("content_index", "content")
    type: Literal["text_end"] = field(default="text_end", init=False, repr=False, metadata=REQUIRED)
    content_index: int
    content: str
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class ThinkingStartEvent(_HasPartial, WireObject):
    """A block of thinking begins."""

    __match_args__ = ("content_index",)
    type: Literal["thinking_start"] = field(
        default="thinking_start", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class ThinkingDeltaEvent(_HasPartial, WireObject):
    """More thinking."""

    __match_args__ = ("content_index", "delta")
    type: Literal["thinking_delta"] = field(
        default="thinking_delta", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    delta: str
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class ThinkingEndEvent(_HasPartial, WireObject):
    """A block of thinking is complete."""

    __match_args__ = ("content_index", "content")
    type: Literal["thinking_end"] = field(
        default="thinking_end", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    content: str
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class ToolCallStartEvent(_HasPartial, WireObject):
    """A tool call begins."""

    __match_args__ = ("content_index",)
    type: Literal["toolcall_start"] = field(
        default="toolcall_start", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class ToolCallDeltaEvent(_HasPartial, WireObject):
    """More of the JSON text of a tool call's arguments."""

    __match_args__ = ("content_index", "delta")
    type: Literal["toolcall_delta"] = field(
        default="toolcall_delta", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    delta: str
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class ToolCallEndEvent(_HasPartial, WireObject):
    """A tool call is complete."""

    __match_args__ = ("content_index", "tool_call")
    type: Literal["toolcall_end"] = field(
        default="toolcall_end", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    tool_call: ToolCall
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class ImageEndEvent(_HasPartial, WireObject):
    """An image is complete."""

    __match_args__ = ("content_index", "content")
    type: Literal["image_end"] = field(
        default="image_end", init=False, repr=False, metadata=REQUIRED
    )
    content_index: int
    content: ImageContent
    _partial: Snapshot = field(default=None, alias="partial", eq=_resolve, repr=False)


@define(eq=False, repr=False)
class DoneEvent(WireObject):
    """The turn is over and `message` is whole. The last event of a stream."""

    type: Literal["done"] = field(default="done", init=False, repr=False, metadata=REQUIRED)
    reason: Literal["stop", "length", "toolUse"]
    message: AssistantMessage = field(metadata=REQUIRED)

    @property
    def partial(self) -> AssistantMessage:
        """The message."""
        return self.message


@define(eq=False, repr=False)
class ErrorEvent(WireObject):
    """The turn failed; `error` is the message as far as it came. The last event of a stream."""

    type: Literal["error"] = field(default="error", init=False, repr=False, metadata=REQUIRED)
    reason: Literal["aborted", "error"]
    error: AssistantMessage = field(metadata=REQUIRED)

    @property
    def partial(self) -> AssistantMessage:
        """The message as far as it came."""
        return self.error


@define(eq=False, repr=False)
class UnknownEvent(Unknown):
    """An event of a type that this version does not know, in `data` as it came."""

    __match_args__ = ("data",)
    _partial: Snapshot = field(default=None, alias="partial", eq=False, repr=False)

    @property
    def type(self) -> Literal["<a type not known here>"]:
        """The event's own type.

        At run time that is any string. The annotation is a literal that equals no other one, so
        that comparing `event.type` with a known type leaves only the class of that type.
        """
        return cast('Literal["<a type not known here>"]', self.data.get("type"))

    @property
    def partial(self) -> AssistantMessage | None:
        """The message so far, if the event came with one."""
        try:
            self._partial = message = _resolve(self._partial)
        except DecodeError:
            # Nothing says that a `partial` means the same in an event that is not known.
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

_DELTA_TYPES: dict[type[DeltaEvent], Any] = {
    TextDeltaEvent: "text_delta",
    ThinkingDeltaEvent: "thinking_delta",
    ToolCallDeltaEvent: "toolcall_delta",
}


def bare_delta(
    cls: type[DeltaEvent], content_index: int, delta: str, partial: Snapshot
) -> DeltaEvent:
    """A delta whose `extra` is made when it is asked for.

    A turn's deltas may all wait to be read, and an empty dict is a quarter of what one weighs.
    """
    event = cls.__new__(cls)
    event.type = _DELTA_TYPES[cls]
    event.content_index = content_index
    event.delta = delta
    event._partial = partial
    return event


def result_of(event: AssistantMessageEvent) -> AssistantMessage | None:
    """The message that a terminal event settles its stream with; None for any other event."""
    if isinstance(event, DoneEvent):
        return event.message
    if isinstance(event, ErrorEvent):
        return event.error
    return None
