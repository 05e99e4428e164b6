"""OpenAI's chat messages and tools as this protocol's objects.

Nothing is dropped: a member or a value without a counterpart is a problem, and all problems are
reported at once, each with its path. A member that is null or an empty list says nothing and is
accepted, because OpenAI's own client writes such members.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from ..errors import DecodeError
from .content import Block, ImageContent, ImageDetail, InputBlock, TextContent, ToolCall
from .messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    ToolResultMessage,
    UserMessage,
)

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,([A-Za-z0-9+/]*={0,2})")
_DETAILS = ("auto", "low", "high", "original")
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_SHOWN_PROBLEMS = 3


class OpenAIReader:
    """Reads one conversation; collects the problems on the way."""

    def __init__(self) -> None:
        self.system: list[str] = []
        self._problems: list[str] = []
        self._tool_names: dict[str, str] = {}

    def messages(self, items: Iterable[Any]) -> list[Message]:
        """Return the messages; system messages at the beginning go to `system`."""
        readers: dict[object, Callable[[dict[str, Any], str], Message]] = {
            "user": self._user,
            "system": self._developer,
            "developer": self._developer,
            "assistant": self._assistant,
            "tool": self._tool_result,
        }
        found: list[Message] = []
        for index, item in enumerate(items):
            path = f"$.messages[{index}]"
            data = self._object(item, path)
            role = data.get("role")
            read = readers.get(role) if isinstance(role, str) else None
            if role == "system" and not found:
                self._only(data, ("role", "content"), path)
                self.system.append(self._text(data.get("content"), f"{path}.content"))
            elif read is not None:
                found.append(read(data, path))
            elif data or isinstance(item, Mapping):
                self._problem(f"{path}.role", f"expected {' or '.join(map(_quoted, readers))}")
        return found

    def tools(self, items: Iterable[Any]) -> list[dict[str, Any]]:
        """Return the arguments of a `Tool` for each tool."""
        found = []
        for index, item in enumerate(items):
            path = f"$.tools[{index}]"
            data = self._object(item, path)
            self._only(data, ("type", "function"), path)
            self._expect(data.get("type") == "function", f"{path}.type", '"function"')
            path += ".function"
            function = self._object(data.get("function"), path)
            self._only(function, ("name", "description", "parameters", "strict"), path)
            found.append(
                {
                    "name": self._string(function.get("name"), f"{path}.name"),
                    "description": self._string(function.get("description") or "", path),
                    "parameters": self._object(
                        function.get("parameters") or _NO_PARAMETERS, f"{path}.parameters"
                    ),
                    "strict": function.get("strict"),
                }
            )
        return found

    def check(self) -> None:
        """Raise `DecodeError` if there were problems."""
        if self._problems:
            shown = "; ".join(self._problems[:_SHOWN_PROBLEMS])
            more = len(self._problems) - _SHOWN_PROBLEMS
            shown += f"; and {more} more" if more > 0 else ""
            raise DecodeError(f"cannot convert OpenAI messages: {shown}", problems=self._problems)

    def _user(self, data: dict[str, Any], path: str) -> Message:
        self._only(data, ("role", "content"), path)
        return UserMessage(self._content(data.get("content"), f"{path}.content"))

    def _developer(self, data: dict[str, Any], path: str) -> Message:
        self._only(data, ("role", "content"), path)
        return DeveloperMessage(self._text(data.get("content"), f"{path}.content"))

    def _assistant(self, data: dict[str, Any], path: str) -> Message:
        self._only(data, ("role", "content", "tool_calls"), path)
        blocks: list[Block] = []
        if data.get("content"):
            blocks.append(TextContent(self._text(data["content"], f"{path}.content")))
        calls = self._list(data.get("tool_calls") or [], f"{path}.tool_calls")
        for index, call in enumerate(calls):
            blocks.append(self._tool_call(call, f"{path}.tool_calls[{index}]"))
        return AssistantMessage(blocks, stop_reason="toolUse" if calls else "stop")

    def _tool_call(self, item: Any, path: str) -> ToolCall:
        data = self._object(item, path)
        self._only(data, ("id", "type", "function", "index"), path)
        self._expect(data.get("type", "function") == "function", f"{path}.type", '"function"')
        call_id = self._string(data.get("id"), f"{path}.id")
        path += ".function"
        function = self._object(data.get("function"), path)
        self._only(function, ("name", "arguments"), path)
        name = self._string(function.get("name"), f"{path}.name")
        self._tool_names[call_id] = name
        return ToolCall(call_id, name, self._arguments(function.get("arguments"), path))

    def _arguments(self, value: Any, path: str) -> dict[str, Any]:
        text = self._string(value or "{}", f"{path}.arguments")
        try:
            arguments = json.loads(text)
        except (ValueError, RecursionError):
            arguments = None
        self._expect(isinstance(arguments, dict), f"{path}.arguments", "the JSON of an object")
        return arguments if isinstance(arguments, dict) else {}

    def _tool_result(self, data: dict[str, Any], path: str) -> Message:
        self._only(data, ("role", "content", "tool_call_id"), path)
        call_id = self._string(data.get("tool_call_id"), f"{path}.tool_call_id")
        known = call_id in self._tool_names
        self._expect(known, f"{path}.tool_call_id", "the id of a tool call before it")
        content = self._content(data.get("content"), f"{path}.content")
        return ToolResultMessage(call_id, self._tool_names.get(call_id, ""), content)

    def _content(self, value: Any, path: str) -> str | list[InputBlock]:
        if isinstance(value, str):
            return value
        parts = self._list(value, path, "a string or an array")
        return [self._part(part, f"{path}[{index}]") for index, part in enumerate(parts)]

    def _part(self, item: Any, path: str) -> InputBlock:
        data = self._object(item, path)
        if data.get("type") == "image_url":
            self._only(data, ("type", "image_url"), path)
            return self._image(data.get("image_url"), f"{path}.image_url")
        self._expect(data.get("type") == "text", f"{path}.type", '"text" or "image_url"')
        self._only(data, ("type", "text"), path)
        return TextContent(self._string(data.get("text"), f"{path}.text"))

    def _image(self, value: Any, path: str) -> ImageContent:
        data = self._object(value, path)
        self._only(data, ("url", "detail"), path)
        url, detail = data.get("url"), data.get("detail")
        match = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
        self._expect(match is not None, f"{path}.url", "a data URL (data:image/...;base64,...)")
        self._expect(detail is None or detail in _DETAILS, f"{path}.detail", "a known detail")
        mime_type, base64 = match.groups() if match else ("", "")
        return ImageContent(base64, mime_type, detail=cast("ImageDetail | None", detail))

    def _text(self, value: Any, path: str) -> str:
        """Return content that can only be text."""
        if isinstance(value, str):
            return value
        texts = []
        for index, item in enumerate(self._list(value, path, "a string or an array")):
            data = self._object(item, f"{path}[{index}]")
            self._only(data, ("type", "text"), f"{path}[{index}]")
            self._expect(data.get("type") == "text", f"{path}[{index}].type", '"text"')
            texts.append(self._string(data.get("text"), f"{path}[{index}].text"))
        return "".join(texts)

    def _object(self, value: Any, path: str) -> dict[str, Any]:
        dump = getattr(value, "model_dump", None)
        if callable(dump):  # an object of OpenAI's own client
            value = dump()
        self._expect(isinstance(value, Mapping), path, "an object")
        return dict(value) if isinstance(value, Mapping) else {}

    def _list(self, value: Any, path: str, expected: str = "an array") -> list[Any]:
        self._expect(isinstance(value, (list, tuple)), path, expected)
        return list(value) if isinstance(value, (list, tuple)) else []

    def _string(self, value: Any, path: str) -> str:
        self._expect(isinstance(value, str), path, "a string")
        return value if isinstance(value, str) else ""

    def _only(self, data: Mapping[str, Any], known: Iterable[str], path: str) -> None:
        for name, value in data.items():
            if name not in known and value is not None and value != []:
                self._problem(f"{path}.{name}", "has no counterpart in this protocol")

    def _expect(self, fits: bool, path: str, expected: str) -> None:
        if not fits:
            self._problem(path, f"expected {expected}")

    def _problem(self, path: str, words: str) -> None:
        self._problems.append(f"{path}: {words}")


def _quoted(text: object) -> str:
    return f'"{text}"'
