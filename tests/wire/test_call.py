"""One turn through the low-level call: what it sends, what it makes of what comes back."""

from __future__ import annotations

import datetime
import email.utils
import gc
import itertools
import json
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import responses

from pi_native import (
    AbortController,
    AbortError,
    AssistantMessage,
    AssistantMessageEventStream,
    AuthenticationError,
    AuthGatewayError,
    ConfigurationError,
    Context,
    DoneEvent,
    ErrorEvent,
    GatewayConnectionError,
    GatewayServerError,
    IncompleteStreamError,
    InvalidRequestError,
    Model,
    PiNativeError,
    ProviderError,
    RateLimitError,
    ResponseInfo,
    SseEvent,
    StartEvent,
    StreamOptions,
    StreamProtocolError,
    StreamTimeoutError,
    TextContent,
    TextDeltaEvent,
    Tool,
    ToolCall,
    UnknownEvent,
    UserMessage,
    stream_pi_native,
)
from pi_native.testing import FakeGateway, Garbage, HangUp, Slow, Stall

from ..conftest import threads, wait_until
from .calls import KEY, failure, outcome, start, types, workers
from .frames import DELTA, FINISHED, HELLO, START, frame
from .peer import CHUNKED, LAST_CHUNK, OK, Connection, Peer, answers, chunk

# A busy machine may be late once; what waits for something else is late every time.
TRIES = 10


@pytest.fixture
def no_request() -> Iterator[str]:
    """The address of a gateway that must not get any request."""
    with FakeGateway(None) as gateway:
        yield gateway.url
        assert gateway.requests == []
        assert gateway.connections == 0


# The request.


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/v1/pi/stream"),
        ("/", "/v1/pi/stream"),
        ("///", "/v1/pi/stream"),
        ("/gw", "/gw/v1/pi/stream"),
        ("/gw//", "/gw/v1/pi/stream"),
    ],
)
def test_it_is_a_post_to_the_stream_path(gateway: FakeGateway, path: str, target: str) -> None:
    """Every slash at the end of the base URL is taken off before the path is put there."""
    gateway.add(gateway.default, path=target)
    outcome(start(gateway.url + path))
    (request,) = gateway.requests
    assert (request.method, request.target) == ("POST", target)


def test_the_headers_are_those_of_the_protocol(gateway: FakeGateway) -> None:
    """The four headers arrive once each with the right values, and no attribution with them."""
    outcome(start(gateway.url))
    headers = [(name.lower(), value) for name, value in gateway.requests[0].headers.items()]
    for expected in (
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("accept-encoding", "identity"),
        ("authorization", f"Bearer {KEY}"),
        ("content-length", str(len(gateway.requests[0].body))),
    ):
        assert [header for header in headers if header[0] == expected[0]] == [expected]
    assert not any(name.startswith("x-omp-") for name, _ in headers)


def test_a_models_headers_are_stronger_than_the_protocols(gateway: FakeGateway) -> None:
    """A model's header takes the place of the same one in other letters, and none is doubled."""
    own = {"ACCEPT": "text/plain", "content-type": "application/x-mine", "X-Mine": "1"}
    outcome(start(None, model=Model("y", "x", base_url=gateway.url, headers=own)))
    headers = gateway.requests[0].headers
    assert headers.get_all("accept") == ["text/plain"]
    assert headers.get_all("content-type") == ["application/x-mine"]
    assert headers.get_all("accept-encoding") == ["identity"]
    assert headers["x-mine"] == "1"
    assert own == {"ACCEPT": "text/plain", "content-type": "application/x-mine", "X-Mine": "1"}


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_models_authorization_is_stronger_than_the_key(name: str) -> None:
    """A model that brings its own Authorization, however written, has the key stay at home."""
    with FakeGateway("other") as gateway:
        model = Model("y", "x", base_url=gateway.url, headers={name: "Bearer other"})
        outcome(start(None, model=model))
        (request,) = gateway.requests
        assert request.headers.get_all("authorization") == ["Bearer other"]
        assert KEY not in str(request.headers)


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_there_is_no_authorization(key: str | None) -> None:
    """No key, or an empty one, sends no Authorization header at all."""
    with FakeGateway(None) as gateway:
        outcome(start(gateway.url, api_key=key))
        assert gateway.requests[0].headers["authorization"] is None


def test_the_body_is_the_protocols(gateway: FakeGateway) -> None:
    """The body is the model id, the context, the options and `stream`, and nothing else."""
    model = Model("models/large", "acme", base_url=gateway.url, name="Large", max_tokens=9)
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    context = Context(
        [
            UserMessage("häß\U0001f600\ud83d", timestamp=7),
            AssistantMessage([ToolCall("c1", "weather", {"city": None})], timestamp=8),
        ],
        system_prompt=["be brief", "be kind"],
        tools=[Tool("weather", "Tells it.", schema, strict=True)],
        extra={"newer": None},
    )
    outcome(start(None, model=model, context=context, temperature=0.5, extra={"newest": {"a": 1}}))
    body = json.loads(gateway.requests[0].body.decode("utf-8"))
    history = body["context"]["messages"].pop()
    assert body == {
        "modelId": "acme/models/large",
        "context": {
            "systemPrompt": ["be brief", "be kind"],
            "messages": [{"role": "user", "content": "häß\U0001f600\ud83d", "timestamp": 7}],
            "tools": [
                {
                    "name": "weather",
                    "description": "Tells it.",
                    "parameters": schema,
                    "strict": True,
                }
            ],
            "newer": None,
        },
        "options": {"temperature": 0.5, "newest": {"a": 1}},
        "stream": True,
    }
    assert history["content"] == [
        {"type": "toolCall", "id": "c1", "name": "weather", "arguments": {"city": None}}
    ]


def test_options_that_stay_on_this_side_are_not_sent(gateway: FakeGateway) -> None:
    """Setting every option of this side sends an empty `options` object."""
    with requests.Session() as session:
        outcome(
            start(
                gateway.url,
                signal=threading.Event(),
                session=session,
                connect_timeout_ms=5000,
                on_response=lambda _: None,
                on_sse_event=lambda _: None,
                on_incomplete="error",
                max_retries=1,
                total_timeout_ms=60_000,
                max_event_bytes=1_000_000,
            )
        )
    assert gateway.requests[0].options == {}


def test_what_must_never_cross_the_wire_does_not(gateway: FakeGateway) -> None:
    """The names that stay at home are dropped from `extra` too, and all others go out."""
    never = {
        "signal": 1,
        "apiKey": 1,
        "fetch": 1,
        "onPayload": 1,
        "onResponse": 1,
        "onSseEvent": 1,
        "onBeforeRequest": 1,
        "execHandlers": 1,
        "cursorExecHandlers": 1,
        "cursorOnToolResult": 1,
        "providerSessionState": 1,
    }
    kept = {"topP": 0.5, "brandNew": [1, None], "sessionId": None, "api_key": "not the wire's name"}
    outcome(start(gateway.url, extra={**never, **kept}))
    assert gateway.requests[0].options == kept


def test_the_key_is_in_the_header_alone(gateway: FakeGateway) -> None:
    """The key is nowhere in the body, the URL or any other header."""
    outcome(start(gateway.url, extra={"apiKey": KEY}))
    (request,) = gateway.requests
    assert KEY not in request.target
    assert KEY.encode() not in request.body
    assert [name for name, value in request.headers.items() if KEY in value] == ["Authorization"]


def test_the_conversation_is_sent_as_it_was_at_the_call(gateway: FakeGateway) -> None:
    """What the caller changes after the call, while the worker has not begun, changes nothing."""
    arguments: dict[str, Any] = {"city": "Ulm"}
    block = TextContent("before")
    tool = Tool("weather", "Tells it.", {"type": "object"})
    context = Context(
        [UserMessage([block], timestamp=1), AssistantMessage([ToolCall("c", "w", arguments)])],
        tools=[tool],
        system_prompt=["before"],
    )
    headers = {"x-mine": "before"}
    metadata = {"when": "before"}
    options = StreamOptions(api_key=KEY, metadata=metadata, extra={"newer": ["before"]})
    go = threading.Event()
    worker = threading.local()

    def hold(*_: object) -> None:
        if not hasattr(worker, "held") and threading.current_thread().name.startswith("pi-native"):
            worker.held = True
            go.wait(5)

    threading.setprofile(hold)  # called in a new thread before its first step
    try:
        stream = stream_pi_native(
            Model("y", "x", base_url=gateway.url, headers=headers), context, options
        )
    finally:
        threading.setprofile(None)
    block.text = arguments["city"] = tool.description = headers["x-mine"] = "after"
    metadata["when"] = options.extra["newer"][0] = "after"
    options.api_key = "after"
    context.messages.append(UserMessage("after"))
    assert context.system_prompt is not None
    context.system_prompt[0] = "after"
    assert gateway.requests == []
    go.set()
    outcome(stream)
    (request,) = gateway.requests
    assert "after" not in request.body.decode()
    assert request.body.count(b"before") == 4
    assert b"Ulm" in request.body
    assert request.headers["x-mine"] == "before"


# What is wrong with a call.


@pytest.mark.parametrize(
    "arguments",
    [
        ("x/y", Context([]), None),
        (None, Context([]), None),
        (Model("y", "x"), [UserMessage("hi")], None),
        (Model("y", "x"), "hi", None),
        (Model("y", "x"), Context([]), {"temperature": 1}),
        (Model("y", "x"), Context([]), "fast"),
    ],
    ids=["model", "no model", "context", "text", "options", "text for options"],
)
def test_a_wrong_type_is_raised_at_the_call(arguments: tuple[Any, Any, Any]) -> None:
    """A model, a context or options of another type are a TypeError, and no thread starts."""
    before = threads()
    with pytest.raises(TypeError):
        stream_pi_native(*arguments)
    assert threads() == before


@pytest.mark.parametrize("base_url", [None, ""])
def test_a_model_without_an_address_is_told_by_the_stream(base_url: str | None) -> None:
    """The error names the model, and where its address is set."""
    failed = failure(start(None, model=Model("large", "acme", base_url=base_url)))
    assert type(failed) is ConfigurationError
    assert isinstance(failed, ValueError)
    for words in ("pi-native transport", "base_url", "'large'", "models.yml"):
        assert words in str(failed)


@pytest.mark.parametrize(
    "url",
    [
        "no url",
        "/only/a/path",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://[::1",
        "http://*.example.com",
        "http://" + "a" * 70 + ".invalid",
    ],
)
def test_an_address_that_is_none_is_told_by_the_stream(url: str) -> None:
    """An address that no request can be sent to is the configuration's fault."""
    failed = failure(start(url))
    assert type(failed) is ConfigurationError, repr(failed)
    assert "\n" not in str(failed)


def _endless() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["again"] = inner
    return inner


def _nested() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(100_000):
        inner = {"in": inner}
    return inner


BAD_OPTIONS: dict[str, dict[str, Any]] = {
    "NaN": {"temperature": math.nan},
    "infinity": {"extra": {"newer": math.inf}},
    "a set": {"metadata": {"a": {1, 2}}},
    "bytes": {"extra": {"newer": b"x"}},
    "itself": {"metadata": _endless()},
    "a header's line end": {"api_key": "two\nlines"},
    "a header's euro": {"api_key": "3 €"},
    "a key of bytes": {"api_key": b"key"},
    "a NaN deadline": {"connect_timeout_ms": math.nan},
    "a deadline in words": {"stream_idle_timeout_ms": "soon"},
    "a deadline of True": {"total_timeout_ms": True},
}


@pytest.mark.parametrize("options", BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_an_option_that_cannot_be_sent_is_told_by_the_stream(
    no_request: str, options: dict[str, Any]
) -> None:
    """An option that JSON or HTTP cannot carry fails the stream, and nothing is sent."""
    assert type(failure(start(no_request, **options))) is ConfigurationError


@pytest.mark.parametrize(
    "argument", [object(), {1}, math.nan, _endless(), _nested()], ids=lambda a: type(a).__name__
)
def test_a_tool_argument_that_cannot_be_sent_is_told_by_the_stream(
    no_request: str, argument: object
) -> None:
    """A conversation that JSON cannot hold fails the stream, and nothing is sent."""
    context = Context([AssistantMessage([ToolCall("c", "tool", {"a": argument})])])
    assert type(failure(start(no_request, context=context))) is ConfigurationError


@pytest.mark.parametrize(
    "headers",
    [{"x": "two\r\nlines"}, {"x y": "1"}, {"": "1"}, {"x": 7}, {"x": "€"}, {"x": " padded"}],
    ids=repr,
)
def test_a_header_that_cannot_be_sent_is_told_by_the_stream(
    no_request: str, headers: dict[str, Any]
) -> None:
    """A model's header that HTTP cannot carry fails the stream, and nothing is sent."""
    model = Model("y", "x", base_url=no_request, headers=headers)
    assert type(failure(start(None, model=model))) is ConfigurationError


def test_a_call_that_was_cancelled_before_it_sends_nothing(no_request: str) -> None:
    """A signal that has aborted already fails the stream with its reason; nothing is sent."""
    controller = AbortController()
    controller.abort("changed my mind")
    failed = failure(start(no_request, signal=controller.signal))
    assert isinstance(failed, AbortError)
    assert (failed.reason, str(failed)) == ("changed my mind", "changed my mind")


@pytest.mark.parametrize("reason", [KeyError("mine"), None])
def test_a_reason_becomes_the_failure(no_request: str, reason: object) -> None:
    """An exception given as the reason is raised as it is; without one it says "aborted"."""
    controller = AbortController()
    controller.abort(reason)
    failed = failure(start(no_request, signal=controller.signal))
    assert failed is reason or (reason is None and str(failed) == "aborted")


# Reading it.


def test_iterating_and_then_asking_for_the_result(gateway: FakeGateway) -> None:
    """The events come in order, the last one ends it, and the result is its message."""
    gateway.reply("one two")
    stream = start(gateway.url)
    events = list(stream)
    assert types(events) == [
        "start",
        "text_start",
        "text_delta",
        "text_delta",
        "text_end",
        "done",
    ]
    assert stream.result() is events[-1].message
    assert stream.done
    assert list(stream) == []


def test_asking_for_the_result_and_then_iterating(gateway: FakeGateway) -> None:
    """`result()` takes no event away."""
    gateway.reply("one two")
    stream = start(gateway.url)
    message = stream.result()
    assert message.text == "one two"
    events = list(stream)
    assert (events[0].type, events[-1].type, len(events)) == ("start", "done", 6)
    assert stream.result() is message


def test_many_readers_share_the_events_and_the_result(gateway: FakeGateway) -> None:
    """Among threads that iterate each event comes once, and all that ask get one message."""
    words = [f"{number} " for number in range(300)]
    gateway.reply(words)
    stream = start(gateway.url)
    parts: list[list[Any]] = [[] for _ in range(4)]
    results: list[Any] = []

    def ask() -> None:
        results.append(stream.result())

    targets: list[Callable[[], object]] = [lambda part=part: part.extend(stream) for part in parts]
    readers = [threading.Thread(target=target) for target in (*targets, ask, ask, ask)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(10)
        assert not reader.is_alive()
    deltas = [e.delta for e in itertools.chain(*parts) if isinstance(e, TextDeltaEvent)]
    assert sorted(deltas) == sorted(words)
    assert sum(map(len, parts)) == len(words) + 4
    assert [id(result) for result in results] == [id(stream.result())] * 3


def test_many_readers_get_the_same_failure(gateway: FakeGateway) -> None:
    """Every thread that iterates or asks gets the failure, not only the first."""
    gateway.reply("one two", fault=HangUp(after=3))
    stream = start(gateway.url)
    failures: list[BaseException] = []

    def read(how: Callable[[AssistantMessageEventStream], object]) -> None:
        try:
            how(stream)
        except GatewayConnectionError as exc:
            failures.append(exc)

    hows = [list, list, AssistantMessageEventStream.result, AssistantMessageEventStream.result]
    readers = [threading.Thread(target=read, args=(how,)) for how in hows]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(10)
    assert len(failures) == 4
    assert len({id(exc) for exc in failures}) == 1


def test_waiting_for_the_result_may_be_given_up(gateway: FakeGateway) -> None:
    """`result(timeout)` raises TimeoutError and leaves the stream running to its end."""
    gateway.reply("one two", fault=Stall(after=2))
    stream = start(gateway.url)
    request = gateway.wait_for_request()
    with pytest.raises(TimeoutError) as caught:
        stream.result(0.02)
    assert not isinstance(caught.value, PiNativeError)
    assert not stream.done
    request.release()
    assert stream.result(5).text == "one two"


def test_one_daemon_thread_does_the_work(gateway: FakeGateway) -> None:
    """A running stream has exactly one thread of its own, a daemon named pi-native-…."""
    gateway.add(*[gateway.default] * 3)
    gateway.default = gateway.default.__class__("hold", fault=Stall())  # type: ignore[union-attr]
    before = threads()
    streams = [start(gateway.url) for _ in range(3)]
    for stream in streams:
        stream.result(5)
    assert wait_until(lambda: not workers())
    streams = [start(gateway.url) for _ in range(5)]
    for _ in range(8):
        gateway.wait_for_request()
    working = workers()
    assert len(working) == 5
    assert all(worker.daemon for worker in working)
    assert len({worker.name for worker in working}) == 5
    others = [t for t in threads() - before - set(working) if "gateway" not in t.name]
    assert others == []
    for stream in streams:
        stream.close()
    assert wait_until(lambda: not workers())


def test_a_stream_without_a_reader_runs_to_its_end(gateway: FakeGateway) -> None:
    """A long turn ends although nobody reads, its worker goes, and all events are still there."""
    words = ["word "] * 1000
    gateway.reply(words)
    stream = start(gateway.url)
    assert gateway.wait_for_request().answered.wait(10)
    assert wait_until(lambda: stream.done)
    assert wait_until(lambda: not workers())
    assert [e.delta for e in stream if isinstance(e, TextDeltaEvent)] == words


def test_a_stream_dropped_unread_stops(gateway: FakeGateway) -> None:
    """A stream that nobody holds closes its connection, sends its worker home, and warns."""
    gateway.reply("one two three", fault=Stall(after=3))
    held = [start(gateway.url)]
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    with pytest.warns(ResourceWarning, match="dropped"):
        held.clear()
    assert request.client_gone.wait(2)
    assert wait_until(lambda: not workers())


def test_a_stream_dropped_after_its_end_is_quiet(gateway: FakeGateway) -> None:
    """Dropping a stream that has ended, read or not, warns of nothing."""
    held = [start(gateway.url)]
    assert wait_until(lambda: held[0].done)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held.clear()
        gc.collect()


def test_reading_the_text_keeps_the_stream_alive(gateway: FakeGateway) -> None:
    """A loop over `text_stream` is enough to hold on to a stream."""
    gateway.reply(["a", "b", "c"])
    pieces = []
    for piece in start(gateway.url).text_stream:
        gc.collect()
        pieces.append(piece)
    assert pieces == ["a", "b", "c"]


def test_text_stream_is_the_text_alone(gateway: FakeGateway) -> None:
    """Thinking, tool calls and markers are left out, and text comes in the pieces that came."""
    gateway.reply(
        ["Hel", "lo ", ""], thinking="hmm", tool_calls=[ToolCall("c", "tool", {"text": "no"})]
    )
    stream = start(gateway.url)
    assert list(stream.text_stream) == ["Hel", "lo "]
    assert stream.result().stop_reason == "toolUse"


def test_text_stream_comes_while_the_answer_runs(gateway: FakeGateway) -> None:
    """A piece is there before the next one was sent."""
    gateway.reply(["a", "b"], fault=Stall(after=3))
    stream = start(gateway.url)
    text = stream.text_stream
    assert next(text) == "a"
    gateway.release()
    assert next(text) == "b"
    assert next(text, None) is None


def test_text_stream_raises_the_failure_after_the_text(gateway: FakeGateway) -> None:
    """The text that had come is yielded first, then the failure is raised."""
    gateway.reply(["a", "b"], fault=HangUp(after=3))
    text = start(gateway.url).text_stream
    assert next(text) == "a"
    with pytest.raises(GatewayConnectionError):
        next(text)


def test_text_stream_puts_half_characters_together(gateway: FakeGateway) -> None:
    """A pair cut in two comes out as one character; the events still hold the halves."""
    gateway.reply(["a\ud83d", "\ude00b", "\ud83d"]).reply(["a\ud83d", "\ude00b", "\ud83d"])
    assert list(start(gateway.url).text_stream) == ["a", "\U0001f600b", "\ud83d"]
    deltas = [e.delta for e in start(gateway.url) if isinstance(e, TextDeltaEvent)]
    assert deltas == ["a\ud83d", "\ude00b", "\ud83d"]


# While it streams, and after.


def test_partial_follows_the_stream(gateway: FakeGateway) -> None:
    """`partial` is None at first, the newest snapshot while it streams, the message at the end."""
    gateway.reply(["one ", "two"], fault=[Stall(after=0), Stall(after=3)])
    stream = start(gateway.url)
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    assert stream.partial is None
    request.stalled.clear()
    request.released.set()
    assert wait_until(lambda: stream.partial is not None and stream.partial.text)
    message = stream.result(5)
    assert stream.partial == message
    assert message.text == "one two"


def test_partial_is_read_without_iterating(gateway: FakeGateway) -> None:
    """`partial` needs no reader: it is there while the gateway stalls and nobody iterates."""
    gateway.reply(["one ", "two"], fault=Stall(after=3))
    with start(gateway.url) as stream:
        assert wait_until(lambda: stream.partial is not None and stream.partial.text == "one ")
        assert not stream.truncated


@pytest.mark.parametrize("fault", [HangUp(after=3), HangUp(after=3, reset=True), Garbage(after=3)])
def test_partial_stays_after_a_failure(gateway: FakeGateway, fault: Any) -> None:
    """What had arrived is on the stream and on the failure."""
    gateway.reply(["one ", "two"], fault=fault)
    stream = start(gateway.url)
    events, failed = outcome(stream)
    assert isinstance(failed, PiNativeError)
    assert stream.partial is not None
    assert stream.partial == failed.partial
    if not getattr(fault, "reset", False):  # a reset may overtake what was sent before it
        assert stream.partial.text == "one "
        assert types(events) == ["start", "text_start", "text_delta"]


def test_partial_stays_after_an_abort(gateway: FakeGateway) -> None:
    """An aborted turn's message is empty, but what had arrived is on the stream."""
    gateway.reply(["one ", "two"], fault=Stall(after=3))
    stream = start(gateway.url)
    assert wait_until(lambda: stream.partial is not None and stream.partial.text == "one ")
    stream.abort()
    events, message = outcome(stream)
    assert isinstance(events[-1], ErrorEvent)
    assert events[-1].reason == "aborted"
    assert events[-1].error is message
    assert (message.stop_reason, message.content) == ("aborted", [])
    assert message.error_message == "stream closed without terminal event"
    assert stream.partial is not None
    assert stream.partial.text == "one "


def test_truncated_tells_an_end_without_a_terminal_event(gateway: FakeGateway) -> None:
    """It is true for a stream that just ended or was cut, and false for one that was finished."""
    gateway.reply("whole").events([DELTA]).events([DELTA]).reply("cut", fault=HangUp(after=2))
    gateway.error(500)
    assert [
        (start_and_end(gateway, on_incomplete=kind))
        for kind in ("done", "done", "error", "done", "done")
    ] == [
        (AssistantMessage, False),
        (AssistantMessage, True),
        (IncompleteStreamError, True),
        (GatewayConnectionError, True),
        (GatewayServerError, False),
    ]


def start_and_end(gateway: FakeGateway, **options: Any) -> tuple[type, bool]:
    """Make a turn; returns what its end was, and whether it was truncated."""
    stream = start(gateway.url, **options)
    return type(outcome(stream)[1]), stream.truncated


def test_an_end_without_a_terminal_event_is_a_synthetic_done(gateway: FakeGateway) -> None:
    """By default it is a "done" event with an empty message that names the model."""
    gateway.events([DELTA], done=False)
    model = Model("y", "x", "some-api", gateway.url)
    before = time.time() * 1000
    events, message = outcome(start(None, model=model))
    assert types(events) == ["text_delta", "done"]
    assert events[-1].message is message
    assert (message.api, message.provider, message.model) == ("some-api", "x", "y")
    assert (message.stop_reason, message.content, message.error_message) == ("stop", [], None)
    assert message.usage.total_tokens == message.usage.cost.total == 0
    assert before - 1 <= message.timestamp <= time.time() * 1000


# The end.


@pytest.mark.parametrize("reason", ["stop", "length", "toolUse"])
def test_done_ends_the_turn(gateway: FakeGateway, reason: str) -> None:
    """A "done" is the last event, and its message the result, with its stop reason."""
    message = {**HELLO, "stopReason": reason, "usage": {"input": 3, "output": 4}}
    gateway.events([DELTA, {"type": "done", "reason": reason, "message": message}, DELTA])
    events, result = outcome(start(gateway.url))
    assert types(events) == ["text_delta", "done"]
    assert events[-1].reason == result.stop_reason == reason
    assert (result.text, result.usage.input, result.usage.output) == ("Hello", 3, 4)
    assert result.raise_for_error() is result


@pytest.mark.parametrize("reason", ["error", "aborted"])
def test_error_is_a_message_and_not_an_exception(gateway: FakeGateway, reason: str) -> None:
    """A provider's failure is the result; `raise_for_error` makes it an exception."""
    failed = {**HELLO, "stopReason": reason, "errorMessage": "overloaded", "errorStatus": 529}
    gateway.events([DELTA, {"type": "error", "reason": reason, "error": failed}])
    stream = start(gateway.url)
    events, message = outcome(stream)
    assert isinstance(events[-1], ErrorEvent)
    assert (events[-1].reason, events[-1].error) == (reason, message)
    assert (message.stop_reason, message.error_message) == (reason, "overloaded")
    assert (message.error_status, message.text) == (529, "Hello")
    assert stream.partial == message
    with pytest.raises(ProviderError, match="overloaded") as caught:
        message.raise_for_error()
    assert caught.value.message is message
    assert caught.value.partial is message


def test_the_gateways_own_failure_is_an_error_event(gateway: FakeGateway) -> None:
    """An error without a message gets one, with stop reason "error" and what was said."""
    gateway.events([DELTA, {"type": "error", "reason": "error", "errorMessage": "broke"}])
    events, message = outcome(start(gateway.url))
    assert isinstance(events[-1], ErrorEvent)
    assert events[-1].error is message
    assert (message.stop_reason, message.error_message) == ("error", "broke")
    assert (message.provider, message.model, message.content) == ("x", "y", [])


def test_an_event_of_an_unknown_type_is_handed_on(gateway: FakeGateway) -> None:
    """What a newer gateway sends arrives in its place, with its data as it came."""
    newer = [
        {"type": "inference_admission", "position": 3},
        {"type": "", "a": None},
        {"type": "text_shimmer", "contentIndex": 0, "partial": HELLO},
    ]
    gateway.events([newer[0], START, newer[1], DELTA, newer[2], FINISHED])
    events, message = outcome(start(gateway.url))
    assert [e.data for e in events if isinstance(e, UnknownEvent)] == newer
    assert types(events) == [
        "inference_admission",
        "start",
        "",
        "text_delta",
        "text_shimmer",
        "done",
    ]
    assert message.text == "Hello"


def after_the_end(then: str, sent_at: list[float]) -> Callable[[Connection], None]:
    """A script: finish the turn but not the answer, then keep silent, drip junk, or pour it."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(CHUNKED, chunk(frame(DELTA)))
        sent_at.append(time.monotonic())
        connection.send(chunk(frame(FINISHED)))
        while then != "silence":
            connection.send(chunk(b": junk" * (1 if then == "drip" else 5000) + b"\n\n"))
            if then == "drip":
                _never.wait(0.005)

    return script


_never = threading.Event()


@pytest.mark.parametrize("then", ["silence", "drip", "pour"])
@pytest.mark.parametrize("how", ["iterating", "result"])
def test_the_end_is_told_within_50_ms(how: str, then: str) -> None:
    """A terminal event frees its reader at once, whatever the peer does behind it."""
    sent_at: list[float] = []
    best = math.inf
    with Peer(after_the_end(then, sent_at)) as peer:
        for _ in range(TRIES):
            stream = start(peer.url)
            if how == "iterating":
                assert types(list(stream)) == ["text_delta", "done"]
            else:
                assert stream.result().text == "Hello"
            best = min(best, time.monotonic() - sent_at[-1])
            if best < 0.05:
                return
    pytest.fail(f"the end was told after {best * 1000:.0f} ms at best")


@pytest.mark.parametrize("then", ["silence", "drip"])
def test_what_follows_the_end_is_read_for_a_second(then: str) -> None:
    """A peer that does not end its answer sees the connection closed after about a second."""
    sent_at: list[float] = []
    with Peer(after_the_end(then, sent_at)) as peer:
        assert start(peer.url).result().text == "Hello"
        assert peer.closed.wait(5)
        assert 0.8 < time.monotonic() - sent_at[0] < 3
        assert wait_until(lambda: not workers())


def test_more_than_a_mebibyte_behind_the_end_is_not_read() -> None:
    """A peer that pours junk behind the end is cut off long before the second is over."""
    sent_at: list[float] = []
    best = math.inf
    for _ in range(TRIES):
        with Peer(after_the_end("pour", sent_at)) as peer:
            assert start(peer.url).result().text == "Hello"
            assert peer.closed.wait(5)
            best = min(best, time.monotonic() - sent_at[-1])
        if best < 0.5:
            return
    pytest.fail(f"the connection was closed after {best:.2f} s at best")


def test_less_than_a_mebibyte_behind_the_end_is_read() -> None:
    """A long tail is read to its end, so that its connection serves the next turn."""
    tail = [b": " + b"x" * 65_000 + b"\n\n"] * 12
    with FakeGateway(KEY) as gateway:
        for _ in range(2):
            gateway.raw([frame(FINISHED), *tail])
            assert start(gateway.url).result().text == "Hello"
            assert wait_until(lambda: not workers())
        assert gateway.connections == 1


def test_what_follows_done_is_no_event(gateway: FakeGateway) -> None:
    """`[DONE]` ends the events: a terminal event behind it does not count."""
    gateway.raw([frame(DELTA), frame("[DONE]"), frame(FINISHED), frame("{nonsense")])
    events, message = outcome(start(gateway.url))
    assert types(events) == ["text_delta", "done"]
    assert message.text == ""


# The answer's head, and what observes the answer.


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({"x-request-id": "r-1"}, "r-1"),
        ({"Request-Id": "r-2"}, "r-2"),
        ({"X-REQUEST-ID": "r-1", "request-id": "r-2"}, "r-1"),
        ({}, None),
    ],
)
def test_the_response_is_told(headers: dict[str, str], request_id: str | None) -> None:
    """`response` has the status, the headers by any case, and the request id of either name."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    head = (OK, lines, b"X-Mine: yes\r\nTransfer-Encoding: chunked\r\n\r\n")
    with Peer(answers(*head, chunk(frame(FINISHED)), LAST_CHUNK)) as peer:
        stream = start(peer.url)
        stream.result()
    assert stream.response is not None
    assert stream.response.status == 200
    assert stream.response.request_id == request_id
    assert [stream.response.headers[n] for n in ("x-mine", "X-Mine", "X-MINE")] == ["yes"] * 3
    assert "x-other" not in stream.response.headers


def test_the_response_is_there_before_the_first_event(gateway: FakeGateway) -> None:
    """`response` is None until the headers are in, and set from then on."""
    gateway.reply("one", fault=[Stall(after=None), Stall(after=0)])
    stream = start(gateway.url)
    request = gateway.wait_for_request()
    assert request.stalled.wait(5)
    assert stream.response is None
    request.release()
    assert wait_until(lambda: stream.response is not None)
    assert stream.response is not None
    assert stream.response.request_id == request.request_id
    stream.close()


def test_the_response_of_a_refusal_is_told(gateway: FakeGateway) -> None:
    """`response` is there for an error too."""
    gateway.error(429, headers={"x-request-id": "r-1"})
    stream = start(gateway.url)
    assert isinstance(failure(stream), RateLimitError)
    assert stream.response is not None
    assert (stream.response.status, stream.response.request_id) == (429, "r-1")


def test_on_response_is_called_once_with_the_response(gateway: FakeGateway) -> None:
    """It gets what `response` is, before any event was handed over."""
    gateway.reply("one two", fault=Stall(after=0))
    seen: list[ResponseInfo] = []
    told = threading.Event()

    def on_response(info: ResponseInfo) -> None:
        seen.append(info)
        told.set()

    stream = start(gateway.url, on_response=on_response)
    assert told.wait(5)
    assert stream.partial is None
    gateway.release()
    outcome(stream)
    assert [info is stream.response for info in seen] == [True]
    assert isinstance(seen[0], ResponseInfo)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
def test_on_response_is_not_called_for_a_refusal(gateway: FakeGateway, status: int) -> None:
    """An answer outside of 2xx is told by its error alone."""
    gateway.error(status)
    seen: list[object] = []
    assert isinstance(failure(start(gateway.url, on_response=seen.append)), AuthGatewayError)
    assert seen == []


def test_on_sse_event_gets_every_event(gateway: FakeGateway) -> None:
    """It gets events as they were read, also unknown ones, the terminal one and `[DONE]`."""
    gateway.raw(
        [
            frame(START),
            b": a comment\n\n",
            b"event: news\nid: 7\nretry: 100\ndata: " + json.dumps(DELTA).encode() + b"\n\n",
            frame({"type": "newer"}),
            frame(FINISHED),
            frame("[DONE]"),
            frame("behind the end"),
        ]
    )
    seen: list[SseEvent] = []
    stream = start(gateway.url, on_sse_event=seen.append)
    stream.result()
    assert wait_until(lambda: not workers())
    assert [event.data for event in seen] == [
        json.dumps(START),
        json.dumps(DELTA),
        json.dumps({"type": "newer"}),
        json.dumps(FINISHED),
        "[DONE]",
        "behind the end",
    ]
    assert [event.event for event in seen] == ["message", "news", *["message"] * 4]
    assert (seen[1].id, str(seen[1].retry)) == ("7", "100")


def test_on_sse_event_comes_before_the_event_it_is_about(gateway: FakeGateway) -> None:
    """It sees an event that the stream then fails over."""
    gateway.raw([frame(DELTA), frame("{nonsense")])
    seen: list[SseEvent] = []
    events, failed = outcome(start(gateway.url, on_sse_event=seen.append))
    assert isinstance(failed, StreamProtocolError)
    assert types(events) == ["text_delta"]
    assert [event.data for event in seen] == [json.dumps(DELTA), "{nonsense"]


# What the gateway refuses.

GATEWAY_SAYS = {"error": {"type": "some_error", "message": "because"}}
REFUSALS: list[tuple[int, type[AuthGatewayError], bool]] = [
    (301, AuthGatewayError, False),
    (304, AuthGatewayError, False),
    (400, InvalidRequestError, False),
    (401, AuthenticationError, False),
    (403, AuthenticationError, False),
    (404, InvalidRequestError, False),
    (408, InvalidRequestError, True),
    (413, InvalidRequestError, False),
    (422, InvalidRequestError, False),
    (429, RateLimitError, True),
    (499, InvalidRequestError, False),
    (500, GatewayServerError, True),
    (502, GatewayServerError, True),
    (503, GatewayServerError, True),
    (529, GatewayServerError, True),
    (599, GatewayServerError, True),
    (600, AuthGatewayError, False),
]


@pytest.mark.parametrize(("status", "kind", "retryable"), REFUSALS)
def test_a_status_decides_the_error(
    gateway: FakeGateway, status: int, kind: type[AuthGatewayError], retryable: bool
) -> None:
    """Each status becomes its class, and says whether trying again may help."""
    body = None if status == 304 else GATEWAY_SAYS
    gateway.error(status, body=b"" if body is None else body, headers={"x-request-id": "r-1"})
    failed = failure(start(gateway.url))
    assert type(failed) is kind
    assert isinstance(failed, AuthGatewayError)
    assert (failed.status, failed.retryable) == (status, retryable)
    assert (failed.request_id, failed.partial) == ("r-1", None)
    assert failed.headers["X-Request-ID"] == "r-1"
    if body is not None:
        assert (str(failed), failed.code, failed.body) == ("because", "some_error", body)


BODIES: dict[str, tuple[object, str, str | None]] = {
    "the protocol's": (GATEWAY_SAYS, "because", "some_error"),
    "without a type": ({"error": {"message": "because"}}, "because", None),
    "with a type of 7": ({"error": {"type": 7, "message": "because"}}, "because", None),
    "without a message": ({"error": {"type": "t"}}, "auth-gateway 503", "t"),
    "with a message of 7": ({"error": {"type": "t", "message": 7}}, "auth-gateway 503", "t"),
    "with an empty message": ({"error": {"type": "t", "message": ""}}, "", "t"),
    "the server's": (
        {"error": "internal error"},
        'auth-gateway 503: {"error":"internal error"}',
        None,
    ),
    "another object": ({"a": [1, "ü"]}, 'auth-gateway 503: {"a":[1,"ü"]}', None),
    "a list": ([1, {"a": 2}], 'auth-gateway 503: [1,{"a":2}]', None),
    "a JSON string": (b'"so \\"sorry\\""', 'auth-gateway 503: so "sorry"', None),
    "a number": (b"42", "auth-gateway 503: 42", None),
    "text": ("upstream is gone", "auth-gateway 503: upstream is gone", None),
    "HTML": ("<html>\n</html>", "auth-gateway 503: <html>\n</html>", None),
    "nothing": (b"", "auth-gateway 503: Service Unavailable", None),
    "no UTF-8": (b"caf\xe9", "auth-gateway 503: caf\ufffd", None),
}


@pytest.mark.parametrize(("body", "message", "code"), BODIES.values(), ids=BODIES.keys())
def test_a_refusals_body_is_told(
    gateway: FakeGateway, body: object, message: str, code: str | None
) -> None:
    """The message is what the body says, in whatever form, and the body itself is there too."""
    gateway.error(503, body=body)
    failed = failure(start(gateway.url))
    assert isinstance(failed, GatewayServerError)
    assert (str(failed), failed.code) == (message, code)
    if not isinstance(body, bytes):
        assert failed.body == body


def test_the_gateways_own_refusals_are_told() -> None:
    """A wrong key, an unknown path and an unknown model say so in the gateway's words."""
    with FakeGateway("other", models=["x/z"]) as gateway:
        wrong_key = failure(start(gateway.url))
        wrong_path = failure(start(gateway.url + "/nowhere", api_key="other"))
        wrong_model = failure(start(gateway.url, api_key="other"))
    assert isinstance(wrong_key, AuthenticationError)
    assert str(wrong_key) == 'auth-gateway 401: {"error":"unauthorized"}'
    assert isinstance(wrong_path, InvalidRequestError)
    assert wrong_path.status == 404
    assert "No route" in str(wrong_path)
    assert isinstance(wrong_model, InvalidRequestError)
    assert (wrong_model.code, str(wrong_model)) == ("invalid_request_error", "Unknown model: x/y")


def in_seconds(seconds: float, **options: Any) -> str:
    """A time from now as HTTP writes dates."""
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return email.utils.format_datetime(when, **options)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        (" 120 ", 120, 120),
        ("0", 0, 0),
        (lambda: in_seconds(3600, usegmt=True), 3000, 3600),
        (lambda: in_seconds(3600), 3000, 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 0, 0),
    ],
)
def test_retry_after_is_told_in_seconds(
    gateway: FakeGateway, value: str | Callable[[], str], least: float, most: float
) -> None:
    """Both forms of the header become seconds from now, and a time in the past is none left."""
    gateway.error(429, headers={"Retry-After": value() if callable(value) else value})
    failed = failure(start(gateway.url))
    assert isinstance(failed, RateLimitError)
    assert failed.retry_after is not None
    assert least <= failed.retry_after <= most


@pytest.mark.parametrize("value", [None, "soon", "-1", "", "1.5", "1e3", "\u00b2"])
def test_a_retry_after_that_is_none_is_ignored(gateway: FakeGateway, value: str | None) -> None:
    """A header that says no time, or none at all, leaves None."""
    gateway.error(503, headers={} if value is None else {"Retry-After": value})
    failed = failure(start(gateway.url))
    assert isinstance(failed, GatewayServerError)
    assert failed.retry_after is None


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\nx-request-id: r-1\r\n\r\n",
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\nx-request-id: r-1\r\n\r\n",
        OK + b"Content-Length: 0\r\nx-request-id: r-1\r\n\r\n",
    ],
    ids=["204", "205", "no length"],
)
@pytest.mark.parametrize("on_incomplete", ["done", "error"])
def test_a_success_without_a_body_is_an_error(head: bytes, on_incomplete: str) -> None:
    """A 2xx whose headers say that nothing follows is the gateway's error."""
    with Peer(answers(head)) as peer:
        failed = failure(start(peer.url, on_incomplete=on_incomplete))
    assert isinstance(failed, AuthGatewayError)
    assert str(failed) == "auth-gateway returned empty body"
    assert failed.status in (200, 204, 205)
    assert failed.request_id == "r-1"


# Stand-ins for a gateway: the `responses` library.

STREAMED = frame(DELTA) + frame(FINISHED) + frame("[DONE]")
MOCKED = "http://gateway.test/v1/pi/stream"


@pytest.fixture(params=["the default session", "an injected session"])
def options(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The options of a call through either session."""
    if request.param == "the default session":
        yield {}
        return
    with requests.Session() as session:
        yield {"session": session}


def test_a_mocked_answer_is_streamed(options: dict[str, Any]) -> None:
    """A body that `responses` gives as bytes is read like a gateway's."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, body=STREAMED, content_type="text/event-stream", headers={"X-A": "b"})
        stream = start("http://gateway.test", **options)
        events, message = outcome(stream)
        (call,) = mock.calls
    assert types(events) == ["text_delta", "done"]
    assert message.text == "Hello"
    assert stream.response is not None
    assert (stream.response.status, stream.response.headers["x-a"]) == (200, "b")
    assert call.request.headers["Authorization"] == f"Bearer {KEY}"
    assert json.loads(call.request.body or "")["modelId"] == "x/y"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (429, RateLimitError), (500, GatewayServerError)],
)
def test_a_mocked_refusal_is_told(
    options: dict[str, Any], status: int, kind: type[AuthGatewayError]
) -> None:
    """An error that `responses` gives as JSON is told like a gateway's."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, json=GATEWAY_SAYS, status=status, headers={"Retry-After": "3"})
        failed = failure(start("http://gateway.test", **options))
    assert type(failed) is kind
    assert isinstance(failed, AuthGatewayError)
    assert (str(failed), failed.code, failed.retry_after) == ("because", "some_error", 3)
    assert failed.body == GATEWAY_SAYS


@pytest.mark.parametrize(
    "raised",
    [
        requests.exceptions.ConnectionError("unplugged"),
        requests.exceptions.SSLError("unplugged"),
        requests.exceptions.ProxyError("unplugged"),
        OSError("unplugged"),
        RuntimeError("unplugged"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_a_mocked_breakdown_is_a_connection_error(
    options: dict[str, Any], raised: Exception
) -> None:
    """Whatever an adapter raises comes out as our own error, with its words."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, body=raised)
        failed = failure(start("http://gateway.test", **options))
    assert type(failed) is GatewayConnectionError
    assert "unplugged" in str(failed)


@pytest.mark.parametrize(
    ("raised", "phase"),
    [(requests.exceptions.ConnectTimeout, "connect"), (requests.exceptions.ReadTimeout, "headers")],
)
def test_a_mocked_timeout_is_a_timeout(
    options: dict[str, Any], raised: type[Exception], phase: str
) -> None:
    """A timeout that an adapter tells of is a timeout of the phase it belongs to."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, body=raised("late"))
        failed = failure(start("http://gateway.test", **options))
    assert type(failed) is StreamTimeoutError
    assert isinstance(failed, TimeoutError)
    assert failed.phase == phase


def test_a_mocked_empty_answer_is_an_error(options: dict[str, Any]) -> None:
    """A 204 that `responses` gives is an answer without a body."""
    with responses.RequestsMock() as mock:
        mock.post(MOCKED, status=204)
        failed = failure(start("http://gateway.test", **options))
    assert isinstance(failed, AuthGatewayError)
    assert str(failed) == "auth-gateway returned empty body"


def test_a_mocked_answer_can_be_cancelled(options: dict[str, Any]) -> None:
    """A stand-in's body has no socket to cut, but the caller is free all the same."""
    reached, go = threading.Event(), threading.Event()

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        reached.set()
        go.wait(5)
        return 200, {}, STREAMED

    with responses.RequestsMock() as mock:
        mock.add_callback("POST", MOCKED, callback=answer, content_type="text/event-stream")
        stream = start("http://gateway.test", **options)
        assert reached.wait(5)
        stream.abort("enough")
        failed = failure(stream)
        go.set()
        assert wait_until(lambda: not workers())
    assert isinstance(failed, AbortError)
    assert failed.reason == "enough"


# How the answer is cut into pieces.

WHOLE = frame(START) + frame(DELTA) + frame({"type": "newer", "a": "ü"}) + frame(FINISHED)
WHOLE += frame("[DONE]")


def in_lines(ending: bytes) -> bytes:
    """The whole answer, with other line ends."""
    return WHOLE.replace(b"\n", ending)


FRAMINGS: dict[str, list[bytes]] = {
    "one piece": [WHOLE],
    "byte by byte": [WHOLE[i : i + 1] for i in range(len(WHOLE))],
    "seven bytes": [WHOLE[i : i + 7] for i in range(0, len(WHOLE), 7)],
    "CRLF": [in_lines(b"\r\n")],
    "CRLF, byte by byte": [in_lines(b"\r\n")[i : i + 1] for i in range(len(in_lines(b"\r\n")))],
    "CR": [in_lines(b"\r")],
    "CR, byte by byte": [in_lines(b"\r")[i : i + 1] for i in range(len(WHOLE))],
    "LF CR LF": [WHOLE.replace(b"\n\n", b"\n\r\n")],
    "comments": [
        b": hi\n\n:\n" + WHOLE.replace(b"\n\n", b"\n: in between\n\n:\n\n:keep-alive\n\n")
    ],
    "a BOM": [b"\xef\xbb\xbf" + WHOLE],
    "a BOM in pieces": [b"\xef", b"\xbb", b"\xbf", WHOLE],
    "no space": [WHOLE.replace(b"data: ", b"data:")],
    "unknown fields": [WHOLE.replace(b"data: ", b"event: e\nfoo: bar\nid\ndata: ")],
    "empty data": [b"data:\n\ndata\n\n" + WHOLE.replace(b"\n\n", b"\n\ndata: \n\n")],
    "blank lines": [b"\n\n\n" + WHOLE.replace(b"\n\n", b"\n\n\n\n\n")],
    "several data lines": [WHOLE.replace(b', "contentIndex"', b',\ndata: "contentIndex"')],
}


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("pieces", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_every_framing_gives_the_same_events(
    gateway: FakeGateway, pieces: list[bytes], framing: Any
) -> None:
    """However the bytes are cut and framed, the events are the same ones."""
    gateway.raw(pieces, framing=framing)
    events, message = outcome(start(gateway.url))
    assert types(events) == ["start", "text_delta", "newer", "done"]
    assert isinstance(events[0], StartEvent)
    assert (events[1].delta, events[1].partial.text) == ("Hello", "Hello")
    assert events[2].data == {"type": "newer", "a": "ü"}
    assert isinstance(events[3], DoneEvent)
    assert message.text == "Hello"


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_each_event_is_handed_over_as_it_comes(framing: Any) -> None:
    """An event is there while the gateway holds the next one back, however small it is."""
    small = frame({"type": "a"})
    with FakeGateway(KEY) as gateway:
        gateway.raw(
            [small, small, frame(FINISHED)],
            framing=framing,
            fault=[Stall(after=1), Slow(0.0, after=1)],
        )
        stream = start(gateway.url)
        assert next(stream).type == "a"
        assert not stream.done
        gateway.release()
        assert types(list(stream)) == ["a", "done"]


def test_bytes_that_are_no_utf8_become_replacement_characters(gateway: FakeGateway) -> None:
    """A broken byte spoils one character and not the stream."""
    gateway.raw([b'data: {"type":"newer","a":"caf\xe9 \xf0\x9f"}\n\n', frame(FINISHED)])
    events, _ = outcome(start(gateway.url))
    assert events[0].data == {"type": "newer", "a": "caf\ufffd \ufffd"}
