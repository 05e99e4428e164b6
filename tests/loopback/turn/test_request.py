"""A turn sends its URL, headers, conversation and options as the protocol defines them."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import requests

from pi_native import (
    AssistantMessage,
    Context,
    Model,
    StreamOptions,
    TextContent,
    Tool,
    ToolCall,
    UserMessage,
    stream_pi_native,
)
from pi_native.testing import FakeGateway

from ..calls import KEY, outcome, start


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
    """The path is added to the base URL without its trailing slashes."""
    gateway.add(gateway.default, path=target)
    outcome(start(gateway.url + path))
    (request,) = gateway.requests
    assert (request.method, request.target) == ("POST", target)


def test_the_headers_are_those_of_the_protocol(gateway: FakeGateway) -> None:
    """The four headers arrive once each with the right values, without attribution."""
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
    """A model's header replaces the same one in other case, and none is repeated."""
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
    """A model's Authorization, in any case, replaces the key."""
    with FakeGateway("other") as gateway:
        model = Model("y", "x", base_url=gateway.url, headers={name: "Bearer other"})
        outcome(start(None, model=model))
        (request,) = gateway.requests
        assert request.headers.get_all("authorization") == ["Bearer other"]
        assert KEY not in str(request.headers)


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_there_is_no_authorization(key: str | None) -> None:
    """An absent or empty key sends no Authorization header."""
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


def test_local_options_are_not_sent(gateway: FakeGateway) -> None:
    """With every local option set, the request has an empty `options` object."""
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


def test_local_names_are_never_sent(gateway: FakeGateway) -> None:
    """Local names are removed from `extra` too, and all others are sent."""
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
    """The key is absent from the body, the URL and all other headers."""
    outcome(start(gateway.url, extra={"apiKey": KEY}))
    (request,) = gateway.requests
    assert KEY not in request.target
    assert KEY.encode() not in request.body
    assert [name for name, value in request.headers.items() if KEY in value] == ["Authorization"]


def test_the_conversation_is_sent_as_it_was_at_the_call(gateway: FakeGateway) -> None:
    """A change after the call, before the worker starts, is not sent."""
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
