"""The plugin for llm, through llm's Python API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pi_native import ProviderError, ToolCall
from pi_native.testing import FakeGateway, HangUp, RecordedRequest, Reply, Stall

from ..calls import KEY
from .conftest import SIGNED, signed_turn

llm = pytest.importorskip("llm", reason="needs the extra [llm]")
parts = pytest.importorskip("llm.parts", reason="needs llm 0.32")
sqlite_utils = pytest.importorskip("sqlite_utils")

PNG = b"\x89PNG\r\n\x1a\n..."
DOG = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return llm's own folder, which has a list of models."""
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    rows = [
        {"id": "acme/small", "input_modalities": ["text", "image"]},
        {"id": "acme/blind", "input_modalities": ["text"], "supports_tools": False},
    ]
    tmp_path.joinpath("pi-models.json").write_text(json.dumps({"models": rows}))
    return tmp_path


@pytest.fixture
def model(folder: Path, gateway_env: FakeGateway) -> Any:
    """Return a model of llm that the gateway serves."""
    assert folder, gateway_env
    return llm.get_model("pi/acme/small")


def ask(model: Any, prompt: str = "Hi", **arguments: Any) -> Any:
    """Return the response to a prompt, complete."""
    response = model.prompt(prompt, max_retries=0, **arguments)
    response.text()
    return response


def sent(gateway: FakeGateway, role: str) -> list[dict[str, Any]]:
    """Return the messages of a role in the last request, without their times."""
    return [
        {name: value for name, value in message.items() if name != "timestamp"}
        for message in gateway.last_request.messages
        if message["role"] == role
    ]


def test_a_prompt_streams(model: Any, gateway: FakeGateway) -> None:
    """The pieces of the answer arrive one by one, and the counts of tokens at the end."""
    gateway.reply(["He", "llo"], usage={"input": 3, "output": 2, "cacheRead": 4})
    response = model.prompt("Hi", system="Be brief.")
    assert [piece for piece in response if piece] == ["He", "llo"]
    assert gateway.last_request.model == "acme/small"
    assert gateway.last_request.system_prompt == ["Be brief."]
    usage = response.usage()
    assert (usage.input, usage.output, usage.details["cache_read"]) == (7, 2, 4)
    assert response.resolved_model == "acme/small"
    assert response.json()["content"] == [{"type": "text", "text": "Hello"}]


def test_reasoning_is_no_text(model: Any, gateway: FakeGateway) -> None:
    """Thinking arrives as reasoning, and is no part of the text."""
    gateway.reply("Blue.", thinking=["Let me", " see."])
    response = ask(model)
    assert response.text() == "Blue."
    reasoning = [
        part for part in response.messages()[0].parts if part.to_dict()["type"] == "reasoning"
    ]
    assert [part.text for part in reasoning] == ["Let me see."]


def in_process(conversation: Any, _folder: Path) -> Any:
    """Return the conversation itself."""
    return conversation


def from_the_database(conversation: Any, folder: Path) -> Any:
    """Return the conversation as `llm -c` reads it from llm's database."""
    from llm.cli import load_conversation

    for response in conversation.responses:
        log(response, folder)
    return load_conversation(conversation.id, database=str(folder / "logs.db"))


def log(response: Any, folder: Path) -> None:
    """Write a response into llm's database."""
    database = sqlite_utils.Database(folder / "logs.db")
    try:
        response.log_to_db(database)
    finally:
        database.conn.close()


def from_a_dict(conversation: Any, _folder: Path) -> Any:
    """Return a conversation whose last response was written as JSON and read again."""
    data = json.loads(json.dumps(conversation.responses[-1].to_dict()))
    conversation.responses[-1] = llm.Response.from_dict(data)
    return conversation


@pytest.mark.parametrize(
    "reload",
    [in_process, pytest.param(from_the_database, marks=pytest.mark.slow), from_a_dict],
)
def test_the_next_turn_sends_the_answer_unchanged(
    reload: Any, model: Any, gateway: FakeGateway, folder: Path
) -> None:
    """The answer goes back with its signatures and unknown members, also from llm's database."""
    events = signed_turn(SIGNED)
    gateway.events(events).reply("Again")
    conversation = model.conversation()
    assert conversation.prompt("Look").text() == "Seen."
    assert reload(conversation, folder).prompt("More").text() == "Again"
    assert gateway.last_request.messages[1] == events[0]["message"]  # type: ignore[index]
    assert [m["role"] for m in gateway.last_request.messages] == ["user", "assistant", "user"]


def test_the_turns_of_a_conversation_have_one_session(model: Any, gateway: FakeGateway) -> None:
    """Each turn of a conversation sends the same session id, and single prompts send none."""
    conversation = model.conversation()
    conversation.prompt("1").text()
    conversation.prompt("2").text()
    ask(model)
    first, second, alone = (request.options.get("sessionId") for request in gateway.requests)
    assert first == second == conversation.id
    assert alone is None


def test_an_edited_answer_is_sent_as_edited(model: Any, gateway: FakeGateway) -> None:
    """When a program changes the text of an answer, the change is sent, without signatures."""
    gateway.events(signed_turn(SIGNED))
    messages = [parts.Message("user", [parts.TextPart("Look")]), *ask(model, "Look").messages()]
    messages[-1].parts[-1].text = "Something else."
    ask(model, "More", messages=messages)
    assert sent(gateway, "assistant")[0]["content"] == [{"type": "text", "text": "Something else."}]


def test_the_answers_of_another_model(model: Any, gateway: FakeGateway) -> None:
    """Messages of another plugin keep texts and calls; calls and results without ids are paired."""
    call = parts.ToolCallPart("clock", {"zone": "UTC"})
    history = [
        parts.system("Be brief."),
        parts.user("What time is it?"),
        parts.Message("assistant", [parts.ReasoningPart("Hm."), parts.TextPart("See:"), call]),
        parts.tool_message(parts.ToolResultPart("clock", "12:00")),
        parts.system("Be polite."),
    ]
    ask(model, "And now?", messages=history)
    roles = [message["role"] for message in gateway.last_request.messages]
    assert roles == ["user", "assistant", "toolResult", "developer", "user"]
    assert gateway.last_request.system_prompt == ["Be brief."]
    text, called = sent(gateway, "assistant")[0]["content"]
    assert text == {"type": "text", "text": "See:"}
    assert called["arguments"] == {"zone": "UTC"}
    assert sent(gateway, "toolResult")[0]["toolCallId"] == called["id"]


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        ({"temperature": "0.5"}, {"temperature": 0.5}),
        ({"top_p": 1}, {"topP": 1}),
        ({"max_tokens": "100"}, {"maxTokens": 100}),
        ({"stop_sequences": "END"}, {"stopSequences": ["END"]}),
        ({"stop_sequences": '["a", "b"]'}, {"stopSequences": ["a", "b"]}),
        ({"reasoning": "high"}, {"reasoning": "high"}),
        ({"service_tier": "flex"}, {"serviceTier": "flex"}),
        ({"other_options": '{"min_p": 0.1}'}, {"minP": 0.1}),
        ({"other_options": {"extra": {"newOption": 1}}}, {"newOption": 1}),
    ],
)
def test_options(
    given: dict[str, Any], wire: dict[str, Any], model: Any, gateway: FakeGateway
) -> None:
    """Options of llm, as values or as the texts of a command line, are options of the wire."""
    ask(model, **given)
    assert gateway.last_request.options.items() >= wire.items()


@pytest.mark.parametrize("given", [{"temperature": "hot"}, {"reasoning": "enormous"}, {"heat": 1}])
def test_impossible_options(given: dict[str, Any], model: Any, gateway: FakeGateway) -> None:
    """Llm refuses an option that does not exist or does not fit, and nothing is sent."""
    with pytest.raises(ValueError, match=next(iter(given))):
        ask(model, **given)
    assert gateway.requests == []


def test_images(model: Any, gateway: FakeGateway) -> None:
    """An attachment is an image of the user's message, for models that see."""
    ask(model, "What is it?", attachments=[llm.Attachment(type="image/png", content=PNG)])
    text, image = gateway.last_request.messages[0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert (image["type"], image["mimeType"]) == ("image", "image/png")
    with pytest.raises(ValueError, match="does not support attachments"):
        ask(llm.get_model("pi/acme/blind"), attachments=[llm.Attachment(content=PNG)])


def test_tools(model: Any, gateway: FakeGateway) -> None:
    """The model's calls are run by llm, and their results go back with the answer."""

    def multiply(a: int, b: int) -> int:
        """Multiply two numbers."""
        return a * b

    def fail() -> str:
        """Fail."""
        raise ValueError("no")

    calls = [ToolCall("c1", "multiply", {"a": 6, "b": 7}), ToolCall("c2", "fail", {})]
    gateway.reply("So:", tool_calls=calls).reply("42")
    assert model.chain("6 * 7?", tools=[multiply, fail]).text().split() == ["So:", "42"]
    first, second = gateway.requests
    tool = first.context["tools"][0]
    assert (tool["name"], tool["description"]) == ("multiply", "Multiply two numbers.")
    assert tool["parameters"]["properties"]["a"] == {"type": "integer"}
    good, bad = second.messages[2:]
    assert (good["toolCallId"], good["content"][0]["text"], good["isError"]) == ("c1", "42", False)
    assert (bad["toolCallId"], bad["isError"]) == ("c2", True)


def test_a_cut_call_is_not_run(model: Any, gateway: FakeGateway) -> None:
    """A call at the end of a cut answer is not run, and has a result in the next turn."""
    ran = []
    gateway.reply(tool_calls=[ToolCall("c1", "note", {})], stop_reason="length").reply("ok")
    conversation = model.conversation(
        tools=[llm.Tool("note", implementation=lambda: ran.append(1))]
    )
    conversation.chain("Hi").text()
    assert len(gateway.requests) == 1
    conversation.prompt("Continue").text()
    assert ran == []
    assert [m["role"] for m in gateway.last_request.messages] == [
        *("user", "assistant", "toolResult", "user")
    ]
    assert sent(gateway, "toolResult")[0]["isError"] is True


def answering(text: str = "", **arguments: Any) -> Reply:
    """Return a turn that calls the tool `answer`."""
    return Reply(text, tool_calls=[ToolCall("c1", "answer", arguments)])


def test_a_schema(model: Any, gateway: FakeGateway) -> None:
    """The answer is the JSON of an object; a model that answers in words is asked again."""
    gateway.reply("Rex!").add(answering(name="Rex")).reply("Rex")
    conversation = model.conversation()
    response = conversation.prompt("A dog", schema=DOG)
    assert json.loads(response.text()) == {"name": "Rex"}
    assert response.usage().output == 3, "one word, and two pieces of a call"
    assert gateway.requests[0].options["toolChoice"] == {"type": "tool", "name": "answer"}
    conversation.prompt("Its name?").text()
    roles = [message["role"] for message in gateway.last_request.messages]
    assert roles == ["user", "assistant", "developer", "assistant", "toolResult", "user"]


def test_a_schema_and_tools(model: Any, gateway: FakeGateway) -> None:
    """With tools, the model uses them first, and then answers after the schema."""
    gateway.reply(tool_calls=[ToolCall("c1", "find", {})]).add(answering(name="Rex")).reply("Rex")
    tools = [llm.Tool("find", implementation=lambda: "a dog named Rex")]
    conversation = model.conversation()
    assert json.loads(conversation.chain("A dog", schema=DOG, tools=tools).text()) == {
        "name": "Rex"
    }
    conversation.prompt("Its name?").text()
    roles = [message["role"] for message in gateway.last_request.messages]
    assert roles == ["user", "assistant", "toolResult", "assistant", "toolResult", "user"]


def test_a_schema_and_reasoning(model: Any, gateway: FakeGateway) -> None:
    """Reasoning stays on: the call of `answer` is not forced."""
    gateway.add(answering(name="Rex"))
    assert json.loads(ask(model, schema=DOG, reasoning="low").text()) == {"name": "Rex"}
    assert gateway.last_request.options["toolChoice"] == "auto"


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ({"status": 401, "body": {"error": "unauthorized"}}, "PI_NATIVE_API_KEY"),
        ({"status": 404, "message": "Unknown model"}, "Unknown model"),
        ({"status": 429, "headers": {"Retry-After": "7"}}, "try again in 7 s"),
    ],
)
def test_a_refusal(script: dict[str, Any], text: str, model: Any, gateway: FakeGateway) -> None:
    """A request that is refused is a `ModelError`, whose text says what to do."""
    gateway.error(**script)
    with pytest.raises(llm.ModelError, match=text):
        ask(model)


def test_a_failed_turn(model: Any, gateway: FakeGateway) -> None:
    """A turn that the provider fails is a `ModelError`; its cause has the partial message."""
    gateway.failed_turn(529, "overloaded", text="Half")
    with pytest.raises(llm.ModelError, match="overloaded") as caught:
        ask(model)
    cause = caught.value.__cause__
    assert isinstance(cause, ProviderError)
    assert cause.partial is not None
    assert cause.partial.text == "Half"


def test_a_connection_that_is_cut(model: Any, gateway: FakeGateway) -> None:
    """An answer that ends in the middle is a `ModelError`, and no response of a conversation."""
    gateway.reply("one two three", fault=HangUp(after=3))
    conversation = model.conversation()
    with pytest.raises(llm.ModelError):
        conversation.prompt("Hi", max_retries=0).text()
    assert conversation.responses == []


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_leaving_the_iteration_cancels_the_turn(
    leave: str, model: Any, gateway: FakeGateway
) -> None:
    """When the caller stops reading, the gateway sees that the client is gone."""
    gateway.reply("one two three", fault=Stall(after=3))
    iterator = iter(model.prompt("Hi"))
    assert next(iterator) == "one"
    if leave == "close":
        iterator.close()
    else:
        del iterator
    assert gateway.last_request.client_gone.wait(20)


@pytest.mark.slow  # the migrations of llm's database
def test_half_a_character(model: Any, gateway: FakeGateway, folder: Path) -> None:
    """Characters that are divided between deltas arrive whole, and the rest can be logged."""
    gateway.reply(["\ud83d", "\ude00 and \ud83d", "x"])
    response = ask(model)
    assert response.text() == "\N{GRINNING FACE} and \ufffdx"
    log(response, folder)


def key_of(request: RecordedRequest) -> str:
    """Return the bearer token of a request."""
    return str(request.headers["Authorization"]).removeprefix("Bearer ")


def test_keys(model: Any, gateway: FakeGateway, folder: Path) -> None:
    """Llm's `key=` comes before the key that llm stores, and that before the environment's."""
    gateway.api_key = None
    ask(model)
    folder.joinpath("keys.json").write_text('{"pi": "stored", "work": "named"}')
    ask(model)
    ask(model, key="given")
    ask(model, key="work")
    assert [key_of(request) for request in gateway.requests] == [KEY, "stored", "given", "named"]


BROKEN = {
    "empty": "",
    "half": '{"models": [{"id": "acme/sm',
    "list": "[]",
    "text": '"models"',
    "null": '{"models": null}',
    "rows": '{"models": [1, null]}',
    "ids": '{"models": [{"id": 7}, {"id": ""}]}',
    "binary": b"\xff\xfe\x00",
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_list(content: str | bytes, folder: Path) -> None:
    """A list that cannot be read means that there are no models, and llm starts."""
    data = content.encode() if isinstance(content, str) else content
    folder.joinpath("pi-models.json").write_bytes(data)
    assert [m for m in llm.get_models() if m.model_id.startswith("pi/")] == []


def test_no_list(folder: Path) -> None:
    """Without a list there are no models, and llm starts."""
    folder.joinpath("pi-models.json").unlink()
    assert [m for m in llm.get_models() if m.model_id.startswith("pi/")] == []


def test_a_list_that_is_a_folder(folder: Path) -> None:
    """A list that cannot be opened means that there are no models, and llm starts."""
    folder.joinpath("pi-models.json").unlink()
    folder.joinpath("pi-models.json").mkdir()
    assert [m for m in llm.get_models() if m.model_id.startswith("pi/")] == []


def test_registering_asks_no_gateway(model: Any, gateway: FakeGateway) -> None:
    """Llm knows the models without a request."""
    assert "pi/acme/blind" in [m.model_id for m in llm.get_models()]
    assert model.supports_tools
    assert not llm.get_model("pi/acme/blind").supports_schema
    assert gateway.requests == []
