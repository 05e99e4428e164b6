"""LangChain's messages and tools as those of this protocol."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from pi_native import (
    AssistantMessage,
    Block,
    ConfigurationError,
    Context,
    DeveloperMessage,
    ImageContent,
    Message,
    TextContent,
    ThinkingContent,
    Tool,
    ToolCall,
    ToolResultMessage,
    UserMessage,
)

from .._history import with_results
from .._kept import NAME, restore

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)
_ROLES = {"user": HumanMessage, "assistant": AIMessage, "system": SystemMessage}


class HistoryReader:
    """Reads one conversation of LangChain."""

    def __init__(self) -> None:
        self._system: list[str] = []
        self._messages: list[Message] = []
        self._names: dict[str, str] = {}  # of tools, by the id of the call

    def context(self, messages: Iterable[BaseMessage]) -> Context:
        """Return the conversation; system messages at its beginning become the system prompt.

        Raises `ConfigurationError` for content that no model of the gateway accepts.
        """
        for message in messages:
            self._read(message)
        return Context(with_results(self._messages), system_prompt=self._system or None)

    def _read(self, message: BaseMessage) -> None:
        if isinstance(message, ChatMessage) and message.role in _ROLES:
            message = _ROLES[message.role](message.content)
        if isinstance(message, SystemMessage):
            self._read_system(text_of(message.content))
        elif isinstance(message, HumanMessage):
            self._messages.append(UserMessage(_content(message.content)))
        elif isinstance(message, AIMessage):
            self._messages += self._answer(message)
        elif isinstance(message, ToolMessage):
            self._messages.append(self._result(message))
        else:
            kind = type(message).__name__
            raise ConfigurationError(f"a {kind} of LangChain has no counterpart in this protocol")

    def _read_system(self, text: str) -> None:
        if self._messages:
            self._messages.append(DeveloperMessage(text))
        else:
            self._system.append(text)

    def _answer(self, message: AIMessage) -> list[Message]:
        calls = message.tool_calls
        self._names.update({call["id"]: call["name"] for call in calls})
        kept = message.additional_kwargs.get(NAME)
        ids = [call["id"] for call in calls]
        return restore(kept, text_of(message.content), ids) or [_foreign_answer(message)]

    def _result(self, message: ToolMessage) -> ToolResultMessage:
        return ToolResultMessage(
            message.tool_call_id,
            message.name or self._names.get(message.tool_call_id, ""),
            _content(message.content),
            message.status == "error",
        )


def _foreign_answer(message: AIMessage) -> AssistantMessage:
    """Return an answer of another model, or an edited one: signed thinking, text and calls."""
    blocks: list[Block] = [*_signed_thinking(message.content)]
    text = text_of(message.content)
    if text:
        blocks.append(TextContent(text))
    blocks += [
        ToolCall(call["id"] or f"call_{index}", call["name"], call["args"])
        for index, call in enumerate(message.tool_calls)
    ]
    return AssistantMessage(blocks, stop_reason="toolUse" if message.tool_calls else "stop")


def _signed_thinking(content: Any) -> Iterable[ThinkingContent]:
    for item in content if isinstance(content, list) else ():
        if isinstance(item, dict) and item.get("type") == "reasoning":
            signature = (item.get("extras") or {}).get("signature")
            if signature:
                yield ThinkingContent(item.get("reasoning") or "", thinking_signature=signature)


def text_of(content: Any) -> str:
    """Return the text of a message's content, without other blocks."""
    if isinstance(content, str):
        return content
    return "".join(
        item if isinstance(item, str) else item.get("text") or ""
        for item in content
        if isinstance(item, str) or item.get("type") == "text"
    )


def _content(content: Any) -> Any:
    """Return the content of a user's message or of a tool's result."""
    return content if isinstance(content, str) else [_block(item) for item in content]


def _block(item: Any) -> TextContent | ImageContent:
    if isinstance(item, str):
        return TextContent(item)
    if item.get("type") == "text":
        return TextContent(item["text"])
    image = _image(item)
    if image is None:
        raise ConfigurationError(
            f"a content block of the type {item.get('type')!r} cannot be sent (expected text, or "
            "an image as base64)"
        )
    return image


def _image(item: Mapping[str, Any]) -> ImageContent | None:
    """Return the image of a block in any of LangChain's forms, or None for another block."""
    if item.get("type") == "image_url":
        named = item["image_url"]
        return _image_at(named["url"] if isinstance(named, Mapping) else named)
    if item.get("type") != "image":
        return None
    source = item.get("source")
    if isinstance(source, Mapping):  # as Anthropic writes it
        data, mime_type = source.get("data"), source.get("media_type")
    else:
        data, mime_type = item.get("base64") or item.get("data"), item.get("mime_type")
    if not data:
        return _image_at(str(item.get("url") or (source or {}).get("url")))
    return ImageContent(data, mime_type or "image/png")


def _image_at(url: str) -> ImageContent:
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise ConfigurationError(
            f"an image is sent as base64, not by its URL: {url:.60}",
            hint="read the file, and give its base64 data and its mime_type",
        )
    return ImageContent(match[2], match[1])


def tools_of(tools: Sequence[Mapping[str, Any]] | None) -> list[Tool] | None:
    """Return tools in OpenAI's form, which `bind_tools` makes. Raises `ConfigurationError`."""
    if not tools:
        return None
    functions = [tool.get("function") for tool in tools]
    if not all(isinstance(function, Mapping) for function in functions):
        raise ConfigurationError("a tool that the provider runs cannot be bound, only functions")
    return [
        Tool(
            function["name"],
            function.get("description") or "",
            function.get("parameters") or {"type": "object", "properties": {}},
            strict=function.get("strict"),
        )
        for function in functions
        if isinstance(function, Mapping)
    ]
