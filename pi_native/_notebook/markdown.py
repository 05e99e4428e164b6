"""A message as Markdown, for notebooks: folded thinking, tool calls, images, tokens and cost.

Only the text blocks are Markdown to begin with, and are defused. Everything else is encoded, and
put into HTML of ours that is one line long, so that nothing in it can end what it stands in.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from .._types.content import (
    Block,
    FallbackContent,
    ImageContent,
    RedactedThinkingContent,
    ServerToolContent,
    TextContent,
    ThinkingContent,
    ToolCall,
    UnknownContent,
)
from .sanitize import defused, encoded

if TYPE_CHECKING:
    from .._types.messages import AssistantMessage

# Pictures only: an SVG is a document.
_IMAGE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

CANCELLED = "Cancelled. This is what had arrived."

_ENDINGS = {
    "aborted": CANCELLED,
    "length": "Not complete: the model's limit of output tokens was reached.",
}


def message_markdown(message: AssistantMessage) -> str:
    """A message that is complete, with what it has cost."""
    return _joined(_content(message), _remark(_ending(message)), _footer(message))


def partial_markdown(message: AssistantMessage | None, remark: str) -> str:
    """What there is of a message so far, and why it is not all of it."""
    return _joined(_content(message) if message else "", _remark(remark))


def _joined(*parts: str) -> str:
    return "\n\n".join(filter(None, parts))


def _content(message: AssistantMessage) -> str:
    return _joined(*(_block(block) for block in message.content or ()))


def _block(block: Block) -> str:
    """One block; any member may be missing, whatever its annotation says."""
    if isinstance(block, TextContent):
        return defused(block.text or "")
    if isinstance(block, ThinkingContent):
        return _folded("Thinking", _lines(block.thinking or ""))
    if isinstance(block, RedactedThinkingContent):
        return _remark("Thinking that its provider has encrypted.")
    if isinstance(block, ImageContent):
        return _image(block)
    return _other(block)


def _other(block: ToolCall | ServerToolContent | FallbackContent | UnknownContent) -> str:
    if isinstance(block, ToolCall):
        return _call("Tool call", block.name, block.arguments)
    if isinstance(block, ServerToolContent):
        return _call("Tool of the provider", _name_in(block.block), block.block)
    if isinstance(block, FallbackContent):
        return _remark(f"Went on with {_model_in(block.to)} in place of {_model_in(block.from_)}.")
    return _call("Block of type", block.type, block.data)


def _call(what: str, name: str | None, data: Any) -> str:
    shown = json.dumps(data, ensure_ascii=False, indent=2)
    title = f"{what} <code>{encoded(name or '?')}</code>"
    return _folded(title, f"<pre><code>{encoded(shown)}</code></pre>", " open")


def _folded(title: str, content: str, state: str = "") -> str:
    return f"<details{state}><summary>{title}</summary>{content}</details>"


def _lines(text: str) -> str:
    return f"<p>{encoded(text).replace('&#10;', '<br>')}</p>"


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


def _ending(message: AssistantMessage) -> str:
    if message.stop_reason == "error":
        return f"Failed: {message.error_message or 'the provider did not say why'}"
    return _ENDINGS.get(message.stop_reason, "")


def _remark(text: str) -> str:
    return f"<p><em>{encoded(text)}</em></p>" if text else ""


def _footer(message: AssistantMessage) -> str:
    facts = (message.model, "no usage was reported" if message.usage is None else message.usage)
    return f"<p><small>{encoded(' · '.join(str(fact) for fact in facts if fact))}</small></p>"
