"""OpenTelemetry's SDK exports spans and metrics of turns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import context, metrics, propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as conventions
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.trace import SpanKind, StatusCode

from pi_native import (
    AssistantMessage,
    Client,
    Cost,
    DoneEvent,
    PiNativeError,
    TextContent,
    ToolCall,
    Usage,
    from_wire,
    to_wire,
)
from pi_native.testing import Events, FakeGateway, HangUp, Reply, Stall

from ...conftest import wait_until
from ...programs import run
from ..calls import KEY, cancel

pytestmark = pytest.mark.usefixtures("quick_retries")

SAID = "words-of-the-prompt"
ANSWERED = "words-of-the-answer"
USAGE = Usage(input=10, output=5, cache_read=20, cache_write=3, reasoning_tokens=2, cost=Cost())


class Telemetry:
    """The exported spans and metrics."""

    def __init__(self, exporter: InMemorySpanExporter, reader: InMemoryMetricReader) -> None:
        self._exporter = exporter
        self._reader = reader

    def spans(self) -> tuple[ReadableSpan, ...]:
        """Return the spans that have ended."""
        return self._exporter.get_finished_spans()

    def span(self) -> ReadableSpan:
        """Return the span of the only turn, after its worker thread has ended it."""
        assert wait_until(self.spans)
        [span] = self.spans()
        return span

    def points(self, name: str) -> list[Any]:
        """Return the data of a histogram, one point for each set of attributes."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def provider() -> TracerProvider:
    """Return the provider of the spans."""
    return TracerProvider(shutdown_on_exit=False)


@pytest.fixture
def telemetry(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    """Set up OpenTelemetry as a program does, for one test."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    # The global providers can be set only once per process.
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    yield Telemetry(exporter, reader)
    provider.shutdown()
    meters.shutdown()


def test_a_turn_is_a_span(gateway: FakeGateway, client: Client, telemetry: Telemetry) -> None:
    """Its name, kind and attributes follow the semantic conventions."""
    gateway.reply(ANSWERED, usage=USAGE)
    message = client.complete(
        "google/gemini/large", SAID, temperature=0.5, max_tokens=9, session_id="s-1"
    )
    span = telemetry.span()
    assert span.name == "chat gemini/large"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert message.stats is not None
    attributes = dict(span.attributes or {})
    assert attributes.pop("gen_ai.response.time_to_first_chunk") == (
        message.stats.time_to_first_event
    )
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "gemini/large",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.conversation.id": "s-1",
        "gen_ai.response.model": message.model,
        "gen_ai.response.id": message.response_id,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 33,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_creation.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": gateway.port,
    }
    known = {value for value in vars(conventions).values() if isinstance(value, str)}
    assert {name for name in attributes if name.startswith("gen_ai")} <= known
    assert span.start_time is not None
    assert span.end_time is not None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(message.stats.duration)


def test_the_response_describes_itself(
    gateway: FakeGateway, client: Client, telemetry: Telemetry
) -> None:
    """The span has the provider's model and id, and the stop reason of the conventions."""
    call = ToolCall("1", "clock", {})
    done = AssistantMessage(
        [call], model="large", upstream_model="large-0925", response_id="r1", stop_reason="toolUse"
    )
    gateway.events([DoneEvent("toolUse", done)])
    client.complete("acme/large", SAID)
    attributes = telemetry.span().attributes or {}
    assert attributes["gen_ai.response.model"] == "large-0925"
    assert attributes["gen_ai.response.id"] == "r1"
    assert attributes["gen_ai.response.finish_reasons"] == ("tool_call",)
    assert "gen_ai.usage.input_tokens" not in attributes  # no tokens were reported


def test_a_message_without_optional_values_is_no_failure(
    gateway: FakeGateway, client: Client, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """The span omits all values that the gateway does not send."""
    bare = from_wire({"role": "assistant", "content": []}, AssistantMessage)
    gateway.events([DoneEvent("stop", bare)])
    client.complete("acme/large", SAID)
    assert telemetry.span().status.status_code is StatusCode.UNSET
    assert not caplog.records


def test_it_is_below_the_callers_span(
    gateway: FakeGateway, client: Client, telemetry: Telemetry, provider: TracerProvider
) -> None:
    """A turn's span is a child of the caller's span, though a worker thread makes it."""
    gateway.reply("Hello")
    with provider.get_tracer("program").start_as_current_span("outer") as outer:
        stream = client.stream("acme/large", SAID)
        assert trace.get_current_span() is outer  # the caller's context is unchanged
    stream.result()
    assert wait_until(lambda: len(telemetry.spans()) == 2)
    turn = next(span for span in telemetry.spans() if span.name == "chat large")
    assert turn.parent == outer.get_span_context()


def test_it_is_current_in_the_worker_thread(
    gateway: FakeGateway, client: Client, telemetry: Telemetry
) -> None:
    """Callbacks and an instrumented HTTP client run within the span."""
    seen: list[Any] = []
    gateway.error(503, "busy").reply("Hello")
    client.complete(
        "acme/large",
        SAID,
        max_retries=1,
        on_retry=lambda _: seen.append(trace.get_current_span().get_span_context()),
        on_response=lambda _: seen.append(trace.get_current_span().get_span_context()),
    )
    assert seen == [telemetry.span().get_span_context()] * 2


def test_nothing_is_added_to_the_request(
    gateway: FakeGateway, client: Client, telemetry: Telemetry, provider: TracerProvider
) -> None:
    """The request has neither the caller's trace nor its baggage."""
    gateway.reply("Hello").reply("Hello")
    client.complete("acme/large", "hi")
    with provider.get_tracer("program").start_as_current_span("outer"):
        client.complete("acme/large", "hi")
    assert telemetry.spans()
    one, two = ({*request.headers} for request in gateway.requests)
    assert one == two
    assert not two & {*propagate.get_global_textmap().fields}


def test_the_attempts_of_a_turn_are_one_span(
    gateway: FakeGateway, client: Client, telemetry: Telemetry
) -> None:
    """A turn is one span, and is successful if its last attempt is."""
    gateway.add(Reply("never", fault=HangUp(after=0)), Reply("Hello"))
    client.complete("acme/large", SAID, max_retries=1)
    assert len(gateway.requests) == 2
    assert telemetry.span().status.status_code is StatusCode.UNSET


FAILED = AssistantMessage(
    [TextContent("I thi")], stop_reason="error", error_message=SAID, error_status=529, usage=USAGE
)


@pytest.mark.parametrize("way", ["refused", "cut", "failed", "not sent", "no base_url"])
def test_a_failure_is_recorded_by_its_kind(
    gateway: FakeGateway, client: Client, telemetry: Telemetry, way: str
) -> None:
    """The error status has no description, since a gateway may quote the conversation."""
    options: dict[str, Any] = {"extra": {"x": {SAID}}} if way == "not sent" else {}
    if way == "refused":
        gateway.error(429, SAID)
    elif way == "cut":
        gateway.reply(ANSWERED, fault=HangUp(after=2))
    elif way == "failed":
        gateway.events([{"type": "error", "reason": "error", "error": to_wire(FAILED)}])
    elif way == "no base_url":
        client.base_url = "http://[broken"
    with pytest.raises(PiNativeError):
        client.complete("acme/large", SAID, **options)
    span = telemetry.span()
    assert (span.attributes or {})["error.type"] == {
        "refused": "RateLimitError",
        "cut": "GatewayConnectionError",
        "failed": "529",
        "not sent": "ConfigurationError",
        "no base_url": "ConfigurationError",
    }[way]
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert not span.events


@pytest.mark.parametrize("means", ["abort", "drop"])
def test_a_cancelled_turn_ends_its_span(
    gateway: FakeGateway, client: Client, telemetry: Telemetry, means: str
) -> None:
    """The span has the kind of the cancel, and no tokens, since none were reported."""
    gateway.reply("One two three", fault=Stall(after=3))
    held = [client.stream("acme/large", SAID)]
    next(held[0].text_stream)
    cancel(held, means)
    attributes = telemetry.span().attributes or {}
    assert attributes["error.type"] == {"abort": "AbortError", "drop": "dropped"}[means]
    assert "gen_ai.usage.output_tokens" not in attributes
    assert telemetry.points("gen_ai.client.token.usage") == []


def test_neither_key_nor_conversation_is_exported(
    gateway: FakeGateway, telemetry: Telemetry
) -> None:
    """No span or metric has the key or the conversation, for any outcome."""
    url = gateway.url.replace("//", "//someone:password@")
    gateway.reply(ANSWERED, thinking=ANSWERED).error(401, SAID)
    gateway.add(Events([{"type": "error", "reason": "error", "error": to_wire(FAILED)}]))
    with Client(url, KEY, headers={"x-secret": "secret"}, max_retries=0) as client:
        options: dict[str, Any] = {"stop_sequences": [SAID], "metadata": {"of": SAID}}
        client.complete("acme/large", SAID, system=SAID, **options)
        for _ in range(2):
            with pytest.raises(PiNativeError):
                client.complete("acme/large", SAID, **options)
    assert wait_until(lambda: len(telemetry.spans()) == 3)
    names = [name for name in vars(gen_ai_metrics).values() if isinstance(name, str)]
    exported = "".join(span.to_json() for span in telemetry.spans())
    exported += "".join(str(telemetry.points(name)) for name in names)
    for secret in (KEY, SAID, ANSWERED, "I thi", "secret", "password", "someone"):
        assert secret not in exported


def test_turns_are_counted_by_model(
    gateway: FakeGateway, client: Client, telemetry: Telemetry
) -> None:
    """Durations, tokens and the time to the first event are recorded, failures apart."""
    gateway.reply("Hello", usage=USAGE).reply("Hello", usage=USAGE).error(500, "broken")
    first = client.complete("acme/large", SAID)
    client.complete("acme/large", SAID)
    with pytest.raises(PiNativeError):
        client.complete("acme/large", SAID)
    assert wait_until(lambda: len(telemetry.spans()) == 3)
    about = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "large",
        "server.address": "127.0.0.1",
        "server.port": gateway.port,
    }
    answered = {**about, "gen_ai.response.model": first.model}
    durations = telemetry.points(gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION)
    assert [(dict(point.attributes), point.count) for point in durations] == [
        (answered, 2),
        ({**about, "error.type": "GatewayServerError"}, 1),
    ]
    assert durations[0].explicit_bounds[:3] == (0.01, 0.02, 0.04)
    tokens = telemetry.points(gen_ai_metrics.GEN_AI_CLIENT_TOKEN_USAGE)
    assert [(dict(point.attributes), point.sum) for point in tokens] == [
        ({**answered, "gen_ai.token.type": "input"}, 66),
        ({**answered, "gen_ai.token.type": "output"}, 10),
    ]
    assert tokens[0].explicit_bounds[:3] == (1, 4, 16)
    chunks = telemetry.points(gen_ai_metrics.GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK)
    assert [point.count for point in chunks] == [2]


def fail(*_: object, **__: object) -> None:
    """Raise an error, as a component of a program may."""
    raise ValueError("of the program's own")


class Broken(SpanProcessor):
    """A component of a program, which fails when it receives a span."""

    on_end = staticmethod(fail)  # type: ignore[assignment]


@pytest.mark.parametrize("when", ["start", "current", "end"])
def test_a_failure_of_telemetry_is_no_failure_of_the_turn(
    gateway: FakeGateway,
    client: Client,
    telemetry: Telemetry,
    provider: TracerProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    when: str,
) -> None:
    """The failure is logged, and the turn has its message."""
    broken = {"start": (trace, "get_tracer"), "current": (context, "attach")}
    if when in broken:
        monkeypatch.setattr(*broken[when], fail)
    else:
        provider.add_span_processor(Broken())
    gateway.reply("Hello")
    assert client.complete("acme/large", SAID).text == "Hello"
    assert wait_until(lambda: "of the program's own" in caplog.text)
    del telemetry


PROGRAM = """
import sys
{before}
from pi_native import Client

client = Client(sys.argv[1], sys.argv[2])
print(client.complete("acme/large", "hi").text, "opentelemetry" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "printed"),
    [
        ("", "Hello False\n"),
        ("sys.modules['opentelemetry'] = None", "Hello True\n"),
        ("import opentelemetry.trace", "Hello True\n"),
        ("import opentelemetry.baggage; sys.modules['opentelemetry.trace'] = None", "Hello True\n"),
    ],
    ids=["not used", "not there", "used without an SDK", "a part without spans"],
)
def test_a_program_that_does_not_use_it_pays_nothing(
    gateway: FakeGateway, before: str, printed: str
) -> None:
    """OpenTelemetry is not imported, and its absence is no error."""
    gateway.reply("Hello")
    done = run(PROGRAM.format(before=before), gateway.url, KEY, flags=("-W", "error"))
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


@pytest.mark.slow
def test_a_program_that_ends_with_its_turn_has_exported_it(gateway: FakeGateway) -> None:
    """The span is exported before the result is published, so none is lost at exit."""
    gateway.reply("Hello")
    before = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr)))
trace.set_tracer_provider(provider)
"""
    program = f"""
import os, sys
{before}
from pi_native import Client
print(Client(sys.argv[1], sys.argv[2]).stream("acme/large", "hi").result().text, flush=True)
sys.stderr.flush()
os._exit(0)
"""
    done = run(program, gateway.url, KEY)
    assert (done.returncode, done.stdout) == (0, "Hello\n")
    assert '"name": "chat large"' in done.stderr
