"""`extract`: an answer as a value, corrected by the model where it does not fit."""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import attrs
import pytest
from typing_extensions import TypedDict

from pi_native import (
    AbortController,
    AbortError,
    AssistantMessage,
    Client,
    ConfigurationError,
    Context,
    Conversation,
    ExtractionError,
    Tool,
    ToolCall,
    UserMessage,
)
from pi_native.testing import FakeGateway, Reply

pytest.importorskip("msgspec")

MODEL = "acme/parrot"
PLACE = {"name": "Paris", "people": 2_100_000}


@attrs.define
class Place:
    """A place."""

    name: str
    people: int = 0
    parts: list[Place] = attrs.field(factory=list)


@dataclasses.dataclass
class Positive:
    """A positive number."""

    number: int

    def __post_init__(self) -> None:
        if self.number <= 0:
            raise ValueError("must be above 0")


class Pair(NamedTuple):
    """Two values."""

    left: int
    right: str


class Options(TypedDict):
    """Options."""

    verbose: bool


class Color(enum.Enum):
    """A color."""

    RED = "red"
    BLUE = "blue"


def answer(arguments: Any, *, call_id: str = "call_1", name: str = "answer") -> ToolCall:
    """Return a call of the tool."""
    return ToolCall(call_id, name, arguments)


def script(gateway: FakeGateway, answers: Iterable[Any]) -> None:
    """Have the model call `answer` with each of these arguments."""
    for arguments in answers:
        gateway.reply(tool_calls=[answer(arguments)])


@pytest.mark.parametrize(
    ("into", "arguments", "value"),
    [
        (Place, PLACE, Place("Paris", 2_100_000)),
        (Place, {"name": "A", "parts": [{"name": "B"}]}, Place("A", 0, [Place("B")])),
        (Positive, {"number": 3}, Positive(3)),
        (Options, {"verbose": True}, {"verbose": True}),
        (Pair, {"value": [1, "x"]}, Pair(1, "x")),
        (Color, {"value": "red"}, Color.RED),
        (Literal["a", "b"], {"value": "b"}, "b"),
        (int, {"value": 5}, 5),
        (list[int], {"value": [1, 2]}, [1, 2]),
        (list[Place], {"value": [PLACE]}, [Place("Paris", 2_100_000)]),
        (int | str, {"value": "x"}, "x"),
        (dict[str, int], {"a": 1}, {"a": 1}),
    ],
    ids=str,
)
def test_every_kind_of_type_is_a_value(
    client: Client, gateway: FakeGateway, into: Any, arguments: Any, value: Any
) -> None:
    """The value has the type, and the request a forced tool whose schema is an object."""
    script(gateway, [arguments])
    assert client.extract(MODEL, "Give it.", into) == value
    [request] = gateway.requests
    [tool] = request.json["context"]["tools"]
    assert tool["name"] == "answer"
    assert tool["parameters"]["type"] == "object"
    assert request.json["options"]["toolChoice"] == {"type": "tool", "name": "answer"}


def test_a_dict_is_a_schema_that_is_sent_unchanged(client: Client, gateway: FakeGateway) -> None:
    """The value is the dict of the arguments, unchecked."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    script(gateway, [{"a": "no number"}])
    assert client.extract(MODEL, "Give it.", schema) == {"a": "no number"}
    assert gateway.last_request.json["context"]["tools"][0]["parameters"] == schema


def test_a_pydantic_model_is_used_by_its_methods(client: Client, gateway: FakeGateway) -> None:
    """Anything with `model_json_schema` and `model_validate` works; its problems have paths."""

    class Problems(ValueError):
        def errors(self) -> list[dict[str, Any]]:
            return [{"loc": ("items", 0, "name"), "msg": "Field required"}]

    class Model:
        @staticmethod
        def model_json_schema() -> dict[str, Any]:
            return {"type": "object", "title": "Model"}

        @staticmethod
        def model_validate(arguments: Any) -> Any:
            if not arguments:
                raise Problems
            return ("made of", arguments)

    script(gateway, [{}, {"a": 1}])
    assert client.extract(MODEL, "Give it.", Model) == ("made of", {"a": 1})
    result = gateway.requests[1].messages[-1]
    assert "$.items[0].name: Field required" in result["content"][0]["text"]


def test_a_misfit_is_corrected_by_the_model(client: Client, gateway: FakeGateway) -> None:
    """The problems go back as the error of the call, with their path, and the model calls again."""
    script(gateway, [{"name": "Paris", "people": "many"}, PLACE])
    assert client.extract(MODEL, "Give it.", Place) == Place("Paris", 2_100_000)
    first, second = gateway.requests
    assert second.messages[:-2] == first.messages
    call, result = second.messages[-2:]
    assert call["role"] == "assistant"
    assert (result["role"], result["toolCallId"], result["isError"]) == (
        "toolResult",
        "call_1",
        True,
    )
    assert "$.people: Expected `int`, got `str`" in result["content"][0]["text"]


def test_the_path_of_a_wrapped_value_names_the_wrapper(
    client: Client, gateway: FakeGateway
) -> None:
    """The model sees the path in what it has sent."""
    script(gateway, [{"value": [1, "x"]}, {"values": [1]}, {"value": [1]}])
    assert client.extract(MODEL, "Give it.", list[int]) == [1]
    texts = [request.messages[-1]["content"][0]["text"] for request in gateway.requests[1:]]
    assert "$.value[1]: Expected `int`, got `str`" in texts[0]
    assert "$: Object missing required field `value`" in texts[1]


def test_an_answer_without_a_call_is_asked_again(client: Client, gateway: FakeGateway) -> None:
    """A developer message names the tool."""
    gateway.reply("Paris, I think.").reply(tool_calls=[answer(PLACE)])
    assert client.extract(MODEL, "Give it.", Place).name == "Paris"
    reminder = gateway.last_request.messages[-1]
    assert (reminder["role"], "`answer`" in reminder["content"]) == ("developer", True)


def test_after_the_last_correction_the_error_says_what_was_wrong(
    client: Client, gateway: FakeGateway
) -> None:
    """Problems, number of requests and the last message are on the error."""
    script(gateway, [{"name": 1}, {"name": 2}])
    with pytest.raises(ExtractionError, match=r"after 2 requests: \$.name: Expected") as caught:
        client.extract(MODEL, "Give it.", Place, retries=1)
    assert caught.value.problems == [("$.name", "Expected `str`, got `int`")]
    assert caught.value.attempts == len(gateway.requests) == 2
    assert caught.value.partial is not None
    assert caught.value.partial.tool_calls[0].arguments == {"name": 2}


def test_a_check_of_the_type_itself_counts(client: Client, gateway: FakeGateway) -> None:
    """A ValueError of `__post_init__` is a problem that the model can correct."""
    script(gateway, [{"number": -1}, {"number": 1}])
    assert client.extract(MODEL, "Give it.", Positive) == Positive(1)
    assert "must be above 0" in gateway.last_request.messages[-1]["content"][0]["text"]


def test_an_answer_that_is_cut_off_is_not_corrected(client: Client, gateway: FakeGateway) -> None:
    """A limit of output tokens would cut off the next answer as well."""
    gateway.reply(tool_calls=[answer({"name": 1})], stop_reason="length")
    with pytest.raises(ExtractionError, match="raise max_tokens"):
        client.extract(MODEL, "Give it.", Place)
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "choice"),
    [
        ({}, {"type": "tool", "name": "answer"}),
        ({"reasoning": "high"}, "auto"),
        ({"reasoning": "high", "force": True}, {"type": "tool", "name": "answer"}),
        ({"force": False}, "auto"),
    ],
    ids=str,
)
def test_the_call_is_forced_unless_the_model_shall_think(
    client: Client, gateway: FakeGateway, arguments: dict[str, Any], choice: Any
) -> None:
    """A forced call switches thinking off, so that reasoning gets "auto" and a sentence."""
    script(gateway, [PLACE])
    client.extract(MODEL, "Give it.", Place, **arguments)
    request = gateway.last_request.json
    assert request["options"]["toolChoice"] == choice
    assert ("Always" in request["context"]["tools"][0]["description"]) == (choice == "auto")


def test_other_tools_are_declared_and_their_calls_answered(
    client: Client, gateway: FakeGateway
) -> None:
    """A call of another tool is answered as not run, so that no call stays open."""
    clock = Tool("clock", "Tell the time.", {"type": "object"})
    gateway.reply(tool_calls=[answer({}, name="clock"), answer({"name": 1}, call_id="call_2")])
    script(gateway, [PLACE])
    client.extract(MODEL, "Give it.", Place, tools=[clock])
    results = gateway.last_request.messages[-2:]
    assert [(r["toolCallId"], r["isError"]) for r in results] == [
        ("call_1", True),
        ("call_2", True),
    ]
    assert results[0]["content"][0]["text"] == "not run"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"into": object}, "object has no JSON Schema"),
        ({"into": Client}, "Client has no JSON Schema"),
        ({"into": {"type": "array"}}, 'must have the type "object"'),
        ({"into": {"default": {1}}}, "cannot be written as JSON"),
        ({"tools": [Tool("answer", "Mine.", {})]}, "rename yours"),
        ({"tool_choice": "auto"}, "force="),
        ({"retries": -1}, "retries must be"),
    ],
    ids=str,
)
def test_a_bad_call_is_refused_before_the_first_request(
    client: Client, gateway: FakeGateway, arguments: dict[str, Any], text: str
) -> None:
    """The error says what is wrong, for a client, a conversation and a batch."""
    call: dict[str, Any] = {"prompt": "Give it.", "into": Place, **arguments}
    with pytest.raises(ConfigurationError, match=text):
        client.extract(MODEL, **call)
    if "tools" not in call:
        with pytest.raises(ConfigurationError, match=text):
            Conversation(client, MODEL).extract(**call)
    if "retries" not in call:
        with pytest.raises(ConfigurationError, match=text):
            client.map(MODEL, [call.pop("prompt")], **call)
    assert gateway.requests == []


def test_without_msgspec_the_extra_is_named(
    client: Client, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema needs no library; a type does."""
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ConfigurationError, match=r"pip install '[^']*\[tools\]'"):
        client.extract(MODEL, "Give it.", int)
    script(gateway, [{"a": 1}])
    assert client.extract(MODEL, "Give it.", {"type": "object"}) == {"a": 1}


def test_a_signal_cancels_it(client: Client) -> None:
    """An extraction is cancelled as a turn is."""
    controller = AbortController()
    controller.abort("enough")
    with pytest.raises(AbortError, match="enough"):
        client.extract(MODEL, "Give it.", Place, signal=controller.signal)


def test_a_context_keeps_its_tools_and_messages(client: Client, gateway: FakeGateway) -> None:
    """The caller's context is not changed."""
    context = Context([UserMessage("Give it.")], tools=[Tool("clock", "Tell.", {})])
    script(gateway, [{}, PLACE])
    client.extract(MODEL, context, Place)
    assert len(context.messages) == 1
    assert context.tools is not None
    assert len(context.tools) == 1


def test_a_conversation_keeps_the_turns(client: Client, gateway: FakeGateway) -> None:
    """Afterwards the history has the prompt, the call and its result, and can be continued."""
    chat = Conversation(client, MODEL)
    script(gateway, [{"name": 1}, PLACE])
    assert chat.extract(Place, "Give it.") == Place("Paris", 2_100_000)
    roles = [message.role for message in chat.messages]
    assert roles == ["user", "assistant", "toolResult", "assistant", "toolResult"]
    assert chat.context.tools is None
    gateway.reply("You are welcome.")
    assert chat.ask("Thanks.").text == "You are welcome."
    assert len(gateway.last_request.messages) == 6


def test_a_failed_extraction_adds_nothing_to_the_history(
    client: Client, gateway: FakeGateway
) -> None:
    """The history is as before, and the conversation is free."""
    chat = Conversation(client, MODEL)
    script(gateway, [{"name": 1}])
    with pytest.raises(ExtractionError):
        chat.extract(Place, "Give it.", retries=0)
    assert chat.messages == []
    gateway.reply("Hello.")
    assert chat.ask("Hi.").text == "Hello."


def test_a_batch_of_values(client: Client, gateway: FakeGateway, tmp_path: Path) -> None:
    """With `into` each result's value has the type; a rerun converts the saved answers."""

    def reply(request: Any) -> Reply:
        name: Any = request.messages[0]["content"]
        wrong = name == "p1" and len(request.messages) == 1
        return Reply(tool_calls=[answer({"name": 5 if wrong else name})])

    gateway.default = reply
    prompts, save = ["p0", "p1", "p2"], tmp_path / "save.jsonl"
    results = client.map(MODEL, prompts, into=Place, save=save).results()
    assert [r.value for r in results] == [Place("p0"), Place("p1"), Place("p2")]
    assert [r.attempts for r in results] == [1, 2, 1]
    assert all(isinstance(r.message, AssistantMessage) for r in results)
    again = client.map(MODEL, prompts, into=Place, save=save).results()
    assert [r.value for r in again] == [r.value for r in results]
    assert all(r.reused for r in again)
    with pytest.raises(ConfigurationError, match="other arguments"):
        client.map(MODEL, prompts, into=Positive, save=save)
    assert len(gateway.requests) == 4


def test_a_misfit_in_a_batch_is_a_failure(client: Client, gateway: FakeGateway) -> None:
    """After its corrections the error is that of the prompt."""
    gateway.default = Reply(tool_calls=[answer({"name": 5})])
    [result] = client.map(MODEL, ["p"], into=Place, on_error="keep")
    assert isinstance(result.error, ExtractionError)
    assert result.attempts == 3
