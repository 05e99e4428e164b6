"""A synchronous client of the omp auth-gateway's pi-native protocol.

    from pi_native import Client

    with Client().stream("anthropic/claude-sonnet-4-5", "Hello!") as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)

`Client` is the comfortable way in, `stream_pi_native` the low-level call beneath it; both return an
`AssistantMessageEventStream`. What can go wrong is in `pi_native.errors`.
"""

import importlib as _importlib
import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ._client import Client, stream_pi_native
from ._config import Setting
from ._threads import timers as _timers  # noqa: F401 - the clock of `AbortSignal.timeout`
from ._threads.abort import AbortController, AbortSignal
from ._threads.fork import LOADING as _LOADING
from ._turn import logs as _logs
from ._types.content import (
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
from ._types.messages import (
    AssistantMessage,
    Cost,
    DeveloperMessage,
    Message,
    ToolResultMessage,
    UnknownMessage,
    Usage,
    UserMessage,
)
from ._types.options import ResponseInfo, RetryInfo, SseEvent, StreamOptions
from ._types.request import Context, Model, ModelCost, Tool
from ._types.stats import StreamStats
from .errors import (
    AbortError,
    AuthenticationError,
    AuthGatewayError,
    ConfigurationError,
    DecodeError,
    GatewayConnectionError,
    GatewayServerError,
    IncompleteStreamError,
    InvalidRequestError,
    PiNativeError,
    ProviderError,
    RateLimitError,
    StreamProtocolError,
    StreamTimeoutError,
)

if _TYPE_CHECKING:
    from ._conversation import Conversation
    from ._protocol.convert import from_wire, to_wire
    from ._turn.stream import AssistantMessageEventStream, EventStream
    from ._types.events import (
        AssistantMessageEvent,
        DoneEvent,
        ErrorEvent,
        ImageEndEvent,
        StartEvent,
        TextDeltaEvent,
        TextEndEvent,
        TextStartEvent,
        ThinkingDeltaEvent,
        ThinkingEndEvent,
        ThinkingStartEvent,
        ToolCallDeltaEvent,
        ToolCallEndEvent,
        ToolCallStartEvent,
        UnknownEvent,
    )
    from ._types.gateway import CredentialsCheck, CredentialStatus, Health, ModelInfo, UsageSnapshot

_logs.set_up(_os.environ)

__version__ = "0.1.0"

# Loaded when they are first asked for, or with the first turn. With what turns need besides, that
# would be nearly half of what importing this package costs.
_LATE = {
    "AssistantMessageEvent": "_types.events",
    "AssistantMessageEventStream": "_turn.stream",
    "Conversation": "_conversation",
    "CredentialStatus": "_types.gateway",
    "CredentialsCheck": "_types.gateway",
    "DoneEvent": "_types.events",
    "ErrorEvent": "_types.events",
    "EventStream": "_turn.stream",
    "Health": "_types.gateway",
    "ImageEndEvent": "_types.events",
    "ModelInfo": "_types.gateway",
    "StartEvent": "_types.events",
    "TextDeltaEvent": "_types.events",
    "TextEndEvent": "_types.events",
    "TextStartEvent": "_types.events",
    "ThinkingDeltaEvent": "_types.events",
    "ThinkingEndEvent": "_types.events",
    "ThinkingStartEvent": "_types.events",
    "ToolCallDeltaEvent": "_types.events",
    "ToolCallEndEvent": "_types.events",
    "ToolCallStartEvent": "_types.events",
    "UnknownEvent": "_types.events",
    "UsageSnapshot": "_types.gateway",
    "from_wire": "_protocol.convert",
    "to_wire": "_protocol.convert",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _LOADING:
        module = _importlib.import_module(f"{__name__}.{_LATE[name]}")
    return globals().setdefault(name, getattr(module, name))


def __dir__() -> list[str]:
    return [*globals().keys() | _LATE]


__all__ = [
    "AbortController",
    "AbortError",
    "AbortSignal",
    "AssistantMessage",
    "AssistantMessageEvent",
    "AssistantMessageEventStream",
    "AuthGatewayError",
    "AuthenticationError",
    "Block",
    "Client",
    "ConfigurationError",
    "Context",
    "Conversation",
    "Cost",
    "CredentialStatus",
    "CredentialsCheck",
    "DecodeError",
    "DeveloperMessage",
    "DoneEvent",
    "ErrorEvent",
    "EventStream",
    "FallbackContent",
    "GatewayConnectionError",
    "GatewayServerError",
    "Health",
    "ImageContent",
    "ImageEndEvent",
    "IncompleteStreamError",
    "InvalidRequestError",
    "Message",
    "Model",
    "ModelCost",
    "ModelInfo",
    "PiNativeError",
    "ProviderError",
    "RateLimitError",
    "RedactedThinkingContent",
    "ResponseInfo",
    "RetryInfo",
    "ServerToolContent",
    "Setting",
    "SseEvent",
    "StartEvent",
    "StreamOptions",
    "StreamProtocolError",
    "StreamStats",
    "StreamTimeoutError",
    "TextContent",
    "TextDeltaEvent",
    "TextEndEvent",
    "TextStartEvent",
    "ThinkingContent",
    "ThinkingDeltaEvent",
    "ThinkingEndEvent",
    "ThinkingStartEvent",
    "Tool",
    "ToolCall",
    "ToolCallDeltaEvent",
    "ToolCallEndEvent",
    "ToolCallStartEvent",
    "ToolResultMessage",
    "UnknownContent",
    "UnknownEvent",
    "UnknownMessage",
    "Usage",
    "UsageSnapshot",
    "UserMessage",
    "from_wire",
    "stream_pi_native",
    "to_wire",
]
