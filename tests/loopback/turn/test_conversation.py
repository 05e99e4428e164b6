"""A conversation adds each turn over a real socket to its history."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pi_native import (
    AbortController,
    AssistantMessage,
    AssistantMessageEventStream,
    Client,
    ConfigurationError,
    Context,
    Conversation,
    ConversationBusyError,
    DoneEvent,
    ErrorEvent,
    GatewayConnectionError,
    GatewayServerError,
    PiNativeError,
    ProviderError,
    TextContent,
    Tool,
    ToolCall,
    ToolResultMessage,
    UserMessage,
    to_wire,
)
from pi_native.testing import Answer, Events, FakeGateway, HangUp, HTTPError, Raw, Reply, Stall

from ...conftest import wait_until

CLOCK = Tool("clock", "Tells the time.", {"type": "object", "properties": {}})
FAILED = AssistantMessage(
    [TextContent("I thi")], stop_reason="error", error_message="overloaded", error_status=400
)


@pytest.fixture
def chat(client: Client) -> Conversation:
    """Return a conversation after one turn."""
    chat = Conversation(client, "acme/large", system="Be brief.", temperature=0)
    chat.add(UserMessage("hi"), AssistantMessage([TextContent("Hello.")]))
    return chat


def says(chat: Conversation) -> list[str]:
    """Return the text of each message, in order."""
    texts = []
    for message in chat.messages:
        assert isinstance(message, UserMessage | AssistantMessage)
        text = message.content if isinstance(message, UserMessage) else message.text
        texts.append(str(text))
    return texts


def test_both_sides_of_a_turn_are_added(gateway: FakeGateway, chat: Conversation) -> None:
    """Prompt and answer are added unchanged, and are sent with the next turn."""
    gateway.reply("One.").reply("Two.")
    first = chat.ask("What comes first?")
    assert chat.messages[-1] is first
    before = [to_wire(message) for message in chat.messages]
    chat.ask(UserMessage("And then?"), temperature=1)
    assert says(chat) == ["hi", "Hello.", "What comes first?", "One.", "And then?", "Two."]
    one, two = gateway.requests
    assert one.system_prompt == two.system_prompt == ["Be brief."]
    assert two.messages[:-1] == before
    assert [one.options["temperature"], two.options["temperature"]] == [0, 1]
    assert chat.usage.input == sum(m.usage.input for m in (first, chat.messages[-1]))  # type: ignore[union-attr]
    assert chat.usage.output > 0


@pytest.mark.parametrize("way", ["result", "events", "text"])
def test_a_turn_is_in_the_history_when_its_stream_has_ended(
    gateway: FakeGateway, chat: Conversation, way: str
) -> None:
    """The history is complete when a caller sees the end of the stream."""
    ways: dict[str, Callable[[AssistantMessageEventStream], object]] = {
        "result": lambda stream: stream.result(),
        "events": list,
        "text": lambda stream: list(stream.text_stream),
    }
    for number in range(20):
        gateway.reply(f"{number}!")
        stream = chat.stream(f"{number}?")
        ways[way](stream)
        assert says(chat)[-2:] == [f"{number}?", f"{number}!"]


def test_nothing_is_added_during_the_response(gateway: FakeGateway, chat: Conversation) -> None:
    """Both messages are added together, at the end of the turn."""
    gateway.reply("One two three", fault=Stall(after=3))
    with chat.stream("Count.") as stream:
        next(stream)
        assert len(chat.messages) == 2
        gateway.release()
        stream.result()
    assert len(chat.messages) == 4


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (HTTPError(503, "busy"), GatewayServerError),
        (Reply("Hello aga", fault=HangUp(after=3)), GatewayConnectionError),
        (Events([ErrorEvent("error", FAILED)]), ProviderError),
        (Raw([b"data: nonsense\n\n"]), PiNativeError),
    ],
    ids=["refused", "cut", "failed by the provider", "no protocol"],
)
def test_a_turn_that_fails_adds_nothing(
    gateway: FakeGateway, chat: Conversation, answer: Answer, failure: type[PiNativeError]
) -> None:
    """The history is unchanged, and the same prompt can be sent again."""
    gateway.add(answer, Reply("Yes."))
    with pytest.raises(failure):
        chat.ask("Are you there?")
    assert says(chat) == ["hi", "Hello."]
    chat.ask("Are you there?")
    assert says(chat) == ["hi", "Hello.", "Are you there?", "Yes."]


@pytest.mark.parametrize("means", ["abort", "with", "signal"])
def test_a_turn_that_is_cancelled_adds_nothing(
    gateway: FakeGateway, chat: Conversation, means: str
) -> None:
    """The partial content is on the stream, and the next turn can start at once."""
    controller = AbortController()
    gateway.reply("One two three four", fault=Stall(after=4)).reply("Yes.")
    with chat.stream("Count.", signal=controller.signal) as stream:
        assert next(stream.text_stream)
        if means == "abort":
            stream.abort()
        elif means == "signal":
            controller.abort()
    assert stream.result().stop_reason == "aborted"
    assert stream.partial is not None
    assert says(chat) == ["hi", "Hello."]
    assert chat.ask("Are you there?").text == "Yes."


def test_an_end_without_an_answer_adds_nothing(gateway: FakeGateway, chat: Conversation) -> None:
    """A synthetic message is not added, also if an incomplete turn is accepted."""
    gateway.raw([b": nothing\n\n"])
    assert chat.ask("Are you there?", on_incomplete="done").content == []
    assert says(chat) == ["hi", "Hello."]


def test_an_answer_without_content_is_one(gateway: FakeGateway, chat: Conversation) -> None:
    """An empty message of the model is added to the history."""
    gateway.events([DoneEvent("stop", AssistantMessage([]))])
    chat.ask("Say nothing.")
    assert says(chat)[-2:] == ["Say nothing.", ""]


def test_there_is_one_turn_at_a_time(gateway: FakeGateway, chat: Conversation) -> None:
    """A second concurrent turn is an error; a turn of a copy is not."""
    gateway.reply("One two three", fault=Stall(after=3)).reply("From the copy.")
    with chat.stream("Count.") as stream:
        next(stream)
        with pytest.raises(ConversationBusyError, match="copy"):
            chat.ask("And now?")
        twin = chat.copy()
        assert twin.ask("And now?").text == "From the copy."
        gateway.release()
        stream.result()
    assert says(chat) == ["hi", "Hello.", "Count.", "One two three"]
    assert says(twin) == ["hi", "Hello.", "And now?", "From the copy."]


def test_of_many_threads_one_has_the_turn(gateway: FakeGateway, chat: Conversation) -> None:
    """One thread gets the turn, all others get an error, and the history has one turn more."""
    gateway.reply("Yes.", fault=Stall(after=2))
    together, refused = threading.Barrier(8), []
    streams: list[AssistantMessageEventStream] = []

    def start() -> None:
        together.wait(5)
        try:
            streams.append(chat.stream("Me?"))
        except ConversationBusyError as exc:
            refused.append(exc)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    gateway.wait_for_request()
    assert wait_until(lambda: gateway.last_request.stalled.is_set())
    gateway.release()
    [stream] = streams
    stream.result()
    assert len(refused) == 7
    assert len(gateway.requests) == 1
    assert says(chat) == ["hi", "Hello.", "Me?", "Yes."]


def test_a_stream_that_is_dropped_ends_its_turn(gateway: FakeGateway, chat: Conversation) -> None:
    """The next turn can start at once, and the dropped one adds nothing."""
    gateway.reply("One two three", fault=Stall(after=3)).reply("Yes.")
    held = [chat.stream("Count.")]
    gateway.wait_for_request()
    with pytest.warns(ResourceWarning, match="dropped"):
        held.clear()
    assert chat.ask("Are you there?").text == "Yes."
    assert says(chat) == ["hi", "Hello.", "Are you there?", "Yes."]


def test_tool_results_are_sent_without_a_prompt(gateway: FakeGateway, client: Client) -> None:
    """The results are added and sent with the history; only the answer is added to it."""
    gateway.reply(tool_calls=[ToolCall("c1", "clock", {})]).reply("Noon.")
    chat = Conversation(client, "acme/large", tools=[CLOCK])
    for call in chat.ask("What time is it?").tool_calls:
        chat.add(ToolResultMessage(call.id, call.name, "12:00"))
    assert chat.ask().text == "Noon."
    assert [m.role for m in chat.messages] == ["user", "assistant", "toolResult", "assistant"]
    assert [m["role"] for m in gateway.last_request.messages] == ["user", "assistant", "toolResult"]
    assert gateway.last_request.context["tools"] == [to_wire(CLOCK)]


def test_several_messages_are_one_prompt(gateway: FakeGateway, chat: Conversation) -> None:
    """All of them are added to the history, or none."""
    gateway.error(400, "no").reply("Yes.")
    prompt = [ToolResultMessage("c1", "clock", "12:00"), UserMessage("Well?")]
    with pytest.raises(PiNativeError):
        chat.ask(prompt)
    assert len(chat.messages) == 2
    chat.ask(prompt)
    assert chat.messages[2:4] == prompt


def test_a_loaded_conversation_continues(
    gateway: FakeGateway, client: Client, chat: Conversation, tmp_path: Path
) -> None:
    """The request after a load equals the request without it."""
    file = tmp_path / "chat.jsonl"
    chat.save(file)
    gateway.reply("Yes.").reply("Yes.")
    chat.ask("Well?")
    loaded = Conversation.load(file, client, "acme/large", temperature=0)
    loaded.ask("Well?")
    one, two = (_without_time(request.context) for request in gateway.requests)
    assert one == two


def _without_time(context: dict[str, object]) -> str:
    messages = [{**m, "timestamp": 0} for m in context["messages"]]  # type: ignore[attr-defined]
    return json.dumps({**context, "messages": messages}, sort_keys=True)


def test_a_bad_configuration_comes_out_of_the_stream(chat: Conversation) -> None:
    """The stream raises it, the history is unchanged, and the next turn can start."""
    chat.model = "/no-provider"
    stream = chat.stream("hi")
    with pytest.raises(ConfigurationError, match="provider/id"):
        stream.result()
    assert len(chat.messages) == 2
    with pytest.raises(ConfigurationError, match="provider/id"):
        chat.ask("hi")


def test_the_context_can_be_used_by_itself(
    gateway: FakeGateway, client: Client, chat: Conversation
) -> None:
    """A turn with its context, outside the conversation, does not change the conversation."""
    gateway.reply("A greeting.")
    title = client.complete("acme/small", Context([*chat.messages, UserMessage("A title?")]))
    assert title.text == "A greeting."
    assert len(chat.messages) == 2
