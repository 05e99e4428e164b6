"""llm's messages as messages of this protocol.

An answer of this plugin keeps its own wire messages in the `provider_metadata` of a part, so that
signatures survive llm's database. They are sent again unchanged, unless the parts were edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llm.parts import AttachmentPart, TextPart, ToolCallPart, ToolResultPart

from pi_native import (
    AssistantMessage,
    Context,
    DeveloperMessage,
    ImageContent,
    Message,
    TextContent,
    ToolCall,
    ToolResultMessage,
    UserMessage,
)

from .._history import with_results
from .._kept import NAME, restore


class MessageReader:
    """Reads one conversation of llm."""

    def __init__(self) -> None:
        self._system: list[str] = []
        self._messages: list[Message] = []
        self._unanswered: list[ToolCall] = []
        self._calls = 0

    def context(self, messages: Iterable[Any]) -> Context:
        """Return the conversation; system messages at its beginning become the system prompt."""
        for message in messages:
            if message.role == "system":
                self._read_system(message.parts)
            elif message.role == "assistant":
                self._read_answer(message.parts)
            elif message.role == "tool":
                self._messages += [
                    self._result(part) for part in message.parts if isinstance(part, ToolResultPart)
                ]
            else:
                self._messages.append(UserMessage(_content(message.parts)))
        return Context(with_results(self._messages), system_prompt=self._system or None)

    def _read_system(self, parts: Sequence[Any]) -> None:
        if self._messages:
            self._messages.append(DeveloperMessage(_text(parts)))
        else:
            self._system.append(_text(parts))

    def _read_answer(self, parts: Sequence[Any]) -> None:
        kept = kept_messages(parts) or [self._foreign_answer(parts)]
        answers = (message for message in reversed(kept) if isinstance(message, AssistantMessage))
        self._unanswered = next(answers).tool_calls
        self._messages += kept

    def _foreign_answer(self, parts: Sequence[Any]) -> AssistantMessage:
        """Return an answer of another plugin, or an edited one: its texts and its calls."""
        text = _text(parts)
        calls = [
            ToolCall(part.tool_call_id or self._new_id(), part.name, dict(part.arguments or {}))
            for part in parts
            if isinstance(part, ToolCallPart) and not part.server_executed
        ]
        blocks = [TextContent(text)] if text else []
        return AssistantMessage([*blocks, *calls], stop_reason="toolUse" if calls else "stop")

    def _new_id(self) -> str:
        self._calls += 1
        return f"call_{self._calls}"

    def _result(self, part: Any) -> ToolResultMessage:
        """Return a tool's result. One without an id belongs to the first open call of its name."""
        fitting = (
            call
            for call in self._unanswered
            if part.tool_call_id == call.id or (not part.tool_call_id and part.name == call.name)
        )
        call = next(fitting, None)
        if call is not None:
            self._unanswered = [other for other in self._unanswered if other is not call]
        images = [_image(attachment) for attachment in part.attachments or ()]
        return ToolResultMessage(
            part.tool_call_id or (call.id if call else self._new_id()),
            part.name,
            [TextContent(part.output), *images],
            part.exception is not None,
        )


def kept_messages(parts: Sequence[Any]) -> list[Message]:
    """Return the messages that this plugin kept; none if there are none, or the parts changed."""
    found = (part.provider_metadata or {} for part in parts)
    kept = next((data[NAME] for data in found if NAME in data), None)
    calls = [part.tool_call_id for part in parts if isinstance(part, ToolCallPart)]
    return restore(kept, _text(parts), calls)


def _content(parts: Sequence[Any]) -> Any:
    """Return the content of a user's message: a text, or blocks if there are images."""
    if not any(isinstance(part, AttachmentPart) for part in parts):
        return _text(parts)
    return [
        _image(part.attachment) if isinstance(part, AttachmentPart) else TextContent(part.text)
        for part in parts
        if isinstance(part, (AttachmentPart, TextPart))
    ]


def _text(parts: Sequence[Any]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def _image(attachment: Any) -> ImageContent:
    return ImageContent.from_bytes(attachment.content_bytes(), attachment.resolve_type())
