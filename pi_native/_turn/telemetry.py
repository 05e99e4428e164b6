"""Spans and metrics of turns, by OpenTelemetry's conventions for generative AI.

This is the only module that uses OpenTelemetry, and only if the program has imported it before the
call; until then a turn costs one dictionary lookup, and nothing is imported. Like the log, it has
numbers and names, never the conversation, and never the key.

The span begins in the caller's thread, as a child of the current span there. It is current in the
worker thread, so that callbacks and an instrumented `requests` find it. It covers all attempts. No
header is added to the request for it; an instrumented `requests` does that.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._threads.outcome import Outcome
from .._types.messages import AssistantMessage, Usage
from .._types.options import StreamOptions
from .._types.request import Model
from .._types.stats import StreamStats
from .logs import callback_raised

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, MeterProvider

    from .._protocol.request import Request
    from .._types.options import ResponseInfo, RetryInfo

# Providers that the conventions name differently from the gateway.
_PROVIDERS = {
    "amazon-bedrock": "aws.bedrock",
    "azure-openai": "azure.ai.openai",
    "azure-openai-responses": "azure.ai.openai",
    "google": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
_FINISH_REASONS = {"toolUse": "tool_call"}
_OPTIONS = (
    "frequency_penalty",
    "max_tokens",
    "presence_penalty",
    "temperature",
    "top_k",
    "top_p",
)
_SECONDS = [0.01 * 2**n for n in range(14)]
_TOKENS = [4**n for n in range(14)]

Attributes = dict[str, Any]


class TurnSpan:
    """The observer that records a span and the metrics of one turn."""

    def __init__(self, model: Model, options: StreamOptions) -> None:
        from opentelemetry import context, trace  # optional

        self._began = time.time_ns()
        self._about = _about(model)
        self._span = trace.get_tracer("pi_native").start_span(
            f"chat {model.id}",
            kind=trace.SpanKind.CLIENT,
            attributes={**self._about, **_asked(options)},
            start_time=self._began,
        )
        self._context = trace.set_span_in_context(self._span, context.get_current())

    def started(self) -> None:
        """Make the span current in the worker thread, which ends with the turn."""
        from opentelemetry import context

        context.attach(self._context)

    def sending(self, request: Request, model: str, attempt: int) -> None:
        """Record nothing: the span covers all attempts."""

    def responded(self, response: ResponseInfo, stats: Callable[[], StreamStats]) -> None:
        """Record nothing."""

    def first_event(self, stats: Callable[[], StreamStats]) -> None:
        """Record nothing: the time is set when the span ends."""

    def retrying(self, retry: RetryInfo) -> None:
        """Record nothing."""

    def ended(
        self, outcome: Outcome[Any, AssistantMessage] | None, stats: Callable[[], StreamStats]
    ) -> None:
        """End the span and record the metrics; without an outcome the stream was dropped."""
        from opentelemetry import trace

        measured = stats()
        message = None if outcome is None else outcome.result
        error = _error_type(outcome)
        answer = {} if message is None else _answer(message)
        self._span.set_attributes(answer)
        if measured.time_to_first_event is not None:
            name = "gen_ai.response.time_to_first_chunk"
            self._span.set_attribute(name, measured.time_to_first_event)
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(trace.StatusCode.ERROR)  # no text: it may quote the conversation
        self._span.end(self._began + round(measured.duration * 1e9))
        self._measure(message, measured, error)

    def _measure(
        self, message: AssistantMessage | None, stats: StreamStats, error: str | None
    ) -> None:
        from opentelemetry import metrics

        duration, first_chunk, tokens = _instruments(metrics.get_meter_provider())
        about = dict(self._about)
        if message is not None:
            about["gen_ai.response.model"] = message.upstream_model or message.model
        failed = {} if error is None else {"error.type": error}
        duration.record(stats.duration, {**about, **failed}, self._context)
        if stats.time_to_first_event is not None:
            first_chunk.record(stats.time_to_first_event, about, self._context)
        for kind, count in _tokens(message).items():
            if count:
                tokens.record(count, {**about, "gen_ai.token.type": kind}, self._context)


def start_span(model: Model, options: StreamOptions) -> TurnSpan | None:
    """Begin the span of a turn; return None when the program does not use OpenTelemetry.

    Never raises.
    """
    if "opentelemetry" not in sys.modules:
        return None
    try:
        return TurnSpan(model, options)
    except ImportError:  # a package of OpenTelemetry without spans
        return None
    except Exception:  # noqa: BLE001 - an observer must not break a turn
        callback_raised("start_span")
        return None


def _about(model: Model) -> Attributes:
    """Return the attributes known before the turn begins; each has few distinct values."""
    about: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(model.provider, model.provider),
        "gen_ai.request.model": model.id,
    }
    try:
        url = urlsplit(model.base_url or "")
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    except ValueError:
        return about  # the turn itself reports what is wrong
    if url.hostname:
        about["server.address"] = url.hostname
        about["server.port"] = port or 0
    return about


def _asked(options: StreamOptions) -> Attributes:
    asked = {f"gen_ai.request.{name}": getattr(options, name) for name in _OPTIONS}
    asked["gen_ai.conversation.id"] = options.session_id
    asked["gen_ai.request.stream"] = True
    return {name: value for name, value in asked.items() if value is not None}


def _answer(message: AssistantMessage) -> Attributes:
    answer: Attributes = {
        "gen_ai.response.finish_reasons": [
            _FINISH_REASONS.get(message.stop_reason, message.stop_reason)
        ],
        "gen_ai.response.model": message.upstream_model or message.model,
        "gen_ai.response.id": message.response_id,
    }
    for kind, count in _tokens(message).items():
        answer[f"gen_ai.usage.{kind}_tokens"] = count
    if any(_tokens(message).values()):
        answer["gen_ai.usage.cache_read.input_tokens"] = message.usage.cache_read
        answer["gen_ai.usage.cache_creation.input_tokens"] = message.usage.cache_write
        answer["gen_ai.usage.reasoning.output_tokens"] = message.usage.reasoning_tokens
    return {name: value for name, value in answer.items() if value is not None}


def _tokens(message: AssistantMessage | None) -> dict[str, int]:
    """Return the input and output tokens by type; nothing when the usage has none."""
    # The gateway may leave out any part of it, despite the annotations.
    usage: Usage | None = None if message is None else message.usage
    if usage is None:
        return {}
    # The conventions count all input; the wire counts cached input separately.
    read = [usage.input, usage.cache_read, usage.cache_write]
    tokens = {"input": sum(filter(None, read)), "output": usage.output or 0}
    return tokens if any(tokens.values()) else {}


def _error_type(outcome: Outcome[Any, AssistantMessage] | None) -> str | None:
    """Return the class or status of the failure; None if there is none."""
    if outcome is None:
        return "dropped"
    if outcome.failure is not None:
        return type(outcome.failure).__qualname__
    message = outcome.result
    if message is None or not message.failed:
        return None
    if message.stop_reason == "aborted":
        return "AbortError"
    return str(message.error_status) if message.error_status else "ProviderError"


@functools.lru_cache(maxsize=1)
def _instruments(provider: MeterProvider) -> tuple[Histogram, Histogram, Histogram]:
    """Return the instruments, created once per provider: it warns about a duplicate name."""
    meter = provider.get_meter("pi_native")
    return (
        meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        ),
        meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Time to the first event of the answer.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        ),
        meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        ),
    )
