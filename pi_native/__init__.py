"""A synchronous client of the omp auth-gateway's pi-native protocol.

    from pi_native import Client

    with Client().stream("anthropic/claude-sonnet-4-5", "Hello!") as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)

`Client` is the comfortable way in, `stream_pi_native` the low-level call beneath it; both return an
`AssistantMessageEventStream`. What can go wrong is in `pi_native.errors`.
"""

import os as _os

from ._batch.batch import Batch
from ._batch.progress import Progress
from ._batch.result import BatchResult
from ._batch.rules.budget import Budget
from ._client.client import Client
from ._client.low_level import stream_pi_native
from ._config import Setting
from ._conversation import Conversation
from ._protocol.convert import from_wire, to_wire
from ._threads import timers as _timers  # noqa: F401 - the clock of `AbortSignal.timeout`
from ._threads.abort import AbortController, AbortSignal
from ._tools.function import FunctionTool, tool
from ._tools.rounds import Rounds
from ._turn import logs as _logs
from ._turn.event_stream import EventStream
from ._turn.stream import AssistantMessageEventStream
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
    BudgetError,
    ConfigurationError,
    ConversationBusyError,
    DecodeError,
    ExtractionError,
    GatewayConnectionError,
    GatewayServerError,
    IncompleteStreamError,
    InvalidRequestError,
    PiNativeError,
    ProviderError,
    RateLimitError,
    StreamProtocolError,
    StreamTimeoutError,
    ToolError,
    ToolRoundsError,
)

_logs.set_up(_os.environ)

__version__ = "0.1.0"

__all__ = [
    "AbortController",
    "AbortError",
    "AbortSignal",
    "AssistantMessage",
    "AssistantMessageEvent",
    "AssistantMessageEventStream",
    "AuthGatewayError",
    "AuthenticationError",
    "Batch",
    "BatchResult",
    "Block",
    "Budget",
    "BudgetError",
    "Client",
    "ConfigurationError",
    "Context",
    "Conversation",
    "ConversationBusyError",
    "Cost",
    "CredentialStatus",
    "CredentialsCheck",
    "DecodeError",
    "DeveloperMessage",
    "DoneEvent",
    "ErrorEvent",
    "EventStream",
    "ExtractionError",
    "FallbackContent",
    "FunctionTool",
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
    "Progress",
    "ProviderError",
    "RateLimitError",
    "RedactedThinkingContent",
    "ResponseInfo",
    "RetryInfo",
    "Rounds",
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
    "ToolError",
    "ToolResultMessage",
    "ToolRoundsError",
    "UnknownContent",
    "UnknownEvent",
    "UnknownMessage",
    "Usage",
    "UsageSnapshot",
    "UserMessage",
    "from_wire",
    "stream_pi_native",
    "to_wire",
    "tool",
]


def load_ipython_extension(shell: object) -> None:
    """Add the cell magic `%%pi` to a shell of IPython; `%load_ext pi_native` calls this."""
    from .integrations._magic import register  # needs IPython

    register(shell)


def _publish(names: list[str]) -> None:
    """Have public classes name the public module in pickles, tracebacks and reprs.

    `typing.get_type_hints` looks for the names of an annotation in the class's module, so the
    annotations of fields are evaluated before that changes.
    """
    import inspect
    import sys
    import typing

    known = {
        **globals(),
        "threading": sys.modules["threading"],
        "requests": sys.modules["requests"],
    }
    classes = [value for name in names if isinstance(value := globals()[name], type)]
    for cls in classes:
        if hasattr(cls, "__attrs_attrs__"):
            hints = typing.get_type_hints(cls, localns=known, include_extras=True)
            cls.__annotations__ = {name: hints[name] for name in inspect.get_annotations(cls)}
    for cls in classes:
        cls.__module__ = __name__


_publish(__all__)
