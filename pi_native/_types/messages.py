"""The messages of a conversation, and the tokens and cost of a turn.

The annotations state what the protocol promises. A message that was read from the wire may lack a
member, `content` included, which is then None.

This is the one module of types that reads the clock: a new message has the time of its creation.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast, get_args

from attrs import Attribute, define, field, fields

from .base import COUNT, LOCAL, Unknown, WireObject
from .content import Block, InputBlock, TextContent, ThinkingContent, ToolCall
from .failure import failure_of
from .stats import StreamStats

StopReason: TypeAlias = Literal["stop", "length", "toolUse", "error", "aborted"]
Attribution: TypeAlias = Literal["user", "agent"]


def now_ms() -> int:
    """Return the time now, as on the wire: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@define(eq=False, repr=False, kw_only=True)
class Cost(WireObject):
    """The cost of a turn, in US dollars."""

    input: float = field(default=0, metadata=COUNT)
    output: float = field(default=0, metadata=COUNT)
    cache_read: float = field(default=0, metadata=COUNT)
    cache_write: float = field(default=0, metadata=COUNT)
    total: float = field(default=0, metadata=COUNT)


@define(eq=False, repr=False, kw_only=True)
class Usage(WireObject):
    """The tokens of a turn, and their cost."""

    input: int = field(default=0, metadata=COUNT)
    output: int = field(default=0, metadata=COUNT)
    cache_read: int = field(default=0, metadata=COUNT)
    cache_write: int = field(default=0, metadata=COUNT)
    total_tokens: int = field(default=0, metadata=COUNT)
    cost: Cost = field(factory=Cost)
    context_tokens: int | None = field(default=None, metadata=COUNT)
    orchestration: dict[str, Any] | None = None
    premium_requests: float | None = field(default=None, metadata=COUNT)
    reasoning_tokens: int | None = field(default=None, metadata=COUNT)
    cttl: dict[str, Any] | None = None
    server: dict[str, Any] | None = None
    credits: dict[str, Any] | None = None

    def __str__(self) -> str:
        """Return one line: `33 tokens in, 1,024 from cache, 4 out, $0.000159`."""
        parts = [f"{self.input or 0:,} tokens in"]
        if self.cache_read:
            parts.append(f"{self.cache_read:,} from cache")
        parts.append(f"{self.output or 0:,} out")
        if self.cost is not None and self.cost.total:
            parts.append(f"${self.cost.total:,.6f}".rstrip("0").rstrip("."))
        return ", ".join(parts)


def _check_input(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, str):
        _check_blocks(attribute.name, value, get_args(InputBlock), "a string or ")


def _check_output(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        _check_blocks(attribute.name, value, get_args(Block), "")


def _check_blocks(name: str, value: Any, kinds: tuple[type, ...], or_text: str) -> None:
    """Raise `TypeError` for content that is no list of these blocks, naming the item."""
    if not isinstance(value, (list, tuple)):
        kind = type(value).__name__
        raise TypeError(f"{name} must be {or_text}a list of content blocks, not {kind}")
    for index, item in enumerate(value):
        if not isinstance(item, kinds) and not _is_wire_block(item, kinds):
            hint = "; TextContent(text) makes a block of a string" if isinstance(item, str) else ""
            kind = type(item).__name__
            raise TypeError(f"{name}[{index}] must be a content block, not {kind}{hint}")


def _is_wire_block(item: Any, kinds: tuple[type, ...]) -> bool:
    """Return True for a dict that is one of these blocks as on the wire."""
    known = {fields(kind).type.default for kind in kinds if issubclass(kind, WireObject)}
    return isinstance(item, dict) and item.get("type") in known


def _text_of(content: Any) -> str:
    """Return the text of a message's content: the string, or its text blocks, joined."""
    if isinstance(content, str):
        return content
    return "".join(block.text or "" for block in content or () if isinstance(block, TextContent))


class _HasText:
    """Base of messages whose `str()` is their text."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the text of the message: its text blocks, joined."""
        return _text_of(self.content)  # type: ignore[attr-defined]  # in the subclasses


@define(eq=False, repr=False)
class UserMessage(_HasText, WireObject):
    """A message of the user: a text, or a list of blocks. `str()` of it is its text.

    Raises `TypeError` for other content, naming the item.
    """

    role: Literal["user"] = field(default="user", init=False, repr=False)
    content: str | list[InputBlock] = field(validator=_check_input)
    synthetic: bool | None = field(default=None, kw_only=True)
    steering: bool | None = field(default=None, kw_only=True)
    history_rewrite_at: float | None = field(default=None, kw_only=True)
    attribution: Attribution | None = field(default=None, kw_only=True)
    provider_payload: Any = field(default=None, kw_only=True)
    timestamp: float = field(factory=now_ms, kw_only=True)


@define(eq=False, repr=False)
class DeveloperMessage(_HasText, WireObject):
    """A message of the program: a text, or a list of blocks. `str()` of it is its text.

    Raises `TypeError` for other content, naming the item.
    """

    role: Literal["developer"] = field(default="developer", init=False, repr=False)
    content: str | list[InputBlock] = field(validator=_check_input)
    synthetic: bool | None = field(default=None, kw_only=True)
    user_initiated: bool | None = field(default=None, kw_only=True)
    attribution: Attribution | None = field(default=None, kw_only=True)
    provider_payload: Any = field(default=None, kw_only=True)
    timestamp: float = field(factory=now_ms, kw_only=True)


def _no_blocks() -> list[Block]:
    return []


@define(eq=False, repr=False)
class AssistantMessage(_HasText, WireObject):
    """A message of the model. To continue the conversation, send it back unchanged.

    `duration`, `ttft` and `completed_at` are the gateway's, in milliseconds. `stats` is what was
    measured on this side of the turn that the message is the result of, `request_id` the id of the
    response that carried it; neither is sent.
    """

    role: Literal["assistant"] = field(default="assistant", init=False, repr=False)
    content: list[Block] = field(factory=_no_blocks, validator=_check_output)
    api: str = field(default="", kw_only=True)
    provider: str = field(default="", kw_only=True)
    model: str = field(default="", kw_only=True)
    usage: Usage = field(factory=Usage, kw_only=True)
    stop_reason: StopReason = field(default="stop", kw_only=True)
    timestamp: float = field(factory=now_ms, kw_only=True)
    response_id: str | None = field(default=None, kw_only=True)
    upstream_provider: str | None = field(default=None, kw_only=True)
    upstream_model: str | None = field(default=None, kw_only=True)
    stop_details: Any = field(default=None, kw_only=True)
    error_message: str | None = field(default=None, kw_only=True)
    error_classification_message: str | None = field(default=None, kw_only=True)
    error_status: int | None = field(default=None, kw_only=True)
    error_id: int | None = field(default=None, kw_only=True)
    context_snapshot: Any = field(default=None, kw_only=True)
    retry_recovery: Any = field(default=None, kw_only=True)
    tool_call_abort_messages: dict[str, str] | None = field(default=None, kw_only=True)
    disabled_features: list[str] | None = field(default=None, kw_only=True)
    input_transformations: list[Any] | None = field(default=None, kw_only=True)
    provider_payload: Any = field(default=None, kw_only=True)
    duration: float | None = field(default=None, kw_only=True)
    ttft: float | None = field(default=None, kw_only=True)
    completed_at: float | None = field(default=None, kw_only=True)
    stats: StreamStats | None = field(
        default=None, kw_only=True, eq=False, repr=False, metadata=LOCAL
    )
    request_id: str | None = field(default=None, kw_only=True, eq=False, repr=False, metadata=LOCAL)

    @property
    def text(self) -> str:
        """The text blocks, joined, without thinking and tool calls."""
        return _text_of(self.content)

    @property
    def thinking(self) -> str:
        """The thinking blocks, joined."""
        return "".join(b.thinking or "" for b in self._blocks() if isinstance(b, ThinkingContent))

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls of the model, in order."""
        return [b for b in self._blocks() if isinstance(b, ToolCall)]

    @property
    def failed(self) -> bool:
        """True when the turn failed: its stop reason is "error" or "aborted"."""
        return self.stop_reason in ("error", "aborted")

    def raise_for_error(self) -> AssistantMessage:
        """Return the message itself; raise a `ProviderError` if the turn failed."""
        if self.failed:
            raise failure_of(self)
        return self

    def _repr_html_(self) -> str:
        """Return the message as notebooks show it.

        Raises `ConfigurationError` without the extra `pi-native[jupyter]`.
        """
        from .._notebook.views import message_html  # only notebooks need it

        return message_html(self)

    def _blocks(self) -> Sequence[Block]:
        # A message from the wire may lack its content.
        return self.content or ()


def _as_blocks(content: str | list[InputBlock]) -> list[InputBlock]:
    if isinstance(content, str):
        return [TextContent(content)]
    if isinstance(content, (list, tuple)):
        return content
    kind = type(content).__name__
    raise TypeError(
        f"a tool's result is a text or a list of blocks, not {kind}; json.dumps makes it a text"
    )


@define(eq=False, repr=False)
class ToolResultMessage(_HasText, WireObject):
    """The result of a tool. A text given as `content` becomes a single text block.

    Raises `TypeError` for other content, naming the item; `json.dumps` makes a text of it.
    """

    role: Literal["toolResult"] = field(default="toolResult", init=False, repr=False)
    tool_call_id: str
    tool_name: str
    content: list[InputBlock] = field(converter=_as_blocks, validator=_check_input)
    is_error: bool = False
    details: Any = field(default=None, kw_only=True)
    attribution: Attribution | None = field(default=None, kw_only=True)
    pruned_at: float | None = field(default=None, kw_only=True)
    provider_metadata: Any = field(default=None, kw_only=True)
    useless: bool | None = field(default=None, kw_only=True)
    timestamp: float = field(factory=now_ms, kw_only=True)


@define(eq=False, repr=False)
class UnknownMessage(Unknown):
    """A message of a role that this version does not know; `data` is the object unchanged."""

    @property
    def role(self) -> Literal["<a role not known here>"] | None:
        """The role of the message, or None if it is not a string.

        At run time it is any string. The annotation is a literal that equals no other one, so
        that comparing `message.role` with a known role leaves only the class of that role.
        """
        own = self.data.get("role")
        return cast('Literal["<a role not known here>"]', own) if isinstance(own, str) else None


Message: TypeAlias = (
    UserMessage | DeveloperMessage | AssistantMessage | ToolResultMessage | UnknownMessage
)
