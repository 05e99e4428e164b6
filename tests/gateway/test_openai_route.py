"""The route `/v1/chat/completions`: each statement of docs/other-frameworks.md about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from launch import Gateway
from record import USAGE, every_block, message

from pi_native import Context, DecodeError, ProviderError

pytestmark = pytest.mark.gateway

Post = Callable[..., requests.Response]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}


@pytest.fixture
def post(gateway: Gateway) -> Iterator[Post]:
    """Return a function that sends a request to the route."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {gateway.token}"

        def post(model: str, prompt: Any = "hi", **more: Any) -> requests.Response:
            messages = more.pop("messages", [{"role": "user", "content": prompt}])
            body = {"model": model, "messages": messages, **more}
            return session.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60)

        yield post


def answer(response: requests.Response) -> dict[str, Any]:
    """Return the message of the only choice."""
    response.raise_for_status()
    [choice] = response.json()["choices"]
    found: dict[str, Any] = choice["message"]
    return found


def seen_by_the_model(response: requests.Response) -> dict[str, Any]:
    """Return the context and the options that the model mock/echo received."""
    found: dict[str, Any] = json.loads(answer(response)["content"])
    return found


def chunks(response: requests.Response) -> list[Any]:
    """Return the data of the server-sent events of a stream."""
    response.raise_for_status()
    data = [block.removeprefix("data: ") for block in response.text.split("\n\n") if block]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


def turn_of(*events: dict[str, Any]) -> str:
    """Return the prompt for openai/events that makes it send these events."""
    return json.dumps(events)


class TestDropped:
    def test_the_provider_does_not_receive_the_response_format(self, post, upstream):
        """The route accepts `response_format`, and the provider receives a request without it."""
        assert answer(post("fake/tokens", "text", response_format=FORMAT))["content"] == "text"
        [call] = upstream.calls
        assert "response_format" not in call["body"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("response_format", {"type": "json_object"}),
            ("seed", 7),
            ("user", "someone"),
            ("logit_bias", {"50256": -100}),
            ("parallel_tool_calls", False),
            ("n", 2),
            ("logprobs", True),
        ],
    )
    def test_an_option_is_accepted_and_dropped(self, post, name, value):
        """A request with the option reaches the model exactly as one without it."""
        with_it, without = (
            seen_by_the_model(post("mock/echo", **more))["options"] for more in ({name: value}, {})
        )
        assert with_it == without

    def test_client_refuses_these_options(self, client):
        """`Client` raises for an option that the gateway would drop."""
        with pytest.raises(TypeError, match="seed"):
            client.complete("mock/echo", "hi", seed=7)

    def test_other_options_reach_the_model(self, post):
        """The model receives the temperature, the token limit and the reasoning effort."""
        more = {"temperature": 0.5, "max_tokens": 50, "reasoning_effort": "high"}
        options = seen_by_the_model(post("mock/echo", **more))["options"]
        assert (options["temperature"], options["maxTokens"]) == (0.5, 50)
        assert options["reasoning"] == "high"

    def test_an_image_url_becomes_a_text(self, post):
        """An image by URL reaches the model as a text with the URL."""
        part = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
        [user] = seen_by_the_model(post("mock/echo", [part]))["context"]["messages"]
        assert user["content"] == [{"type": "text", "text": "[image: https://example.com/cat.png]"}]

    def test_an_image_as_a_data_url_is_kept(self, post):
        """An image in a data URL reaches the model as an image."""
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
        [user] = seen_by_the_model(post("mock/echo", [part]))["context"]["messages"]
        assert user["content"] == [{"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}]

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGVsbG8="}},
        ],
        ids=["audio", "file"],
    )
    def test_audio_and_files_are_dropped(self, post, part):
        """The model receives the text beside an audio or a file, and nothing in its place."""
        text = {"type": "text", "text": "What is this?"}
        [user] = seen_by_the_model(post("mock/echo", [text, part]))["context"]["messages"]
        assert user["content"] == [text]
        with pytest.raises(DecodeError):
            Context.from_openai([{"role": "user", "content": [text, part]}])

    def test_a_tool_result_is_never_an_error(self, post):
        """The wire has no field for a failed tool: the model receives a result without an error."""
        failed = {"role": "tool", "tool_call_id": "call_1", "content": "no clock", "is_error": True}
        call = {"role": "assistant", "tool_calls": [CALL]}
        sent = post("mock/echo", messages=[{"role": "user", "content": "hi"}, call, failed])
        result = seen_by_the_model(sent)["context"]["messages"][-1]
        assert (result["role"], result["isError"]) == ("toolResult", False)

    def test_system_messages_move_to_the_front(self, post):
        """All system messages become one system prompt, wherever they are."""
        roles = ("system", "first"), ("user", "hi"), ("system", "later")
        sent = post("mock/echo", messages=[{"role": r, "content": text} for r, text in roles])
        context = seen_by_the_model(sent)["context"]
        assert context["systemPrompt"] == ["first\n\nlater"]
        assert [message["role"] for message in context["messages"]] == ["user"]


class TestThinking:
    def test_the_signature_is_lost(self, post, client):
        """The answer has the text of the thinking, and no signature; `Client` gets both."""
        response = post("mock/thinking")
        assert answer(response)["reasoning_content"] == "Let me see."
        assert "sig-1" not in response.text
        assert client.complete("mock/thinking", "hi").content[0].thinking_signature == "sig-1"

    def test_the_signature_is_lost_in_a_stream(self, post):
        """A stream has the thinking as `reasoning_content`, and no signature."""
        response = post("mock/thinking", stream=True)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks(response)[:-1]]
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Let me see."
        assert "sig-1" not in response.text

    def test_what_is_sent_back_has_another_signature(self, post):
        """Thinking that is sent back reaches the model with a signature that no provider made."""
        said = {"role": "assistant", "content": "Seen.", "reasoning_content": "Let me see."}
        again = {"role": "user", "content": "And now?"}
        sent = post("mock/echo", messages=[{"role": "user", "content": "hi"}, said, again])
        thinking = seen_by_the_model(sent)["context"]["messages"][1]["content"][0]
        assert thinking["thinkingSignature"] == "reasoning_content"

    def test_redacted_thinking_is_mixed_into_the_text(self, post):
        """The opaque data of a redacted block is appended to the text of the thinking."""
        response = post("openai/events", turn_of(*every_block()))
        assert answer(response)["reasoning_content"] == "Hm.b3BhcXVl"


class TestUsage:
    def test_the_cost_is_a_header(self, post):
        """The body has no cost; the header `x-litellm-response-cost` has it in dollars."""
        response = post("mock/text")
        assert "cost" not in response.text
        assert float(response.headers["x-litellm-response-cost"]) == pytest.approx(0.003)

    def test_a_stream_has_no_cost(self, post, client):
        """A streamed answer has no cost in its headers or its body; `Client` gets one."""
        response = post("mock/text", stream=True, stream_options={"include_usage": True})
        assert chunks(response)[-2]["usage"]["total_tokens"] == 12
        assert "cost" not in response.text
        assert "x-litellm-response-cost" not in response.headers
        assert client.complete("mock/text", "hi").usage.cost.total == pytest.approx(0.003)

    def test_a_stream_has_the_usage_only_on_request(self, post):
        """Without `stream_options`, a stream has no usage."""
        assert not any("usage" in chunk for chunk in chunks(post("mock/text", stream=True))[:-1])

    def test_the_tokens_of_the_cache_are_added_up(self, post):
        """`prompt_tokens` includes the tokens that were read from and written to the cache."""
        usage = {**USAGE, "input": 120, "cacheRead": 900, "cacheWrite": 30}
        done = {"type": "done", "reason": "stop", "message": message([], usage=usage)}
        got = post("openai/events", turn_of(done)).json()["usage"]
        assert (got["prompt_tokens"], got["prompt_tokens_details"]["cached_tokens"]) == (1050, 900)
        assert "30" not in json.dumps(got).replace("1050", "")

    def test_the_request_id_is_a_header(self, post):
        """Each answer has an id in the header `x-request-id`."""
        assert post("mock/text").headers["x-request-id"]


class TestFailures:
    @pytest.mark.parametrize("status", [429, 500])
    def test_a_refusal_of_the_provider_is_a_502(self, post, client, status):
        """A 429 of the provider is a 502, without `Retry-After`; `Client` gets both facts."""
        response = post(f"fake/{status}")
        assert response.status_code == 502
        assert response.json()["error"]["type"] == "upstream_error"
        assert "retry-after" not in response.headers
        with pytest.raises(ProviderError) as caught:
            client.complete(f"fake/{status}", "hi")
        assert caught.value.message.error_status == status
        assert caught.value.retry_after == 3600

    @pytest.mark.parametrize(
        ("text", "status"),
        [
            ("429 Too much", 502),
            ("HTTP 429: Too much", 429),
            ("Rate limit reached for tokens", 429),
            ("The model is overloaded", 502),
        ],
    )
    def test_the_status_is_guessed_from_the_text(self, post, text, status):
        """The status of a failure depends on the words of the provider's message."""
        failed = message([], stopReason="error", errorMessage=text, errorStatus=429)
        event = {"type": "error", "reason": "error", "error": failed}
        assert post("openai/events", turn_of(event)).status_code == status

    def test_the_text_before_a_failure_is_lost(self, post, client):
        """A failed answer has no text, unless it is streamed; `Client` has it in the exception."""
        assert "So far" not in post("mock/error").text
        with pytest.raises(ProviderError) as caught:
            client.complete("mock/error", "hi")
        assert caught.value.partial.text == "So far "

    def test_a_streamed_failure_is_a_chunk(self, post):
        """A stream that fails has status 200, ends with an `error` chunk, and has no `[DONE]`."""
        *_, text, error = chunks(post("mock/error", stream=True))
        assert text["choices"][0]["delta"] == {"content": "So far "}
        assert error == {"error": {"message": "the mock provider failed", "type": "upstream_error"}}

    def test_a_wrong_key_is_a_401(self, gateway):
        """The route refuses a wrong key with status 401."""
        url, headers = f"{gateway.url}/v1/chat/completions", {"Authorization": "Bearer wrong"}
        assert requests.post(url, json={}, headers=headers, timeout=60).status_code == 401

    def test_an_unknown_model_is_a_404(self, post):
        """The route refuses an unknown model with status 404."""
        assert post("no/such").status_code == 404
