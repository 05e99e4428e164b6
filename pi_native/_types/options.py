"""How a turn is to be made: what the gateway is told, and what stays on this side.

Every option that crosses the wire is None when it is absent. Newer gateways may know more options
than there are fields, and more values than the annotations name: `extra` takes any option under
its wire name, and no value is checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

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
"""WireObject names that the TypeScript client uses for what must never cross the wire."""


@define(eq=False, repr=False)
class ResponseInfo(Record):
    """The head of the gateway's answer."""

    status: int
    headers: Mapping[str, str]
    request_id: str | None = None


@define(eq=False, repr=False)
class SseEvent(Record):
    """One server-sent event as it was read, before anything was made of its data."""

    event: str
    data: str
    id: str | None = None
    retry: str | int | None = None


@define(eq=False, repr=False)
class RetryInfo(Record):
    """An attempt that failed before any content came, and the wait before the next one.

    `attempt` counts from 1, `delay` is in seconds. `failure` is what the call would have raised had
    this been its last attempt; for a turn that the provider failed, a `ProviderError`.
    """

    attempt: int
    delay: float
    failure: PiNativeError


@define(eq=False, repr=False, kw_only=True)
class StreamOptions(WireObject):
    """The options of one turn. Times are in milliseconds.

    From `api_key` on they stay on this side:

    * `api_key`: the gateway's bearer token.
    * `signal`: cancels the turn; a plain `threading.Event` is noticed within 50 ms.
    * `session`: a `requests.Session` to send through. It connects by itself: a cancel before the
      headers frees the caller at once, and the worker when the session's own timeouts pass.
    * `connect_timeout_ms`: for DNS, TCP and TLS together.
    * `on_response`: called once, when the headers of a 2xx answer are in. What it raises fails the
      stream.
    * `on_sse_event`: called for every server-sent event. What it raises is logged and ignored.
    * `on_retry`: called before each wait for another attempt. What it raises is logged and ignored.
    * `on_incomplete`: what to make of an end without a terminal event, a "done" event without
      content or an "error".
    * `max_retries`: how often to try again while no content has come.
    * `total_timeout_ms`: for the whole turn, from the call to its end.
    * `max_event_bytes`: a server-sent event may be this large.

    A copy has the key, a pickle has not: set `api_key` again on the other side.

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


def wire_options(options: StreamOptions) -> dict[str, Any]:
    """The `options` object of a request.

    A field that is set wins over `extra`. None in a field means absent; None in `extra` is sent as
    null. What must never cross the wire does not, wherever it was put.
    """
    fields = {wire_name(a): getattr(options, a.name) for a in wire_fields(type(options))}
    # A copy of each list and dict: who changes what is sent does not mean to change the options.
    present = {name: copy(value) for name, value in fields.items() if value is not None}
    extra = {name: value for name, value in options.extra.items() if name not in NEVER_SENT}
    return extra | present
