"""The messages of a conversation, and what a turn has cost.

The annotations say what the protocol promises. A message that was read from the wire may break the
promise by leaving a member out, which is then None, `content` included.

This is the one module of plain types that looks at the clock: a message made here is stamped now.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

from attrs import define, field

from .base import LOCAL, Unknown, WireObject
from .content import Block, InputBlock, TextContent, ThinkingContent, ToolCall
from .failure import failure_of
from .stats import StreamStats

StopReason: TypeAlias = Literal["stop", "length", "toolUse", "error", "aborted"]
Attribution: TypeAlias = Literal["user", "agent"]


def now_ms() -> int:
    """The time now, as the wire counts it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@define(eq=False, repr=False, kw_only=True)
class Cost(WireObject):
    """What a turn has cost, in US dollars."""

    input: float = 0
    output: float = 0
    cache_read: float = 0
    cache_write: float = 0
    total: float = 0


@define(eq=False, repr=False, kw_only=True)
class Usage(WireObject):
    """The tokens of a turn, and their cost."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    total_tokens: int = 0
    cost: Cost = field(factory=Cost)
    context_tokens: int | None = None
    orchestration: dict[str, Any] | None = None
    premium_requests: float | None = None
    reasoning_tokens: int | None = None
    cttl: dict[str, Any] | None = None
    server: dict[str, Any] | None = None
    credits: dict[str, Any] | None = None

    def __str__(self) -> str:
        """Say it in a line: `33 tokens in, 1,024 from cache, 4 out, $0.000159`."""
        parts = [f"{self.input or 0:,} tokens in"]
        if self.cache_read:
            parts.append(f"{self.cache_read:,} from cache")
        parts.append(f"{self.output or 0:,} out")
        if self.cost is not None and self.cost.total:
            parts.append(f"${self.cost.total:,.6f}".rstrip("0").rstrip("."))
        return ", ".join(parts)


@define(eq=False, repr=False)
class UserMessage(WireObject):
    """What the user says: a text, or a list of blocks."""

    role: Literal["user"] = field(default="user", init=False, repr=False)
    content: str | list[InputBlock]
    synthetic: bool | None = field(default=None, kw_only=True)
    steering: bool | None = field(default=None, kw_only=True)
    history_rewrite_at: float | None = field(default=None, kw_only=True)
    attribution: Attribution | None = field(default=None, kw_only=True)
    provider_payload: Any = field(default=None, kw_only=True)
    timestamp: float = field(factory=now_ms, kw_only=True)


@define(eq=False, repr=False)
class DeveloperMessage(WireObject):
    """What the program in between says: a text, or a list of blocks."""

    role: Literal["developer"] = field(default="developer", init=False, repr=False)
    content: str | list[InputBlock]
    synthetic: bool | None = field(default=None, kw_only=True)
    user_initiated: bool | None = field(default=None, kw_only=True)
    attribution: Attribution | None = field(default=None, kw_only=True)
    provider_payload: Any = field(default=None, kw_only=True)
    timestamp: float = field(factory=now_ms, kw_only=True)


def _no_blocks() -> list[Block]:
    return []


@define(eq=False, repr=False)
class AssistantMessage(WireObject):
    """What the model says. Send it back as it is to go on with the conversation.

    `duration`, `ttft` and `completed_at` are the gateway's, in milliseconds. `stats` is what was
    measured on this side of the turn that the message is the result of, `request_id` the id of the
    response that carried it; neither is sent.
    """

    role: Literal["assistant"] = field(default="assistant", init=False, repr=False)
    content: list[Block] = field(factory=_no_blocks)
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
        """What was said, without thinking and tool calls: the text blocks, joined."""
        return "".join(b.text or "" for b in self._blocks() if isinstance(b, TextContent))

    @property
    def thinking(self) -> str:
        """What was thought, as far as it is shown: the thinking blocks, joined."""
        return "".join(b.thinking or "" for b in self._blocks() if isinstance(b, ThinkingContent))

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tools that the model wants called."""
        return [b for b in self._blocks() if isinstance(b, ToolCall)]

    @property
    def failed(self) -> bool:
        """Whether the turn failed: its stop reason is "error" or "aborted"."""
        return self.stop_reason in ("error", "aborted")

    def raise_for_error(self) -> AssistantMessage:
        """Return the message itself, or raise a `ProviderError` if the turn failed."""
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
        # None when whoever sent the message left it out, whatever the annotation says.
        return self.content or ()


def _as_blocks(content: str | list[InputBlock]) -> list[InputBlock]:
    if isinstance(content, str):
        return [TextContent(content)]
    if isinstance(content, (list, tuple)) or content is None:  # which whoever sent it left out
        return content
    kind = type(content).__name__
    raise TypeError(
        f"a tool's result is a text or a list of blocks, not {kind}; json.dumps makes it a text"
    )


@define(eq=False, repr=False)
class ToolResultMessage(WireObject):
    """What a tool gave back. A text given as `content` becomes a single text block.

    Raises `TypeError` for anything else that is no list: `json.dumps` makes a text of it.
    """

    role: Literal["toolResult"] = field(default="toolResult", init=False, repr=False)
    tool_call_id: str
    tool_name: str
    content: list[InputBlock] = field(converter=_as_blocks)
    is_error: bool = False
    details: Any = field(default=None, kw_only=True)
    attribution: Attribution | None = field(default=None, kw_only=True)
    pruned_at: float | None = field(default=None, kw_only=True)
    provider_metadata: Any = field(default=None, kw_only=True)
    useless: bool | None = field(default=None, kw_only=True)
    timestamp: float = field(factory=now_ms, kw_only=True)


@define(eq=False, repr=False)
class UnknownMessage(Unknown):
    """A message of a role that this version does not know, in `data` as it came."""

    @property
    def role(self) -> Literal["<a role not known here>"] | None:
        """The message's own role, if it is a string.

        At run time that is any string. The annotation is a literal that equals no other one, so
        that comparing `message.role` with a known role leaves only the class of that role.
        """
        own = self.data.get("role")
        return cast('Literal["<a role not known here>"]', own) if isinstance(own, str) else None


Message: TypeAlias = (
    UserMessage | DeveloperMessage | AssistantMessage | ToolResultMessage | UnknownMessage
)
