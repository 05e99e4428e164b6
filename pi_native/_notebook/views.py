"""HTML views of a message, an image, a conversation and a table, for notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .._types.content import (
    FallbackContent,
    ImageContent,
    RedactedThinkingContent,
    ServerToolContent,
    TextContent,
    ThinkingContent,
    ToolCall,
    UnknownContent,
)
from .._types.messages import ToolResultMessage
from .sanitize import escaped, safe_html, view

if TYPE_CHECKING:
    from .._types.messages import AssistantMessage, Message

# Raster images only: an SVG is a document with scripts.
_IMAGE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

CANCELLED = "Cancelled. This is what had arrived."

_ENDINGS = {
    "aborted": CANCELLED,
    "length": "Not complete: the model's limit of output tokens was reached.",
}


def message_html(message: AssistantMessage, *, folded: bool = False) -> str:
    """Return the view of a complete message: content, unusual end, model, tokens and cost.

    With `folded`, the arguments of tool calls are shown on a click.
    """
    return view(_content(message, folded=folded), _remark(ending_of(message)), _footer(message))


def partial_html(message: AssistantMessage | None, remark: str, *, folded: bool = False) -> str:
    """Return the view of what has arrived of a message, and a remark below it."""
    return view(_content(message, folded=folded), _remark(remark))


def result_html(name: str | None, result: ToolResultMessage) -> str:
    """Return the view of a tool's result, which is shown on a click."""
    return view(_result(name, result))


def ending_of(message: AssistantMessage) -> str:
    """Return why the message is not complete; empty for a complete one."""
    if message.stop_reason == "error":
        return f"Failed: {message.error_message or 'the provider gave no reason'}"
    return _ENDINGS.get(message.stop_reason, "")


def image_html(image: ImageContent) -> str:
    """Return the view of an image."""
    return view(_image(image))


def conversation_html(messages: Iterable[Message]) -> str:
    """Return the view of a conversation: each message under its role."""
    return view(*(_said(message) for message in messages))


def table_html(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with these column names."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return view(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def rows_html(rows: Sequence[Any]) -> str:
    """Return a table of attrs objects, without the columns in which no row has a value."""
    fields = attrs.fields(type(rows[0])) if rows else ()
    names = [
        name
        for name in (field.name for field in fields)
        if not name.startswith("_")
        and name != "extra"
        and any(getattr(row, name) is not None for row in rows)
    ]
    return table_html(names, ([getattr(row, name) for name in names] for row in rows))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    elif isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:,}"
    return f"<td>{'' if value is None else escaped(str(value))}</td>"


def _said(message: Message) -> str:
    if isinstance(message, ToolResultMessage):
        return _result(message.tool_name, message)
    return f"<p><strong>{escaped(message.role or '?')}</strong></p>\n{_content(message)}"


def _result(name: str | None, result: ToolResultMessage) -> str:
    what = "Failure" if result.is_error else "Result"
    title = f"{what} of <code>{escaped(name or '?')}</code>"
    parts = (
        f"<pre>{escaped(block.text or '')}</pre>"
        if isinstance(block, TextContent)  # as it is: it is no Markdown of a model
        else _block(block)
        for block in result.content or ()
    )
    return _folded(title, "\n".join(parts))


def _content(message: Message | None, *, folded: bool = False) -> str:
    content = getattr(message, "content", None)  # a message of an unknown role has none
    if isinstance(content, str):
        content = [TextContent(content)]
    return "\n".join(filter(None, (_block(block, folded=folded) for block in content or ())))


def _block(block: Any, *, folded: bool = False) -> str:
    """Return one block; any member may be missing, in spite of its annotation."""
    if isinstance(block, TextContent):
        return safe_html(block.text or "").strip()
    if isinstance(block, ThinkingContent):
        return _folded("Thinking", _lines(block.thinking or ""))
    if isinstance(block, RedactedThinkingContent):
        return _remark("Thinking that its provider has encrypted.")
    if isinstance(block, ImageContent):
        return _image(block)
    if isinstance(block, ToolCall):
        return _call("Tool call", block.name, block.arguments, folded=folded)
    return _other(block)


def _other(block: ServerToolContent | FallbackContent | UnknownContent) -> str:
    if isinstance(block, ServerToolContent):
        return _call("Tool of the provider", _name_in(block.block), block.block)
    if isinstance(block, FallbackContent):
        return _remark(f"Continued with {_model_in(block.to)} instead of {_model_in(block.from_)}.")
    return _call("Block of type", block.type, block.data)


def _call(what: str, name: str | None, data: Any, *, folded: bool = False) -> str:
    shown = json.dumps(data, ensure_ascii=False, indent=2)
    title = f"{what} <code>{escaped(name or '?')}</code>"
    return _folded(title, f"<pre><code>{escaped(shown)}</code></pre>", "" if folded else " open")


def _folded(title: str, content: str, state: str = "") -> str:
    return f"<details{state}><summary>{title}</summary>{content}</details>"


def _lines(text: str) -> str:
    return "<p>{}</p>".format(escaped(text).replace("\n", "<br>"))


def _image(block: ImageContent) -> str:
    data = "".join((block.data or "").split())
    if block.mime_type not in _IMAGE_TYPES or not _BASE64.fullmatch(data):
        return _remark(f"An image that cannot be shown here: {block.mime_type}.")
    return f'<img alt="image" src="data:{block.mime_type};base64,{data}">'


def _name_in(block: Any) -> str | None:
    name = block.get("name") or block.get("type") if isinstance(block, dict) else None
    return name if isinstance(name, str) else None


def _model_in(side: Any) -> str:
    name = side.get("model") if isinstance(side, dict) else None
    return str(name or "another model")


def _remark(text: str) -> str:
    return f"<p><em>{escaped(text)}</em></p>" if text else ""


def _footer(message: AssistantMessage) -> str:
    usage = message.usage
    facts = (message.model, "the gateway reported no usage" if usage is None else usage)
    return f"<p><small>{escaped(' · '.join(str(fact) for fact in facts if fact))}</small></p>"
