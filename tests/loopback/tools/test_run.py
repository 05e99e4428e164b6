"""`Conversation.run`: each call gets a result, in order, and the model continues."""

from __future__ import annotations

import contextvars
import inspect
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from pi_native import (
    AbortSignal,
    AssistantMessage,
    Client,
    ConfigurationError,
    Conversation,
    ConversationBusyError,
    ImageContent,
    TextContent,
    Tool,
    ToolCall,
    ToolError,
    ToolResultMessage,
    ToolRoundsError,
    UserMessage,
    tool,
)
from pi_native.testing import FakeGateway, Reply

from .conftest import MODEL, Chat, assert_closed, calls, results


def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


def echo(text: str) -> str:
    """Return the text."""
    return text


def fails(reason: str) -> str:
    """Fail for a reason."""
    raise ToolError(reason)


def crashes() -> str:
    """Raise an error that has a secret."""
    raise RuntimeError("the password is hunter2")


def sent_results(gateway: FakeGateway) -> list[tuple[str, bool]]:
    """Return the results in the last request, each with its mark as an error."""
    messages = gateway.last_request.messages
    found = [message for message in messages if message["role"] == "toolResult"]
    return [("".join(b["text"] for b in m["content"]), m["isError"]) for m in found]


def test_a_tool_runs_and_the_model_answers(chat: Chat, gateway: FakeGateway) -> None:
    """The second request has the call and its result, and the history all four messages."""
    calls(gateway, ("add", {"left": 1, "right": 2})).reply("It is 3.")
    conversation = chat(add)
    assert conversation.run("What is 1 + 2?").text == "It is 3."
    assert sent_results(gateway) == [("3", False)]
    [declared] = gateway.requests[0].json["context"]["tools"]
    assert (declared["name"], declared["description"]) == ("add", "Add two numbers.")
    roles = [message.role for message in conversation.messages]
    assert roles == ["user", "assistant", "toolResult", "assistant"]
    assert_closed(conversation.messages)


def test_an_answer_without_a_call_is_the_end(chat: Chat, gateway: FakeGateway) -> None:
    """A run without calls is a turn."""
    gateway.reply("Hello.")
    conversation = chat()
    assert conversation.run("Hi").text == "Hello."
    assert len(gateway.requests) == 1
    assert [message.role for message in conversation.messages] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (("nope", {}), "there is no tool 'nope'; the tools are: add, fails"),
        (("add", {"left": "1", "right": 2}), "$.left: Expected `int`, got `str`"),
        (("add", {"left": 1}), "$: Object missing required field `right`"),
        (("add", {"left": 1, "right": 2, "up": 3}), "$: Object contains unknown field `up`"),
        (("fails", {"reason": "no such city"}), "no such city"),
    ],
    ids=str,
)
def test_a_call_that_cannot_succeed_is_an_error_result(
    chat: Chat, gateway: FakeGateway, call: tuple[str, Any], result: str
) -> None:
    """The model gets the reason, and the loop continues."""
    calls(gateway, call, ("add", {"left": 1, "right": 1})).reply("Well.")
    assert chat(add, fails).run("Go").text == "Well."
    (text, is_error), second = sent_results(gateway)
    assert text.startswith(result)
    assert is_error
    assert second == ("2", False)


def test_an_unexpected_exception_is_raised_and_not_sent(chat: Chat, gateway: FakeGateway) -> None:
    """The other calls are answered, the provider sees no text of the exception."""
    calls(gateway, ("crashes", {}), ("echo", {"text": "a"}))
    conversation = chat(crashes, echo)
    with pytest.raises(RuntimeError, match="hunter2") as caught:
        conversation.run("Go")
    assert caught.traceback[-1].name == "crashes"
    assert results(conversation.messages) == [("the tool failed", True), ("a", False)]
    gateway.reply("I see.")
    assert conversation.run().text == "I see."
    assert "hunter2" not in gateway.last_request.body.decode()


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt, StopIteration, Exception])
def test_any_exception_is_raised_as_it_is(
    chat: Chat, gateway: FakeGateway, exception: type[BaseException]
) -> None:
    """An exception outside of `Exception`, and one that ends generators, are no special cases."""
    failure = exception("x")

    def breaks() -> str:
        """Break."""
        raise failure

    calls(gateway, ("breaks", {}))
    conversation = chat(breaks)
    with pytest.raises(exception) as caught:
        conversation.run("Go")
    assert caught.value is failure
    assert results(conversation.messages) == [("the tool failed", True)]


def test_a_type_that_crashes_is_a_tool_that_fails(chat: Chat, gateway: FakeGateway) -> None:
    """An exception of a parameter's own class is no misfit; the other calls run."""

    def visit(place: Crashing) -> str:
        """Visit a place."""
        return repr(place)

    calls(gateway, ("visit", {"place": {"name": "a"}}), ("echo", {"text": "b"}))
    conversation = chat(visit, echo)
    with pytest.raises(KeyError, match="a"):
        conversation.run("Go")
    assert results(conversation.messages) == [("the tool failed", True), ("b", False)]


@attrs.define
class Crashing:
    """A class with a bug."""

    name: str

    def __attrs_post_init__(self) -> None:
        raise KeyError(self.name)


@attrs.define
class Place:
    """A place."""

    name: str


IMAGE = ImageContent("aGk=", "image/png")


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("as it is: ü", [TextContent("as it is: ü")]),
        ("", [TextContent("")]),
        (IMAGE, [IMAGE]),
        ([TextContent("a"), IMAGE], [TextContent("a"), IMAGE]),
        (["a", IMAGE], [TextContent("a"), IMAGE]),
        (5, [TextContent("5")]),
        (None, [TextContent("null")]),
        ([], [TextContent("[]")]),
        ({"a": [1, "ü"]}, [TextContent('{"a":[1,"ü"]}')]),
        (Place("Paris"), [TextContent('{"name":"Paris"}')]),
        (["caf\udce9"], [TextContent('["caf\\udce9"]')]),
    ],
    ids=repr,
)
def test_a_result_is_text_blocks_or_json(
    chat: Chat, gateway: FakeGateway, value: Any, content: list[Any]
) -> None:
    """A string is sent as it is, blocks as blocks, and everything else as JSON."""

    def give() -> Any:
        """Give it."""
        return value

    calls(gateway, ("give", {})).reply("Thanks.")
    conversation = chat(give)
    conversation.run("Go")
    result = conversation.messages[2]
    assert isinstance(result, ToolResultMessage)
    assert result.content == content


def test_a_result_that_json_cannot_hold_is_raised(chat: Chat, gateway: FakeGateway) -> None:
    """The error names the tool and the type; the model sees that the tool failed."""

    def give() -> Any:
        """Give it."""
        return object()

    calls(gateway, ("give", {}))
    conversation = chat(give)
    with pytest.raises(TypeError, match=r"tool 'give' returned .* type object has no JSON form"):
        conversation.run("Go")
    assert results(conversation.messages) == [("the tool failed", True)]


def test_a_tool_cannot_change_the_history(chat: Chat, gateway: FakeGateway) -> None:
    """Arguments and the call that are handed in are copies."""

    def change(items: Any, call: ToolCall) -> str:
        """Change its arguments."""
        items.append("changed")
        call.arguments.clear()
        return "done"

    calls(gateway, ("change", {"items": ["a"]})).reply("Ok.")
    chat(change).run("Go")
    [call] = gateway.last_request.messages[1]["content"]
    assert call["arguments"] == {"items": ["a"]}


def test_a_call_and_a_signal_are_handed_in(chat: Chat, gateway: FakeGateway) -> None:
    """Parameters of these types are no arguments of the model."""
    seen: list[Any] = []

    def look(
        text: str, call: ToolCall, signal: AbortSignal, other: AbortSignal | None = None
    ) -> None:
        """Look."""
        seen.extend((text, call.id, signal.aborted, other is signal))

    calls(gateway, ("look", {"text": "a"})).reply("Ok.")
    chat(look).run("Go")
    assert seen == ["a", "call_1", False, True]
    parameters = gateway.requests[0].json["context"]["tools"][0]["parameters"]
    assert parameters["properties"].keys() == {"text"}


class Meeting:
    """Tools that wait for each other, and note how many run at once."""

    def __init__(self, together: int) -> None:
        self.barrier = threading.Barrier(together, timeout=20)
        self.lock = threading.Lock()
        self.running = self.most = 0

    def count(self, do: Callable[[], Any]) -> str:
        """Count a running tool."""
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            do()
        finally:
            with self.lock:
                self.running -= 1
        return threading.current_thread().name

    def meet(self) -> str:
        """Wait for the others."""
        return self.count(self.barrier.wait)

    def alone(self) -> str:
        """Wait for no other."""
        return self.count(lambda: None)


def test_the_calls_of_a_round_run_in_parallel(chat: Chat, gateway: FakeGateway) -> None:
    """Three tools that wait for each other end, in threads named after them."""
    meeting = Meeting(3)
    calls(gateway, *[("meet", {})] * 3).reply("Ok.")
    conversation = chat(meeting.meet)
    conversation.run("Go")
    assert meeting.most == 3
    assert results(conversation.messages) == [("tool-meet", False)] * 3


@pytest.mark.parametrize(
    "settings", [{"workers": 1}, {"tool": tool(parallel=False)}], ids=["one worker", "one tool"]
)
def test_a_round_is_serial_on_request(
    chat: Chat, gateway: FakeGateway, settings: dict[str, Any]
) -> None:
    """With one worker, or with one tool that is not parallel, one tool runs at a time."""
    meeting = Meeting(1)
    decorate = settings.pop("tool", tool)
    calls(gateway, ("meet", {}), ("alone", {}), ("meet", {})).reply("Ok.")
    chat(meeting.meet, decorate(meeting.alone)).run("Go", **settings)
    assert meeting.most == 1


def test_the_number_of_workers_is_a_limit(chat: Chat, gateway: FakeGateway) -> None:
    """Two workers run six calls, two at once."""
    meeting = Meeting(2)
    calls(gateway, *[("meet", {})] * 6).reply("Ok.")
    chat(meeting.meet).run("Go", workers=2)
    assert meeting.most == 2


def test_tools_see_the_context_variables_of_the_caller(chat: Chat, gateway: FakeGateway) -> None:
    """A span of a trace, for example, has its parent in a tool's thread."""
    variable = contextvars.ContextVar("variable", default="unset")

    def read() -> str:
        """Read it."""
        return variable.get()

    variable.set("set")
    calls(gateway, ("read", {})).reply("Ok.")
    conversation = chat(read)
    conversation.run("Go")
    assert results(conversation.messages) == [("set", False)]


def test_a_tool_may_call_the_client(client: Client, gateway: FakeGateway) -> None:
    """A turn inside a tool is a turn as any other."""

    def ask(question: str) -> str:
        """Ask another model."""
        return client.complete("acme/other", question).text

    gateway.add(Reply("Inside."), model="acme/other")
    calls(gateway, ("ask", {"question": "Why?"})).reply("Outside.")
    conversation = Conversation(client, MODEL, tools=[ask])
    assert conversation.run("Go").text == "Outside."
    assert results(conversation.messages) == [("Inside.", False)]


def test_a_tool_cannot_use_its_own_conversation(chat: Chat, gateway: FakeGateway) -> None:
    """The conversation is busy while its tools run."""

    def ask() -> str:
        """Ask the same conversation."""
        return conversation.ask("Why?").text

    conversation = chat(ask)
    calls(gateway, ("ask", {}))
    with pytest.raises(ConversationBusyError):
        conversation.run("Go")
    assert len(gateway.requests) == 1
    assert_closed(conversation.messages)


def test_on_tool_gets_each_result_in_the_thread_of_the_caller(
    chat: Chat, gateway: FakeGateway
) -> None:
    """Results of calls that did not run come first."""
    seen: list[tuple[str, str]] = []

    def on_tool(call: ToolCall, result: ToolResultMessage) -> None:
        assert threading.current_thread() is threading.main_thread()
        seen.append((call.name, str(result)))

    calls(gateway, ("echo", {"text": "a"}), ("nope", {})).reply("Ok.")
    chat(echo).run("Go", on_tool=on_tool)
    assert seen == [("nope", "there is no tool 'nope'; the tools are: echo"), ("echo", "a")]


def test_what_on_tool_raises_ends_the_run(chat: Chat, gateway: FakeGateway) -> None:
    """It is raised as it is, and each call is answered."""

    def on_tool(*_: Any) -> None:
        raise ValueError("full disk")

    calls(gateway, ("echo", {"text": "a"}), ("echo", {"text": "b"}))
    conversation = chat(echo)
    with pytest.raises(ValueError, match="full disk"):
        conversation.run("Go", on_tool=on_tool, workers=1)
    assert results(conversation.messages) == [("a", False), ("not run", True)]


class TestRounds:
    def test_the_last_round_runs_no_tool(self, chat: Chat, gateway: FakeGateway) -> None:
        """Three rounds are three requests, and two rounds of tools."""
        for text in "abc":
            calls(gateway, ("echo", {"text": text}))
        conversation = chat(echo)
        with pytest.raises(ToolRoundsError, match="still calls tools after 3 requests") as caught:
            conversation.run("Go", max_rounds=3)
        assert caught.value.rounds == len(gateway.requests) == 3
        assert isinstance(caught.value.partial, AssistantMessage)
        assert caught.value.partial is conversation.messages[-2]
        assert results(conversation.messages) == [("a", False), ("b", False), ("not run", True)]
        gateway.reply("At last.")
        assert conversation.run().text == "At last."

    def test_a_call_that_fails_in_the_same_way_ends_the_run(
        self, chat: Chat, gateway: FakeGateway
    ) -> None:
        """The third equal call with an equal failing result is the last one."""
        for _ in range(3):
            calls(gateway, ("fails", {"reason": "no"}), ("echo", {"text": "a"}))
        conversation = chat(fails, echo)
        with pytest.raises(ToolRoundsError, match="same failing call of 'fails' in 3 rounds: no"):
            conversation.run("Go")
        assert len(gateway.requests) == 3
        assert results(conversation.messages) == [("no", True), ("a", False)] * 3

    def test_other_failures_and_equal_successes_do_not_end_it(
        self, chat: Chat, gateway: FakeGateway
    ) -> None:
        """Only equal calls with equal failing results count."""
        for number in range(4):
            calls(gateway, ("fails", {"reason": str(number)}), ("echo", {"text": "a"}))
        gateway.reply("Ok.")
        assert chat(fails, echo).run("Go").text == "Ok."

    def test_a_forced_choice_is_for_the_first_request(
        self, chat: Chat, gateway: FakeGateway
    ) -> None:
        """Later requests are free to answer, or the run could not end."""
        calls(gateway, ("echo", {"text": "a"})).reply("Ok.")
        chat(echo).run("Go", tool_choice="any")
        choices = [request.options["toolChoice"] for request in gateway.requests]
        assert choices == ["any", "auto"]

    def test_a_half_written_call_does_not_run(self, chat: Chat, gateway: FakeGateway) -> None:
        """A turn that ends by its length is the last one; its calls are answered."""
        calls(gateway, ("echo", {"text": "a"}), ("echo", {}), stop_reason="length")
        conversation = chat(echo)
        assert conversation.run("Go").stop_reason == "length"
        text = "not run: the answer was cut off at the limit of output tokens"
        assert results(conversation.messages) == [(text, True)] * 2
        gateway.reply("Ok.")
        assert conversation.run().text == "Ok."


class TestApproval:
    def approved(
        self, chat: Chat, gateway: FakeGateway, approve: Callable[[ToolCall], Any]
    ) -> Conversation:
        """Return a conversation after a run with an approval of each of three calls."""
        asked = [("echo", {"text": text}) for text in "abc"]
        calls(gateway, *asked).reply("Ok.")
        conversation = chat(tool(approve=True)(echo))
        conversation.run("Go", approve=approve)
        return conversation

    @pytest.mark.parametrize(
        ("verdict", "result"),
        [
            (True, ("b", False)),
            (False, ("refused", True)),
            ("not today", ("refused: not today", True)),
            ("", ("refused", True)),
            ({"text": "other"}, ("other", False)),
        ],
        ids=repr,
    )
    def test_a_verdict(
        self, chat: Chat, gateway: FakeGateway, verdict: Any, result: tuple[str, bool]
    ) -> None:
        """True runs the call, False or a reason refuses it, and a mapping replaces arguments."""
        conversation = self.approved(
            chat, gateway, lambda call: verdict if call.arguments["text"] == "b" else True
        )
        assert results(conversation.messages) == [("a", False), result, ("c", False)]

    def test_it_is_asked_in_order_before_any_tool_runs(
        self, chat: Chat, gateway: FakeGateway
    ) -> None:
        """All questions come in the caller's thread, and then the tools run."""
        seen: list[str] = []

        @tool(approve=True)
        def note(text: str) -> str:
            """Note it."""
            seen.append(f"ran {text}")
            return text

        def approve(call: ToolCall) -> bool:
            assert threading.current_thread() is threading.main_thread()
            seen.append(f"asked {call.arguments['text']}")
            call.arguments.clear()  # it is a copy
            return True

        calls(gateway, ("note", {"text": "a"}), ("note", {"text": "b"})).reply("Ok.")
        conversation = chat(note)
        conversation.run("Go", approve=approve, workers=1)
        assert seen == ["asked a", "asked b", "ran a", "ran b"]

    def test_it_is_not_asked_for_what_cannot_run(self, chat: Chat, gateway: FakeGateway) -> None:
        """Misfits, unknown tools and tools without approval are no question."""
        calls(gateway, ("add", {"left": "x"}), ("nope", {}), ("echo", {"text": "a"})).reply("Ok.")
        conversation = chat(tool(approve=True)(add), echo)
        conversation.run("Go", approve=lambda _: pytest.fail("asked"))
        assert [is_error for _, is_error in results(conversation.messages)] == [True, True, False]

    def test_replaced_arguments_are_noted(self, chat: Chat, gateway: FakeGateway) -> None:
        """The history keeps the call of the model, and its result the arguments that ran."""
        conversation = self.approved(chat, gateway, lambda _: {"text": "other"})
        answer, result = conversation.messages[1:3]
        assert isinstance(answer, AssistantMessage)
        assert isinstance(result, ToolResultMessage)
        assert answer.tool_calls[0].arguments == {"text": "a"}
        assert result.details == {"arguments": {"text": "other"}}

    @pytest.mark.parametrize(
        ("verdict", "error", "text"),
        [
            (None, TypeError, "must return True, False, a reason or arguments, not NoneType"),
            (1, TypeError, "not int"),
            ({"text": 5}, ValueError, r"do not fit: \$\.text: Expected `str`"),
        ],
        ids=repr,
    )
    def test_a_bad_verdict_is_raised(
        self, chat: Chat, gateway: FakeGateway, verdict: Any, error: type[Exception], text: str
    ) -> None:
        """Nothing runs, and each call is answered."""
        calls(gateway, ("echo", {"text": "a"}), ("echo", {"text": "b"}))
        conversation = chat(tool(approve=True)(echo))
        with pytest.raises(error, match=text):
            conversation.run("Go", approve=lambda _: verdict)
        assert results(conversation.messages) == [("not run", True)] * 2


class TestOpenCalls:
    def open(self, chat: Chat, *tools: Any, answered: int = 0) -> Conversation:
        """Return a conversation whose history ends in two calls, some of them answered."""
        made = [ToolCall(f"call_{n}", "echo", {"text": str(n)}) for n in (1, 2)]
        answer = AssistantMessage([*made], stop_reason="toolUse")
        done = [ToolResultMessage(call.id, call.name, "old") for call in made[:answered]]
        conversation = chat(*tools)
        conversation.add(UserMessage("Go"), answer, *done)
        return conversation

    @pytest.mark.parametrize(
        ("answered", "texts"), [(0, ["1", "2"]), (1, ["old", "2"]), (2, ["old", "old"])]
    )
    def test_a_run_begins_with_them(
        self, chat: Chat, gateway: FakeGateway, answered: int, texts: list[str]
    ) -> None:
        """Calls without a result run first; the request then has all results."""
        conversation = self.open(chat, echo, answered=answered)
        gateway.reply("Ok.")
        assert conversation.run(max_rounds=1).text == "Ok."
        assert [text for text, _ in sent_results(gateway)] == texts
        assert_closed(conversation.messages)

    def test_a_prompt_comes_after_their_results(self, chat: Chat, gateway: FakeGateway) -> None:
        """The results follow the calls, as providers require."""
        conversation = self.open(chat, echo)
        gateway.reply("Ok.")
        conversation.run("Next")
        roles = [message["role"] for message in gateway.last_request.messages]
        assert roles == ["user", "assistant", "toolResult", "toolResult", "user"]

    def test_a_crash_in_them_is_raised_before_a_request(
        self, chat: Chat, gateway: FakeGateway
    ) -> None:
        """The results are in the history, and the prompt is not."""

        @tool(name="echo")
        def breaks(text: str) -> str:
            """Break."""
            raise RuntimeError(text)

        conversation = self.open(chat, breaks)
        with pytest.raises(RuntimeError):
            conversation.run("Next")
        assert gateway.requests == []
        assert_closed(conversation.messages)
        assert conversation.messages[-1].role == "toolResult"

    def test_a_loaded_history_continues_with_functions(
        self, chat: Chat, client: Client, gateway: FakeGateway, tmp_path: Path
    ) -> None:
        """`load` attaches the functions of a file's tools by their names."""
        path = tmp_path / "chat.jsonl"
        self.open(chat, echo, add).save(path)
        loaded = Conversation.load(path, client, MODEL, tools=[echo, add])
        gateway.reply("Ok.")
        assert loaded.run().text == "Ok."
        declared = [each["name"] for each in gateway.last_request.json["context"]["tools"]]
        assert declared == ["echo", "add"]
        loaded.save(path)
        assert_closed(Conversation.load(path).messages)

    def test_a_file_has_no_functions(
        self, chat: Chat, client: Client, gateway: FakeGateway, tmp_path: Path
    ) -> None:
        """A declared tool without a function is refused before a request, and nothing changes."""
        path = tmp_path / "chat.jsonl"
        self.open(chat, echo).save(path)
        loaded = Conversation.load(path, client, MODEL)
        with pytest.raises(ConfigurationError, match=r"'echo' has no function.*Conversation.load"):
            loaded.run()
        assert len(loaded.messages) == 2
        assert gateway.requests == []


@pytest.mark.parametrize(
    ("tools", "arguments", "text"),
    [
        ([Tool("clock", "Tell.", {})], {}, "tool 'clock' has no function to run"),
        ([tool(approve=True)(echo)], {}, "tool 'echo' requires approval"),
        ([echo], {"max_rounds": 0}, "max_rounds must be a whole number, 1 or more, not 0"),
        ([echo], {"workers": True}, "workers must be"),
        ([], {"prompt": None}, "nothing to say"),
    ],
    ids=["no function", "no approval", "max_rounds", "workers", "prompt"],
)
def test_a_run_that_cannot_work_is_refused_before_a_request(
    chat: Chat, gateway: FakeGateway, tools: list[Any], arguments: dict[str, Any], text: str
) -> None:
    """The call itself raises, also that of `rounds`."""
    conversation = chat(*tools)
    for method in (conversation.run, conversation.rounds):
        with pytest.raises(ConfigurationError, match=text):
            method(**{"prompt": "Go", **arguments})
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"max_token": 5}, TypeError, "did you mean max_tokens"),
        ({"signal": 5}, TypeError, "signal must be"),
        ({"approve": True}, TypeError, "approve must be a function, not bool"),
        ({"on_tool": []}, TypeError, "on_tool must be a function, not list"),
        ({"prompt": 5}, TypeError, "a prompt is"),
        ({"total_timeout": "soon"}, ConfigurationError, "total_timeout"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused_before_an_open_call_runs(
    chat: Chat, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    """No tool runs, and the history is unchanged."""
    conversation = TestOpenCalls().open(chat, echo)
    for method in (conversation.run, conversation.rounds):
        with pytest.raises(error, match=text):
            method(**arguments)
    assert len(conversation.messages) == 2


def test_a_native_tool_needs_no_function(chat: Chat, gateway: FakeGateway) -> None:
    """The provider runs it."""
    gateway.reply("Ok.")
    search = Tool("search", "Search.", {}, native={"type": "web_search"})
    assert chat(search, echo).run("Go").text == "Ok."


def test_tools_of_one_name_are_refused(client: Client, gateway: FakeGateway) -> None:
    """The calls that take tools say so, and a stream fails with it."""
    tools = [echo, tool(name="echo")(add)]
    for call in (
        lambda: client.complete(MODEL, "Hi", tools=tools),
        lambda: client.stream(MODEL, "Hi", tools=tools).result(),
        lambda: Conversation(client, MODEL, tools=tools),
    ):
        with pytest.raises(ConfigurationError, match="two tools have the name 'echo'"):
            call()
    assert gateway.requests == []


def test_a_client_declares_functions_and_runs_none(client: Client, gateway: FakeGateway) -> None:
    """`complete`, `stream` and a turn of a conversation return the calls."""
    for _ in range(3):
        calls(gateway, ("echo", {"text": "a"}))
    made = [
        client.complete(MODEL, "Hi", tools=[echo]),
        client.stream(MODEL, "Hi", tools=[tool(echo)]).result(),
        Conversation(client, MODEL, tools=[echo]).ask("Hi"),
    ]
    assert [message.tool_calls[0].name for message in made] == ["echo"] * 3
    declared = [request.json["context"]["tools"] for request in gateway.requests]
    assert declared[0] == declared[1] == declared[2]


def test_usage_is_that_of_all_rounds(chat: Chat, gateway: FakeGateway) -> None:
    """The conversation adds up what each request has cost."""
    calls(gateway, ("echo", {"text": "a"}), usage={"input": 10, "output": 1})
    gateway.reply("Ok.", usage={"input": 20, "output": 2})
    conversation = chat(echo)
    conversation.run("Go")
    assert (conversation.usage.input, conversation.usage.output) == (30, 3)


def test_a_copy_has_the_functions(chat: Chat, gateway: FakeGateway) -> None:
    """Both conversations can run them."""
    copy = chat(echo).copy()
    calls(gateway, ("echo", {"text": "a"})).reply("Ok.")
    assert copy.run("Go").text == "Ok."


@pytest.mark.parametrize("module", ["msgspec", "docstring_parser"])
def test_without_a_library_the_extra_is_named(
    client: Client, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """A function needs both libraries, a `Tool` none."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=r"pip install '[^']*\[tools\]'"):
        client.complete(MODEL, "Hi", tools=[echo])
    gateway.reply("Ok.")
    assert client.complete(MODEL, "Hi", tools=[Tool("echo", "Echo.", {})]).text == "Ok."


def test_results_are_json_for_the_provider(chat: Chat, gateway: FakeGateway) -> None:
    """The text of a result can be read as JSON."""

    def give() -> dict[int, Any]:
        """Give it."""
        return {1: (1, {2}), 2: float("nan")}

    calls(gateway, ("give", {})).reply("Ok.")
    chat(give).run("Go")
    [(text, _)] = sent_results(gateway)
    assert json.loads(text) == {"1": [1, [2]], "2": None}


def test_a_batch_describes_its_functions_once(client: Client, gateway: FakeGateway) -> None:
    """The schema is not made again for each prompt, and a bad function is refused at the call."""
    described = 0

    class Counted:
        """A callable object that notes each look at its signature."""

        __name__ = "counted"

        @property
        def __signature__(self) -> inspect.Signature:
            nonlocal described
            described += 1
            return inspect.signature(echo)

        def __call__(self, text: str) -> str:
            """Return the text."""
            return text

    gateway.default = Reply("Ok.")
    batch = client.map(MODEL, ["a", "b", "c"], tools=[Counted()])
    assert [result.value for result in batch] == ["Ok."] * 3
    assert described == 1
    declared = gateway.last_request.json["context"]["tools"]
    assert [each["name"] for each in declared] == ["counted"]
    with pytest.raises(ConfigurationError, match="no annotation"):
        client.map(MODEL, ["a"], tools=[untyped])


def untyped(text):  # type: ignore[no-untyped-def]
    """Return the text."""
    return text
