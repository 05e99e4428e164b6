"""Spans and metrics of turns, by OpenTelemetry's conventions for generative AI.

This is the one door to OpenTelemetry. It opens when the program itself has imported that by the
time of a call; until then a turn costs one look into a dictionary more, and nothing is imported. As
with the log, there are numbers and names in it, never what was said, and never the key.

The span begins in the caller's thread, below the span that is current there, and is current in the
worker's: callbacks, and an instrumented `requests`, find it. It covers all attempts. No header is
added to the request for it; that is for those who instrument `requests` to decide.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._threads.outcome import Outcome
from .._types.messages import AssistantMessage, Usage
from .._types.options import StreamOptions
from .._types.request import Model
from .._types.stats import StreamStats

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, MeterProvider

_log = logging.getLogger("pi_native")

# The names that the conventions have for providers which the gateway calls otherwise.
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
    """One turn, as it is told to OpenTelemetry."""

    def __init__(self, model: Model, options: StreamOptions) -> None:
        from opentelemetry import context, trace  # not for everybody

        self._began = time.time_ns()
        self._about = _about(model)
        self._span = trace.get_tracer("pi_native").start_span(
            f"chat {model.id}",
            kind=trace.SpanKind.CLIENT,
            attributes={**self._about, **_asked(options)},
            start_time=self._began,
        )
        self._context = trace.set_span_in_context(self._span, context.get_current())

    def enter(self) -> None:
        """Make it the current span of this thread, which ends with the turn."""
        from opentelemetry import context

        context.attach(self._context)

    def end(self, outcome: Outcome[Any, AssistantMessage] | None, stats: StreamStats) -> None:
        """Tell how the turn ended; without an outcome its stream was dropped."""
        from opentelemetry import trace

        message = None if outcome is None else outcome.result
        error = _error_type(outcome)
        answer = {} if message is None else _answer(message)
        self._span.set_attributes(answer)
        if stats.time_to_first_event is not None:
            name = "gen_ai.response.time_to_first_chunk"
            self._span.set_attribute(name, stats.time_to_first_event)
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(trace.StatusCode.ERROR)  # its words could quote what was said
        self._span.end(self._began + round(stats.duration * 1e9))
        self._measure(message, stats, error)

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
    """Begin the span of a turn; None when the program does not use OpenTelemetry. Never raises."""
    if "opentelemetry" not in sys.modules:
        return None
    try:
        return TurnSpan(model, options)
    except ImportError:  # a part of it that has no spans
        return None
    except Exception:  # noqa: BLE001 - whoever looks on must not disturb what is looked at
        _log.exception("no span for a turn")
        return None


def enter_span(span: TurnSpan | None) -> None:
    """Make it current in this thread. Never raises."""
    try:
        if span is not None:
            span.enter()
    except Exception:  # noqa: BLE001
        _log.exception("the span of a turn cannot be current")


def end_span(
    span: TurnSpan | None, outcome: Outcome[Any, AssistantMessage] | None, stats: StreamStats
) -> None:
    """End it. Never raises."""
    try:
        if span is not None:
            span.end(outcome, stats)
    except Exception:  # noqa: BLE001
        _log.exception("the span of a turn could not be ended")


def _about(model: Model) -> Attributes:
    """What is known of a turn before it begins, few enough values to count by."""
    about: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(model.provider, model.provider),
        "gen_ai.request.model": model.id,
    }
    try:
        url = urlsplit(model.base_url or "")
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    except ValueError:
        return about  # the turn itself will say what is wrong with it
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
    """The tokens in and out, by their type; none when none are told."""
    # The gateway may have left out any of it, whatever the annotations say.
    usage: Usage | None = None if message is None else message.usage
    if usage is None:
        return {}
    # The conventions count all that went in; the wire what was not in the cache apart.
    read = [usage.input, usage.cache_read, usage.cache_write]
    tokens = {"input": sum(filter(None, read)), "output": usage.output or 0}
    return tokens if any(tokens.values()) else {}


def _error_type(outcome: Outcome[Any, AssistantMessage] | None) -> str | None:
    """The kind of failure, of which there are few; None when there was none."""
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
    """Made once for a provider: it warns of a second one of the same name."""
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
