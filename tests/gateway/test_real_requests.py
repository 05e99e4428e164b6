"""Requests as the real gateway and the provider behind it receive them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from record import every_block

from pi_native import (
    Client,
    Context,
    DeveloperMessage,
    ImageContent,
    Model,
    TextContent,
    Tool,
    ToolCall,
    ToolResultMessage,
    UserMessage,
    stream_pi_native,
    to_wire,
)

pytestmark = pytest.mark.gateway

PIXEL = base64.b64encode(bytes(range(256))).decode()
INSTALL_ID = "0c4a2a52-5f6e-4a53-9d5e-0d8f0c8b6a11"
WEATHER = Tool(
    "weather",
    "The weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)

OPTIONS: dict[str, Any] = {
    "temperature": 0.25,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "presence_penalty": 0.1,
    "frequency_penalty": -0.1,
    "repetition_penalty": 1.1,
    "stop_sequences": ["END", "\n\n"],
    "max_tokens": 321,
    "cache_retention": "long",
    "cached_content": "cache-1",
    "initiator_override": "agent",
    "max_retry_delay_ms": 1500,
    "metadata": {"user_id": "u-1", "deep": [1, None, {"a": True}]},
    "session_id": "session-1",
    "prompt_cache_key": "key-1",
    "prompt_cache": {"mode": "implicit"},
    "stateful_responses": False,
    "stream_first_event_timeout_ms": 60_000,
    "stream_idle_timeout_ms": 61_000,
    "reasoning": "high",
    "disable_reasoning": False,
    "hide_thinking_summary": True,
    "thinking_budgets": {"high": 4096},
    "tool_choice": {"type": "tool", "name": "weather"},
    "service_tier": "flex",
    "guardrail_identifier": "g",
    "guardrail_version": "1",
    "guardrail_trace": "enabled",
    "request_metadata": {"team": "t"},
    "kimi_api_format": "openai",
    "synthetic_api_format": "anthropic",
    "prefer_websockets": False,
    "openrouter_variant": "nitro",
    "loop_guard": {"enabled": False},
    "accept_empty_response": True,
    "anthropic_compaction": {"trigger": 100_000},
}


def camel(name: str) -> str:
    """Return the name in camel case."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def echo(client: Client, prompt: Any, **options: Any) -> dict[str, Any]:
    """Return the context and the options that a model behind the gateway receives."""
    said: dict[str, Any] = json.loads(client.complete("mock/echo", prompt, **options).text)
    return said


class TestOptions:
    @pytest.mark.parametrize("name", OPTIONS)
    def test_an_option_arrives(self, client, name):
        """Each option that the gateway accepts arrives unchanged under its wire name."""
        assert echo(client, "hi", **{name: OPTIONS[name]})["options"][camel(name)] == OPTIONS[name]

    def test_all_options_arrive_together(self, client):
        """All options of one request arrive together."""
        arrived = echo(client, "hi", headers={"x-mine": "1"}, **OPTIONS)["options"]
        assert arrived.pop("headers") == {"x-mine": "1"}
        assert arrived.pop("cursorExternalToolExecutor") is True
        assert arrived == {camel(name): value for name, value in OPTIONS.items()}

    def test_absent_options_stay_absent(self, client, upstream):
        """A request without options sends only the options of the client."""
        client.complete("mock/echo", "hi")
        (request,) = upstream.requests
        assert json.loads(request["body"])["options"] == {}

    def test_an_unknown_option_is_sent_and_dropped(self, client, upstream):
        """An unknown option in `extra` is sent, and the gateway ignores it."""
        options = echo(client, "hi", extra={"brandNew": {"x": 1}, "topK": 7})["options"]
        (request,) = upstream.requests
        assert json.loads(request["body"])["options"] == {"brandNew": {"x": 1}, "topK": 7}
        assert "brandNew" not in options
        assert options["topK"] == 7

    def test_they_reach_the_provider(self, client, upstream):
        """The provider receives the temperature, limit, tools and tool choice of the caller."""
        client.complete(
            "fake/tokens",
            "hi",
            temperature=0.25,
            max_tokens=321,
            tools=[WEATHER],
            tool_choice={"type": "tool", "name": "weather"},
        )
        (call,) = upstream.calls
        body = call["body"]
        assert body["temperature"] == 0.25
        assert 321 in (body.get("max_tokens"), body.get("max_completion_tokens"))
        assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]
        assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


class TestSecrets:
    def test_the_key_is_in_the_header_alone(self, client, gateway, upstream):
        """The bearer token is in the Authorization header and not in the body."""
        client.complete("fake/tokens", "hi", extra={"apiKey": gateway.token})
        (request,) = upstream.requests
        assert request["headers"]["authorization"] == f"Bearer {gateway.token}"
        assert gateway.token not in request["body"]
        assert "apiKey" not in request["body"]

    def test_the_provider_never_sees_it(self, client, gateway, upstream):
        """The provider is called with the gateway's own credential."""
        client.complete("fake/tokens", "hi")
        (call,) = upstream.calls
        assert call["authorization"] == "Bearer upstream-key"
        assert gateway.token not in json.dumps(call)


class TestHeaders:
    def test_what_kind_of_answer_is_wanted(self, client, upstream):
        """The request is JSON and asks for an event stream that is not compressed."""
        client.complete("mock/text", "hi")
        headers = upstream.requests[0]["headers"]
        assert headers["content-type"].startswith("application/json")
        assert headers["accept"] == "text/event-stream"
        assert headers["accept-encoding"] == "identity"

    def test_a_models_headers_arrive(self, client, upstream):
        """The headers of the model are sent with its request."""
        client.complete(Model("text", "mock", headers={"x-omp-slot": "slot-1"}), "hi")
        assert upstream.requests[0]["headers"]["x-omp-slot"] == "slot-1"

    def test_tokens_are_booked_to_the_installation(self, gateway, upstream):
        """The gateway counts the tokens of a turn for the given app, installation and host."""
        named = {"app": "tests", "install_id": INSTALL_ID, "hostname": "host-1"}
        with Client(gateway.url, gateway.token, **named) as client:
            client.complete("fake/tokens", "hi")
        seen = upstream.wait_until(lambda seen: seen["usage"])
        (usage,) = seen["usage"]
        assert usage["client"] == {"app": "tests", "installId": INSTALL_ID, "hostname": "host-1"}
        assert (usage["provider"], usage["model"]) == ("fake", "tokens")
        assert (usage["usage"]["input"], usage["usage"]["output"]) == (11, 7)

    def test_the_client_names_its_app(self, client, upstream):
        """A client sends the name of the app, and by default neither host nor installation."""
        client.complete("mock/text", "hi")
        headers = upstream.requests[0]["headers"]
        names = {name for name in headers if name.startswith("x-omp-")}
        assert names == {"x-omp-app"}
        assert headers["x-omp-app"] == "pi-native-python"

    def test_the_low_level_call_adds_none(self, model, options, upstream):
        """The low-level call sends no attribution."""
        with stream_pi_native(
            model("mock/text"), Context([UserMessage("hi")]), options()
        ) as stream:
            stream.result()
        headers = upstream.requests[0]["headers"]
        assert not [name for name in headers if name.startswith("x-omp-")]


class TestContext:
    def test_a_conversation_arrives_unchanged(self, client):
        """System prompt, tools and messages of every role arrive unchanged."""
        context = Context(
            [
                UserMessage("hello", attribution="user"),
                DeveloperMessage([TextContent("be brief")]),
                UserMessage([TextContent("what is this?"), ImageContent(PIXEL, "image/png")]),
            ],
            system_prompt=["You are terse.", "Always."],
            tools=[WEATHER],
        )
        assert echo(client, context)["context"] == to_wire(context)

    def test_unknown_fields_arrive(self, client):
        """Unknown fields and nulls arrive."""
        prompt = UserMessage("hi", extra={"tomorrow": {"a": None}})
        assert echo(client, prompt)["context"]["messages"][0]["tomorrow"] == {"a": None}

    @pytest.mark.parametrize(
        "text", ["", "\ud83d", "a\0b", "\u2028\u2029", "👩\u200d👩\u200d👧", '"\\/', "x" * 300_000]
    )
    def test_any_text_arrives(self, client, text):
        """Any prompt arrives unchanged: empty, very long, half an emoji."""
        assert echo(client, text)["context"]["messages"][0]["content"] == text

    def test_an_image_reaches_the_provider(self, client, upstream):
        """An image in the history reaches the provider byte for byte."""
        look = UserMessage([TextContent("what is this?"), ImageContent(PIXEL, "image/png")])
        assert client.complete("fake/tokens", look).text == "what is this?"
        (call,) = upstream.calls
        text, image = call["body"]["messages"][-1]["content"]
        assert text["text"] == "what is this?"
        assert image["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"

    def test_an_image_in_a_tool_result_arrives(self, client):
        """An image in a tool result arrives."""
        call = ToolCall("call_1", "look", {})
        seen = ToolResultMessage("call_1", "look", [ImageContent(PIXEL, "image/png", detail="low")])
        asked = client.complete("mock/text", "hi")
        asked.content.append(call)
        arrived = echo(client, [UserMessage("look"), asked, seen])["context"]["messages"][-1]
        assert arrived == to_wire(seen)


class TestHistory:
    @pytest.mark.parametrize(
        "name", ["fake/tokens", "fake/thinking", "fake/tools", "fake/mixed", "mock/thinking"]
    )
    def test_an_answer_goes_back_as_it_came(self, client, name):
        """A message in the history arrives as the JSON that the gateway sent."""
        raw: list[str] = []
        with client.stream(name, "go", on_sse_event=lambda event: raw.append(event.data)) as stream:
            answer = stream.result()
        (sent,) = [json.loads(data) for data in raw if data.startswith('{"type":"done"')]
        history = [UserMessage("go"), answer, UserMessage("go on")]
        arrived = echo(client, history)["context"]["messages"][1]
        assert arrived == to_wire(answer) == sent["message"]
        assert list(arrived) == list(sent["message"])

    def test_so_does_one_with_every_block(self, client):
        """Known and unknown blocks and fields, with explicit nulls, are sent back unchanged."""
        answer = client.complete("openai/events", json.dumps(every_block()))
        arrived = echo(client, [answer, UserMessage("go on")])["context"]["messages"][0]
        assert arrived == every_block()[-1]["message"]

    def test_so_does_a_snapshot(self, client):
        """The partial message of an aborted turn can be part of the history."""
        with client.stream("fake/forever", "go") as stream:
            assert next(stream.text_stream)
        partial = stream.partial
        arrived = echo(client, [UserMessage("go"), partial, UserMessage("well?")])
        assert arrived["context"]["messages"][1] == to_wire(partial)

    def test_tools_are_called_and_answered(self, client, upstream):
        """Over two turns a tool is called, its result is sent, and the provider receives both."""
        history: list[Any] = [UserMessage("Oslo and Rome?")]
        answer = client.complete("fake/mixed", history, tools=[WEATHER])
        history.append(answer)
        for call in answer.tool_calls:
            history.append(
                ToolResultMessage(call.id, call.name, f"rain in {call.arguments['city']}")
            )
        history.append(UserMessage("so?"))
        assert client.complete("fake/tokens", history, tools=[WEATHER]).text == "so?"
        messages = upstream.calls[-1]["body"]["messages"]
        assert [message["role"] for message in messages] == [
            "user",
            "assistant",
            "tool",
            "tool",
            "user",
        ]
        asked = [call["function"]["arguments"] for call in messages[1]["tool_calls"]]
        assert [json.loads(text) for text in asked] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert [message["tool_call_id"] for message in messages[2:4]] == ["call_a", "call_b"]
        assert [message["content"] for message in messages[2:4]] == ["rain in Oslo", "rain in Rome"]

    def test_a_long_conversation_is_kept_word_for_word(self, client):
        """After ten turns the first answer is still sent unchanged."""
        history: list[Any] = []
        for n in range(10):
            history.append(UserMessage(f"turn {n}"))
            history.append(client.complete("fake/tokens", history))
        arrived = echo(client, [*history, UserMessage("?")])["context"]["messages"]
        assert arrived[:-1] == [to_wire(message) for message in history]
