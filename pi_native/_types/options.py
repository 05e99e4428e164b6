"""The options of a turn: those that are sent to the gateway, and those of this side.

An option that crosses the wire is None when it is absent. Newer gateways may know more options and
more values than the annotations name: `extra` takes any option under its wire name, unchecked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from attrs import define, evolve, field, fields

from .base import LOCAL, Record, WireObject, names_only, wire_fields, wire_name

if TYPE_CHECKING:
    import threading

    import requests

    from .._threads.abort import AbortSignal
    from ..errors import PiNativeError

Effort: TypeAlias = Literal["minimal", "low", "medium", "high", "xhigh", "max"]
CacheRetention: TypeAlias = Literal["none", "short", "long"]
ServiceTier: TypeAlias = Literal["auto", "default", "flex", "scale", "priority"]
ToolChoice: TypeAlias = Literal["auto", "none", "any", "required"] | dict[str, Any]
ApiFormat: TypeAlias = Literal["openai", "anthropic"]
GuardrailTrace: TypeAlias = Literal["enabled", "disabled", "enabled_full"]
OnIncomplete: TypeAlias = Literal["done", "error"]

NEVER_SENT = frozenset(
    {
        "signal",
        "apiKey",
        "fetch",
        "onPayload",
        "onResponse",
        "onSseEvent",
        "onBeforeRequest",
        "execHandlers",
        "cursorExecHandlers",
        "cursorOnToolResult",
        "providerSessionState",
    }
)
"""Wire names that the TypeScript client uses for objects that never cross the wire."""


@define(eq=False, repr=False)
class ResponseInfo(Record):
    """Status, headers and request id of the gateway's response."""

    status: int
    headers: Mapping[str, str]
    request_id: str | None = None


@define(eq=False, repr=False)
class SseEvent(Record):
    """One server-sent event as it was read, before its data is decoded."""

    event: str
    data: str
    id: str | None = None
    retry: str | int | None = None


@define(eq=False, repr=False)
class RetryInfo(Record):
    """An attempt that failed before any content arrived, and the wait before the next one.

    `attempt` counts from 1, `delay` is in seconds. `failure` is the error that the call raises if
    no attempt is left; a `ProviderError` for a turn that the provider failed.
    """

    attempt: int
    delay: float
    failure: PiNativeError


@define(eq=False, repr=False, kw_only=True)
class StreamOptions(WireObject):
    """The options of one turn. Times are in milliseconds.

    `api_key` and the fields after it stay on this side:

    * `api_key`: the gateway's bearer token.
    * `signal`: cancels the turn; a plain `threading.Event` is noticed within 50 ms.
    * `session`: a `requests.Session` to send through. It opens its own connections: a cancel before
      the headers frees the caller at once, and the worker thread after the session's own timeouts.
    * `connect_timeout_ms`: for DNS, TCP and TLS together.
    * `on_response`: called once, with the headers of a 2xx response. An exception fails the stream.
    * `on_sse_event`: called for every server-sent event. An exception is logged and ignored.
    * `on_retry`: called before each wait for another attempt. An exception is logged and ignored.
    * `on_incomplete`: the outcome of a response that ends without a terminal event: "done", an
      event without content, or "error".
    * `max_retries`: the number of attempts after the first one, while no content has arrived.
    * `total_timeout_ms`: for the whole turn, from the call to its end.
    * `max_event_bytes`: the largest server-sent event that is accepted.
    * `event_timeout_ms`: the first-event and idle timeout that applies when neither an option nor
      the environment sets one.
    * `wire_timeout_margin_ms`: added to both timeouts where they are sent to the gateway, so that
      this side's timeout comes first.

    A copy has the key, a pickle has not: set `api_key` again in the other process.

        >>> options = StreamOptions(temperature=0.2, max_tokens=500, total_timeout_ms=60_000)
        >>> to_wire(options)
        {'temperature': 0.2, 'maxTokens': 500}
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    stop_sequences: list[str] | None = None
    max_tokens: int | None = None
    cache_retention: CacheRetention | None = None
    cached_content: str | None = None
    headers: dict[str, str] | None = field(default=None, repr=names_only)
    initiator_override: Literal["user", "agent"] | None = None
    max_retry_delay_ms: float | None = None
    metadata: dict[str, Any] | None = None
    session_id: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache: dict[str, Any] | None = None
    stateful_responses: bool | None = None
    stream_first_event_timeout_ms: float | None = None
    stream_idle_timeout_ms: float | None = None
    reasoning: Effort | None = None
    disable_reasoning: bool | None = None
    hide_thinking_summary: bool | None = None
    thinking_budgets: dict[str, int] | None = None
    tool_choice: ToolChoice | None = None
    service_tier: ServiceTier | None = None
    guardrail_identifier: str | None = None
    guardrail_version: str | None = None
    guardrail_trace: GuardrailTrace | None = None
    request_metadata: dict[str, str] | None = None
    kimi_api_format: ApiFormat | None = None
    synthetic_api_format: ApiFormat | None = None
    prefer_websockets: bool | None = None
    openrouter_variant: str | None = None
    loop_guard: dict[str, Any] | None = None
    accept_empty_response: bool | None = None
    anthropic_compaction: dict[str, Any] | None = None
    force_reasoning_off: bool | None = None
    user_profile_id: str | None = None

    api_key: str | None = field(default=None, repr=False, metadata=LOCAL)
    signal: AbortSignal | threading.Event | None = field(default=None, metadata=LOCAL)
    session: requests.Session | None = field(default=None, metadata=LOCAL)
    connect_timeout_ms: float | None = field(default=10_000, metadata=LOCAL)
    on_response: Callable[[ResponseInfo], object] | None = field(default=None, metadata=LOCAL)
    on_sse_event: Callable[[SseEvent], object] | None = field(default=None, metadata=LOCAL)
    on_retry: Callable[[RetryInfo], object] | None = field(default=None, metadata=LOCAL)
    on_incomplete: OnIncomplete = field(default="done", metadata=LOCAL)
    max_retries: int = field(default=0, metadata=LOCAL)
    total_timeout_ms: float | None = field(default=None, metadata=LOCAL)
    max_event_bytes: int = field(default=64 * 1024 * 1024, metadata=LOCAL)
    event_timeout_ms: float = field(default=300_000, metadata=LOCAL)
    wire_timeout_margin_ms: float = field(default=0, metadata=LOCAL)

    def __getstate__(self) -> dict[str, Any]:
        names = [a.name for a in fields(type(self))]
        return {name: getattr(self, name) for name in names if name != "api_key"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.api_key = None
        for name, value in state.items():
            setattr(self, name, value)

    def __copy__(self) -> StreamOptions:
        return evolve(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> StreamOptions:
        twin = evolve(self)
        twin.__setstate__(deepcopy(self.__getstate__(), memo))
        twin.api_key = self.api_key
        return twin


class TurnOptions(TypedDict, total=False):
    """The keyword options of one turn of a `Client`: wire options, and times in seconds."""

    connect_timeout: float | None
    first_event_timeout: float | None
    idle_timeout: float | None
    total_timeout: float | None

    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    stop_sequences: list[str] | None
    max_tokens: int | None
    cache_retention: CacheRetention | None
    cached_content: str | None
    headers: dict[str, str] | None
    initiator_override: Literal["user", "agent"] | None
    max_retry_delay_ms: float | None
    metadata: dict[str, Any] | None
    session_id: str | None
    prompt_cache_key: str | None
    prompt_cache: dict[str, Any] | None
    stateful_responses: bool | None
    stream_first_event_timeout_ms: float | None
    stream_idle_timeout_ms: float | None
    reasoning: Effort | None
    disable_reasoning: bool | None
    hide_thinking_summary: bool | None
    thinking_budgets: dict[str, int] | None
    tool_choice: ToolChoice | None
    service_tier: ServiceTier | None
    guardrail_identifier: str | None
    guardrail_version: str | None
    guardrail_trace: GuardrailTrace | None
    request_metadata: dict[str, str] | None
    kimi_api_format: ApiFormat | None
    synthetic_api_format: ApiFormat | None
    prefer_websockets: bool | None
    openrouter_variant: str | None
    loop_guard: dict[str, Any] | None
    accept_empty_response: bool | None
    anthropic_compaction: dict[str, Any] | None
    force_reasoning_off: bool | None
    user_profile_id: str | None
    extra: dict[str, Any]

    api_key: str | None
    session: requests.Session | None
    connect_timeout_ms: float | None
    on_response: Callable[[ResponseInfo], object] | None
    on_sse_event: Callable[[SseEvent], object] | None
    on_retry: Callable[[RetryInfo], object] | None
    on_incomplete: OnIncomplete
    max_retries: int
    total_timeout_ms: float | None
    max_event_bytes: int
    event_timeout_ms: float
    wire_timeout_margin_ms: float


class ConversationOptions(TurnOptions, total=False):
    """The keyword options of a conversation's turns: those of a client's turn, and its signal."""

    signal: AbortSignal | threading.Event | None


_TIMEOUTS_SENT = ("streamFirstEventTimeoutMs", "streamIdleTimeoutMs")


def wire_options(options: StreamOptions) -> dict[str, Any]:
    """Return the `options` object of a request.

    A field that is set wins over `extra`. None in a field means absent; None in `extra` is sent as
    null. A name in `NEVER_SENT` is never sent.
    """
    fields = {wire_name(a): getattr(options, a.name) for a in wire_fields(type(options))}
    # Each list and dict is copied: changing what is sent must not change the options.
    present = {name: copy(value) for name, value in fields.items() if value is not None}
    for name in _TIMEOUTS_SENT:
        if options.wire_timeout_margin_ms and present.get(name, 0) > 0:
            present[name] += options.wire_timeout_margin_ms
    extra = {name: value for name, value in options.extra.items() if name not in NEVER_SENT}
    return extra | present
