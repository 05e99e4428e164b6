"""`ChatPiNative` beyond LangChain's standard suites: signatures, cancels, errors, secrets."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pi_native import (
    ConfigurationError,
    ProviderError,
    RateLimitError,
    StreamTimeoutError,
    ToolCall,
)
from pi_native.testing import FakeGateway, Stall

from ..calls import KEY
from .conftest import SIGNED, signed_turn

messages = pytest.importorskip("langchain_core.messages", reason="needs the extra [langchain]")
ChatPiNative = pytest.importorskip("pi_native.integrations.langchain").ChatPiNative

# LangChain calls its own reading of its own JSON a beta.
pytestmark = pytest.mark.filterwarnings("ignore:The function `loads?` is in beta")

DATA = base64.b64encode(b"\x89PNG\r\n\x1a\n...").decode()
SECONDS = 20


@pytest.fixture
def model(gateway: FakeGateway) -> Iterator[Any]:
    """Return a model of the gateway that retries nothing."""
    model = ChatPiNative(model="acme/small", base_url=gateway.url, api_key=KEY, max_retries=0)
    yield model
    model.close()


def summed(model: Any, prompt: Any, **settings: Any) -> Any:
    """Return the sum of the chunks of a streamed answer."""
    first, *others = model.stream(prompt, **settings)
    for chunk in others:
        first += chunk
    return first


def written_as_json(answer: Any) -> Any:
    """Return an answer that was written as LangChain's JSON and read again."""
    from langchain_core.load import dumps, loads

    return loads(dumps(answer), allowed_objects=[type(answer)])


def written_as_dicts(answer: Any) -> Any:
    """Return an answer that was written as dicts, as chat histories in a database are."""
    data = json.loads(json.dumps(messages.messages_to_dict([answer])))
    return messages.messages_from_dict(data)[0]


@pytest.mark.parametrize("call", [lambda model, prompt: model.invoke(prompt), summed])
@pytest.mark.parametrize("write", [lambda answer: answer, written_as_json, written_as_dicts])
def test_the_next_turn_sends_the_answer_unchanged(
    write: Any, call: Any, model: Any, gateway: FakeGateway
) -> None:
    """The answer goes back with its signatures and unknown members, however it was stored."""
    events = signed_turn(SIGNED)
    gateway.events(events)
    answer = write(call(model, "Look"))
    assert answer.text == "Seen."
    thinking = answer.content_blocks[0]
    assert (thinking["type"], thinking["reasoning"]) == ("reasoning", "Let me see.")
    assert thinking["extras"] == {"signature": "sig-1"}
    model.invoke([messages.HumanMessage("Look"), answer, messages.HumanMessage("More")])
    assert gateway.last_request.messages[1] == events[0]["message"]  # type: ignore[index]


def test_the_chunks_sum_up_to_the_message(model: Any, gateway: FakeGateway) -> None:
    """`stream` and `invoke` give the same content, calls, counts and metadata."""
    usage = {"input": 1, "output": 2, "cacheRead": 3, "cacheWrite": 4, "reasoningTokens": 1}
    call = ToolCall("c1", "clock", {"zone": "UTC", "exact": True})
    gateway.reply(["He", "llo"], thinking=["Let ", "me"], tool_calls=[call], usage=usage, times=2)
    whole, pieces = model.invoke("Hi"), summed(model, "Hi")
    assert pieces.content == whole.content
    assert pieces.tool_calls == whole.tool_calls
    assert whole.tool_calls[0]["args"] == {"zone": "UTC", "exact": True}
    assert pieces.usage_metadata == whole.usage_metadata
    assert whole.usage_metadata == {
        "input_tokens": 8,
        "output_tokens": 2,
        "total_tokens": 10,
        "input_token_details": {"cache_read": 3, "cache_creation": 4},
        "output_token_details": {"reasoning": 1},
    }
    assert pieces.response_metadata.keys() == whole.response_metadata.keys()
    assert whole.response_metadata["model_name"] == "acme/small"
    assert whole.response_metadata["stop_reason"] == "toolUse"


def test_a_plain_text_is_a_string(model: Any, gateway: FakeGateway) -> None:
    """An answer without thinking has a string as content, whole and in chunks."""
    gateway.reply(["He", "llo"], times=2)
    assert model.invoke("Hi").content == "Hello"
    assert [chunk.content for chunk in model.stream("Hi") if chunk.content] == ["He", "llo"]


def test_an_edited_answer_is_sent_as_edited(model: Any, gateway: FakeGateway) -> None:
    """When a program changes the text of an answer, the change is sent with the signed thinking."""
    gateway.events(signed_turn(SIGNED))
    answer = model.invoke("Look")
    answer.content[-1]["text"] = "Something else."
    model.invoke(["Look", answer, "More"])
    thinking, text = gateway.last_request.messages[1]["content"]
    assert (thinking["thinking"], thinking["thinkingSignature"]) == ("Let me see.", "sig-1")
    assert text == {"type": "text", "text": "Something else."}


def test_roles(model: Any, gateway: FakeGateway) -> None:
    """Messages of other models have their roles, and a tool's result its tool's name."""
    call = {"name": "clock", "args": {"zone": "UTC"}, "id": "c1"}
    model.invoke(
        [
            messages.SystemMessage("Be brief."),
            messages.ChatMessage("Time?", role="user"),
            messages.AIMessage(
                [{"type": "text", "text": "See:"}, {"type": "odd"}], tool_calls=[call]
            ),
            messages.ToolMessage("no clock", tool_call_id="c1", status="error"),
            messages.SystemMessage("Be polite."),
        ]
    )
    user, answer, result, developer = gateway.last_request.messages
    assert gateway.last_request.system_prompt == ["Be brief."]
    assert (user["role"], user["content"]) == ("user", "Time?")
    assert [block["type"] for block in answer["content"]] == ["text", "toolCall"]
    assert (result["toolName"], result["isError"]) == ("clock", True)
    assert (developer["role"], developer["content"]) == ("developer", "Be polite.")


def test_an_open_call_has_a_result(model: Any, gateway: FakeGateway) -> None:
    """A call without a result is sent with one: providers refuse an open call."""
    call = {"name": "clock", "args": {}, "id": "c1"}
    model.invoke([messages.HumanMessage("Hi"), messages.AIMessage("", tool_calls=[call]), "Well?"])
    assert [m["role"] for m in gateway.last_request.messages] == [
        *("user", "assistant", "toolResult", "user")
    ]


@pytest.mark.parametrize(
    ("field", "wire"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"max_tokens": 10}, {"maxTokens": 10}),
        ({"stop": ["END"]}, {"stopSequences": ["END"]}),
        ({"reasoning": "high"}, {"reasoning": "high"}),
        ({"options": {"top_p": 0.1}}, {"topP": 0.1}),
        ({"options": {"extra": {"newOption": 1}}}, {"newOption": 1}),
    ],
)
def test_options(field: dict[str, Any], wire: dict[str, Any], gateway: FakeGateway) -> None:
    """Each field is an option of the wire, and so is the same argument of one call."""
    model = ChatPiNative(model="acme/small", base_url=gateway.url, api_key=KEY, **field)
    model.invoke("Hi")
    assert gateway.last_request.options.items() >= wire.items()
    model = ChatPiNative(model="acme/small", base_url=gateway.url, api_key=KEY)
    model.invoke("Hi", **field.get("options", field))
    assert gateway.last_request.options.items() >= wire.items()


@pytest.mark.parametrize(
    "settings", [{"temprature": 1}, {"options": {"api_key": "secret"}}, {"model": None}]
)
def test_impossible_settings(settings: dict[str, Any]) -> None:
    """A field that does not exist, and a key among the options, is a `ValueError`."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        ChatPiNative(**{"model": "acme/small", **settings})


def test_an_unknown_option(model: Any, gateway: FakeGateway) -> None:
    """An option of a call that does not exist is refused, with the nearest name."""
    with pytest.raises((TypeError, ConfigurationError), match="temperature"):
        model.invoke("Hi", temprature=1)
    assert gateway.requests == []


IMAGES = {
    "standard": {"type": "image", "base64": DATA, "mime_type": "image/png"},
    "older": {"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/png"},
    "openai": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
    "short": {"type": "image_url", "image_url": f"data:image/png;base64,{DATA}"},
    "anthropic": {
        "type": "image",
        "source": {"type": "base64", "data": DATA, "media_type": "image/png"},
    },
}


@pytest.mark.parametrize("block", IMAGES.values(), ids=IMAGES)
def test_images(block: dict[str, Any], model: Any, gateway: FakeGateway) -> None:
    """An image in each of LangChain's forms is an image of the message."""
    model.invoke([messages.HumanMessage([{"type": "text", "text": "What is it?"}, block])])
    text, image = gateway.last_request.messages[0]["content"]
    assert text["text"] == "What is it?"
    assert image == {"type": "image", "data": DATA, "mimeType": "image/png"}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "https://acme.example/cat.png"},
        {"type": "image_url", "image_url": {"url": "https://acme.example/cat.png"}},
        {"type": "file", "base64": DATA, "mime_type": "application/pdf"},
        {"type": "audio", "base64": DATA, "mime_type": "audio/wav"},
    ],
    ids=lambda block: str(block["type"]),
)
def test_blocks_that_cannot_be_sent(block: Any, model: Any, gateway: FakeGateway) -> None:
    """An image by its URL, and other media, are refused before a request."""
    with pytest.raises(ConfigurationError, match="image"):
        model.invoke([messages.HumanMessage([block])])
    assert gateway.requests == []


def clock(zone: str) -> str:
    """Tell the time in a zone."""
    return zone


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        (False, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "any"),
        ("required", "any"),
        (True, "any"),
        ("clock", {"type": "tool", "name": "clock"}),
        ({"type": "tool", "name": "clock"}, {"type": "tool", "name": "clock"}),
        ({"type": "function", "function": {"name": "clock"}}, {"type": "tool", "name": "clock"}),
        ({"type": "any"}, "any"),
    ],
)
def test_the_choice_of_a_tool(choice: Any, wire: Any, model: Any, gateway: FakeGateway) -> None:
    """`tool_choice` in LangChain's, OpenAI's and Anthropic's forms is the option of the wire."""
    model.bind_tools([clock], tool_choice=choice).invoke("Hi")
    assert gateway.last_request.options.get("toolChoice") == wire
    (tool,) = gateway.last_request.context["tools"]
    assert (tool["name"], tool["description"]) == ("clock", "Tell the time in a zone.")
    assert tool["parameters"]["required"] == ["zone"]


def test_a_choice_of_no_tool(model: Any) -> None:
    """A choice that names no tool of the model is a `ValueError`."""
    with pytest.raises(ValueError, match="'clocks'"):
        model.bind_tools([clock], tool_choice="clocks")


def test_a_cut_call_is_not_run(model: Any, gateway: FakeGateway) -> None:
    """A call at the end of a cut answer is no call of LangChain's message, in one piece or more."""
    cut = ToolCall("c1", "clock", {"zone": "U"})
    gateway.reply(tool_calls=[cut], stop_reason="length", times=2)
    for answer in (model.invoke("Hi"), summed(model, "Hi")):
        assert answer.tool_calls == []
        assert answer.response_metadata["stop_reason"] == "length"


def test_half_a_character(model: Any, gateway: FakeGateway) -> None:
    """Characters that are divided between deltas arrive whole, and half a one is replaced."""
    gateway.reply(["\ud83d", "\ude00 and \ud83d", "x"], times=2)
    for answer in (model.invoke("Hi"), summed(model, "Hi")):
        assert answer.text == "\N{GRINNING FACE} and \ufffdx"
        written_as_json(answer)


def test_a_failed_turn(model: Any, gateway: FakeGateway) -> None:
    """A turn that the provider fails is a `ProviderError`, which has the partial message."""
    gateway.failed_turn(529, "overloaded", text="Half", times=2)
    with pytest.raises(ProviderError, match="overloaded") as caught:
        model.invoke("Hi")
    assert caught.value.partial is not None
    chunks = model.stream("Hi")
    assert next(chunks).content == "Half"
    with pytest.raises(ProviderError, match="overloaded"):
        list(chunks)


def test_a_refusal(model: Any, gateway: FakeGateway) -> None:
    """A refused request raises this package's error, whose hint says what to do."""
    gateway.error(429, headers={"Retry-After": "7"})
    with pytest.raises(RateLimitError, match="try again in 7 s"):
        model.invoke("Hi")


def test_the_timeout(gateway: FakeGateway) -> None:
    """`timeout` limits the whole turn."""
    gateway.reply("Hi", fault=Stall())
    model = ChatPiNative(model="acme/small", base_url=gateway.url, api_key=KEY, timeout=0.2)
    with pytest.raises(StreamTimeoutError):
        model.invoke("Hi")


def test_leaving_a_stream_cancels_the_turn(model: Any, gateway: FakeGateway) -> None:
    """When the caller breaks out of `stream`, the gateway sees that the client is gone."""
    gateway.reply("one two three", fault=Stall(after=3))
    for chunk in model.stream("Hi"):
        assert chunk.content == "one"
        break
    assert gateway.last_request.client_gone.wait(SECONDS)


def test_cancelling_an_asynchronous_call(model: Any, gateway: FakeGateway) -> None:
    """When the task of `ainvoke` or `astream` is cancelled, the turn ends at the gateway."""
    gateway.reply("one two three", fault=Stall(after=3), times=2)

    async def stream() -> None:
        async for _ in model.astream("Hi"):
            pass

    async def cancelled(call: Any) -> None:
        task = asyncio.ensure_future(call)
        await asyncio.to_thread(lambda: gateway.wait_for_request(SECONDS).stalled.wait(SECONDS))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gateway.last_request.client_gone.wait, SECONDS)

    asyncio.run(cancelled(model.ainvoke("Hi")))
    asyncio.run(cancelled(stream()))


def test_a_signal_cancels_a_call(model: Any, gateway: FakeGateway) -> None:
    """A call takes a `signal` of the caller, as `Client.complete` does."""
    gateway.reply("one two three", fault=Stall(after=3))
    signal = threading.Event()
    chunks = model.stream("Hi", signal=signal)
    next(chunks)
    signal.set()
    with pytest.raises(ProviderError):
        list(chunks)
    assert gateway.last_request.client_gone.wait(SECONDS)


def test_the_key_is_shown_nowhere() -> None:
    """The key is not in a repr, in LangChain's JSON, in what traces show, and in a pickle."""
    from langchain_core.load import dumps

    model = ChatPiNative(model="acme/small", api_key="key-1234", max_tokens=3)
    model._gateway()
    shown = [repr(model), str(model), dumps(model), str(model._identifying_params)]
    shown += [str(pickle.dumps(model)), str(model._get_invocation_params())]
    assert [text for text in shown if "key-1234" in text] == []
    assert pickle.loads(pickle.dumps(model)).max_tokens == 3
    assert model.api_key.get_secret_value() == "key-1234"


def test_the_json_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that LangChain wrote as JSON, without its key, and read again, is the same."""
    from langchain_core.load import dumpd, load

    monkeypatch.setenv("PI_NATIVE_API_KEY", KEY)
    model = ChatPiNative(model="acme/small", api_key=KEY, temperature=0.5)
    written = dumpd(model)
    assert written["id"] == ["pi_native", "integrations", "langchain", "ChatPiNative"]
    assert written["kwargs"]["api_key"]["type"] == "secret"
    settings = {"allowed_objects": [ChatPiNative], "secrets_from_env": True}
    assert load(written, valid_namespaces=["pi_native"], **settings) == model


def test_callbacks_see_tokens(gateway: FakeGateway) -> None:
    """With `streaming`, a callback of `invoke` sees each token while it arrives."""
    from langchain_core.callbacks import BaseCallbackHandler

    tokens: list[Any] = []

    class Handler(BaseCallbackHandler):  # type: ignore[misc]
        def on_llm_new_token(self, token: Any, **_: Any) -> None:
            tokens.append(token)

    gateway.reply(["He", "llo"])
    settings = {"base_url": gateway.url, "api_key": KEY, "streaming": True}
    model = ChatPiNative(model="acme/small", **settings)
    assert model.invoke("Hi", config={"callbacks": [Handler()]}).text == "Hello"
    assert [token for token in tokens if token] == ["He", "llo"]
    model.close()


def test_turns_share_a_client(model: Any) -> None:
    """All turns of a model, also with tools, use one client, and so its connections."""
    client = model._gateway()
    assert model._gateway() is client
    assert model.bind_tools([clock]).bound._gateway() is client
    assert model.model_copy(update={"temperature": 1})._gateway() is client
    model.base_url = "http://127.0.0.1:9"
    assert model._gateway() is not client
