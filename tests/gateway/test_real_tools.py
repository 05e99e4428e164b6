"""Tools and structured output through the real gateway's Anthropic and OpenAI translations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import requests
from histories import anthropic_blocks, check_anthropic, check_native, check_openai

from pi_native import (
    Conversation,
    ExtractionError,
    ToolCall,
    ToolError,
    ToolRoundsError,
    tool,
)

pytestmark = pytest.mark.gateway

ANTHROPIC, OPENAI = "scripted/claude-sonnet-4-5", "scripted/gpt-4.1"
FIRST, SECOND = "Zmlyc3Qgc2lnbmF0dXJl", "c2Vjb25kIHNpZ25hdHVyZQ=="


@tool
def weather(city: str, days: int = 1) -> str:
    """Tell the weather."""
    if city == "Atlantis":
        raise ToolError("there is no such city")
    if city == "Gomorrah":
        raise OSError("cannot read /srv/private/ledger")
    return f"{city}: {days} sunny"


@tool(approve=True)
def delete(path: str) -> str:
    """Delete a file."""
    return f"{path} is gone"


@dataclass
class Measurement:
    """A length with its unit."""

    length: float
    unit: str


def yes(_call: ToolCall) -> bool:
    """Approve a call."""
    return True


def call(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    """Return a scripted call."""
    return {"id": id, "name": name, "json": json.dumps(arguments, ensure_ascii=False)}


def thought(text: str, signature: str) -> dict[str, Any]:
    """Return scripted thinking."""
    return {"thinking": text, "signature": signature}


class Provider:
    """The scripted providers, with the rules of the real ones for the history of each request."""

    def __init__(self, gateway: Any, upstream: Any, model: str) -> None:
        self._url = f"{gateway.control}/script"
        self._upstream = upstream
        self.model = model
        self.anthropic = model == ANTHROPIC
        self.options = {"reasoning": "high"} if self.anthropic else {}

    def script(self, *turns: tuple[str, list[dict[str, Any]]]) -> None:
        """Script the turns: why each ends, and its blocks."""
        script = [{"stop": stop, "blocks": blocks} for stop, blocks in turns]
        requests.put(self._url, json=script, timeout=30).raise_for_status()

    def bodies(self) -> list[dict[str, Any]]:
        """Return the requests so far, each checked."""
        bodies = [call["body"] for call in self._upstream.calls]
        for body in bodies:
            (check_anthropic if self.anthropic else check_openai)(body)
        for request in self._upstream.requests:
            check_native(json.loads(request["body"])["context"]["messages"])
        return bodies

    def results(self) -> list[str]:
        """Return the results in the last request."""
        messages = self.bodies()[-1]["messages"]
        if not self.anthropic:
            return [message["content"] for message in messages if message["role"] == "tool"]
        blocks = [block for message in messages for block in anthropic_blocks(message)]
        return [_text(block["content"]) for block in blocks if block["type"] == "tool_result"]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content)


@pytest.fixture(params=[ANTHROPIC, OPENAI])
def provider(request: Any, gateway: Any, upstream: Any) -> Provider:
    """Return the scripted provider behind each translation."""
    return Provider(gateway, upstream, request.param)


@pytest.fixture
def chat(client: Any, provider: Provider) -> Conversation:
    """Return a conversation with tools, which thinks where its model can."""
    return Conversation(client, provider.model, tools=[weather, delete], **provider.options)


def three_rounds() -> list[tuple[str, list[dict[str, Any]]]]:
    """Return two turns with parallel calls, and an answer."""
    first = [
        thought("Two cities.", FIRST),
        {"text": "I look."},
        call("toolu_1", "weather", city="Oslo"),
        call("toolu_2", "weather", city="Zürich", days=2),
    ]
    second = [
        thought("And again.", SECOND),
        call("toolu_3", "weather", city="Bern"),
        call("toolu_4", "weather", city="Rome"),
        call("toolu_5", "weather", city="Oslo"),
    ]
    return [("tools", first), ("tools", second), ("stop", [{"text": "Sunny."}])]


class TestRules:
    """The rules themselves: a history that breaks one does not pass."""

    USE: ClassVar = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    RESULT: ClassVar = {"type": "tool_result", "tool_use_id": "a", "content": "x"}

    @pytest.mark.parametrize(
        "messages",
        [
            [{"role": "assistant", "content": [USE]}],
            [{"role": "assistant", "content": [USE]}, {"role": "user", "content": "x"}],
            [{"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT] * 2}],
            [{"role": "assistant", "content": "x"}, {"role": "user", "content": [RESULT]}],
        ],
    )
    def test_anthropic(self, messages: list[dict[str, Any]]) -> None:
        """A call without a result, two results, and a result without a call are refused."""
        with pytest.raises(AssertionError):
            check_anthropic({"messages": [{"role": "user", "content": "x"}, *messages]})

    def test_anthropic_with_thinking(self) -> None:
        """With thinking on, a message with calls must begin with thinking."""
        said = {"role": "assistant", "content": [self.USE]}
        answered = {"role": "user", "content": [self.RESULT]}
        body = {"messages": [{"role": "user", "content": "x"}, said, answered]}
        check_anthropic(body)
        with pytest.raises(AssertionError):
            check_anthropic({**body, "thinking": {"type": "enabled"}})

    @pytest.mark.parametrize("answered", [[], ["b"], ["a", "a"]])
    def test_openai(self, answered: list[str]) -> None:
        """A call without a result, another result, and two results are refused."""
        said = {"role": "assistant", "tool_calls": [{"id": "a"}]}
        results = [{"role": "tool", "tool_call_id": id} for id in answered]
        with pytest.raises(AssertionError):
            check_openai({"messages": [said, *results, {"role": "user"}]})

    @pytest.mark.parametrize("answered", [[], ["a"], ["b", "a"]])
    def test_native(self, answered: list[str]) -> None:
        """A call without a result, and results in another order are refused."""
        calls = [{"type": "toolCall", "id": id} for id in "ab"]
        results = [{"role": "toolResult", "toolCallId": id} for id in answered]
        with pytest.raises(AssertionError):
            check_native([{"role": "assistant", "content": calls}, *results])


class TestRounds:
    def test_three_rounds(self, provider: Provider, chat: Conversation) -> None:
        """Each request holds a result for each call, in order, as the providers require it."""
        provider.script(*three_rounds())
        assert chat.run("Go.", approve=yes).text == "Sunny."
        assert len(provider.bodies()) == 3
        assert provider.results() == [
            "Oslo: 1 sunny",
            "Zürich: 2 sunny",
            "Bern: 1 sunny",
            "Rome: 1 sunny",
            "Oslo: 1 sunny",
        ]

    def test_a_history_only_grows(self, provider: Provider, chat: Conversation) -> None:
        """Each request repeats the messages of the one before it unchanged, cache marks aside."""
        provider.script(*three_rounds())
        chat.run("Go.", approve=yes)
        first, second, third = (_bare(body["messages"]) for body in provider.bodies())
        assert second[: len(first)] == first
        assert third[: len(second)] == second

    def test_thinking_returns_with_its_signature(
        self, provider: Provider, chat: Conversation
    ) -> None:
        """The provider gets its thinking back as it sent it, and no other block."""
        provider.script(*three_rounds())
        chat.run("Go.", approve=yes)
        if not provider.anthropic:
            said = [m for m in provider.bodies()[-1]["messages"] if m["role"] == "assistant"]
            assert [message["reasoning_content"] for message in said] == [
                "Two cities.",
                "And again.",
            ]
            return
        said = [m for m in _bare(provider.bodies()[-1]["messages"]) if m["role"] == "assistant"]
        kinds = [[block["type"] for block in message["content"]] for message in said]
        assert kinds == [
            ["thinking", "text", "tool_use", "tool_use"],
            ["thinking", "tool_use", "tool_use", "tool_use"],
        ]
        assert [message["content"][0] for message in said] == [
            {"type": "thinking", "thinking": "Two cities.", "signature": FIRST},
            {"type": "thinking", "thinking": "And again.", "signature": SECOND},
        ]

    def test_a_loaded_conversation_continues(
        self, provider: Provider, chat: Conversation, client: Any, tmp_path: Any
    ) -> None:
        """The provider accepts the history of a saved and loaded conversation."""
        provider.script(*three_rounds(), ("stop", [{"text": "Still sunny."}]))
        chat.run("Go.", approve=yes)
        chat.save(tmp_path / "chat.jsonl")
        path = tmp_path / "chat.jsonl"
        loaded = Conversation.load(path, client, provider.model, tools=[weather, delete])
        loaded.options.update(provider.options)
        assert loaded.run("And now?", approve=yes).text == "Still sunny."
        *_, third, fourth = (_bare(body["messages"]) for body in provider.bodies())
        assert fourth[: len(third)] == third


def _bare(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Anthropic's messages without cache marks, and with blocks for strings."""
    bare = []
    for message in messages:
        if isinstance(message.get("content"), list) or message["role"] == "user":
            blocks = [
                {name: value for name, value in block.items() if name != "cache_control"}
                for block in anthropic_blocks(message)
            ]
            message = {**message, "content": blocks}
        bare.append(message)
    return bare


class TestFailures:
    def test_a_refused_call(self, provider: Provider, chat: Conversation) -> None:
        """A refusal reaches the provider with its reason; the call beside it runs."""
        calls = [call("toolu_1", "delete", path="a"), call("toolu_2", "weather", city="Oslo")]
        provider.script(("tools", [thought("Hm.", FIRST), *calls]), ("stop", [{"text": "Fine."}]))
        assert chat.run("Go.", approve=lambda _: "not today").text == "Fine."
        assert provider.results() == ["refused: not today", "Oslo: 1 sunny"]

    def test_calls_that_fail(self, provider: Provider, chat: Conversation) -> None:
        """An unknown tool, a misfit and a `ToolError` are results, and the model continues."""
        calls = [
            call("toolu_1", "forecast", city="Oslo"),
            call("toolu_2", "weather", city="Oslo", days="two"),
            call("toolu_3", "weather", city="Atlantis"),
        ]
        provider.script(("tools", [thought("Hm.", FIRST), *calls]), ("stop", [{"text": "Fine."}]))
        assert chat.run("Go.", approve=yes).text == "Fine."
        assert provider.results() == [
            "there is no tool 'forecast'; the tools are: weather, delete",
            "$.days: Expected `int`, got `str`\nCall the tool again.",
            "there is no such city",
        ]

    def test_a_crash(self, provider: Provider, chat: Conversation) -> None:
        """The exception is raised; the next request says only that the tool failed."""
        calls = [call("toolu_1", "weather", city="Gomorrah"), call("toolu_2", "delete", path="a")]
        provider.script(("tools", [thought("Hm.", FIRST), *calls]), ("stop", [{"text": "Fine."}]))
        with pytest.raises(OSError, match="ledger"):
            chat.run("Go.", approve=lambda _: False)
        assert chat.run("And now?", approve=lambda _: False).text == "Fine."
        assert provider.results() == ["the tool failed", "refused"]
        assert "ledger" not in json.dumps(provider.bodies())

    @pytest.mark.parametrize("arguments", ['{"city": "Os', '{"city": "Oslo"}', ""])
    def test_a_turn_that_ends_by_length_within_a_call(
        self, provider: Provider, chat: Conversation, arguments: str
    ) -> None:
        """No call runs, the message is returned, and the provider accepts the history after it."""
        cut = {"id": "toolu_2", "name": "weather", "json": arguments}
        whole = call("toolu_1", "weather", city="Rome")
        provider.script(
            ("length", [thought("Hm.", FIRST), whole, cut]), ("stop", [{"text": "Fine."}])
        )
        ran: list[Any] = []
        message = chat.run("Go.", approve=yes, on_tool=lambda *seen: ran.append(seen))
        assert message.stop_reason == "length"
        assert ran == []
        assert chat.run("Continue.", approve=yes).text == "Fine."
        not_run = "not run: the answer was cut off at the limit of output tokens"
        assert set(provider.results()) == {not_run}

    def test_the_limit_of_rounds(self, provider: Provider, chat: Conversation) -> None:
        """After the limit the conversation continues, and the provider accepts its history."""
        provider.script(*three_rounds())
        with pytest.raises(ToolRoundsError):
            chat.run("Go.", max_rounds=2, approve=yes)
        assert chat.run("Enough.", approve=yes).text == "Sunny."
        assert provider.results()[-3:] == ["not run"] * 3

    def test_a_call_that_a_stream_left_open(self, provider: Provider, chat: Conversation) -> None:
        """`run` begins with the calls that the last answer left open."""
        (_, blocks), *_ = three_rounds()
        provider.script(("tools", blocks), ("stop", [{"text": "Sunny."}]))
        with chat.stream("Go.") as stream:
            stream.get_final_message()
        assert chat.run(approve=yes).text == "Sunny."
        assert provider.results() == ["Oslo: 1 sunny", "Zürich: 2 sunny"]


class TestForcedChoice:
    def test_an_extraction_is_forced(self, provider: Provider, client: Any) -> None:
        """`tool_choice` names the tool in both translations."""
        answer = call("toolu_1", "answer", length=30.48, unit="cm")
        provider.script(("tools", [answer]))
        value = client.extract(provider.model, "A foot is 30.48 cm.", Measurement)
        assert value == Measurement(30.48, "cm")
        (body,) = provider.bodies()
        assert body["tool_choice"] == (
            {"type": "tool", "name": "answer"}
            if provider.anthropic
            else {"type": "function", "function": {"name": "answer"}}
        )

    def test_thinking_is_not_switched_off(self, provider: Provider, client: Any) -> None:
        """With `reasoning` the choice is free, and Anthropic's thinking stays on."""
        answer = call("toolu_1", "answer", length=1, unit="m")
        provider.script(("tools", [thought("Hm.", FIRST), answer]))
        value = client.extract(provider.model, "A metre.", Measurement, reasoning="high")
        assert value == Measurement(1.0, "m")
        (body,) = provider.bodies()
        assert body.get("tool_choice") in (None, "auto", {"type": "auto"})
        assert body.get("thinking", {}).get("type") == ("enabled" if provider.anthropic else None)

    def test_a_misfit_is_corrected(self, provider: Provider, client: Any) -> None:
        """The problems reach the provider as the result of the call that did not fit."""
        provider.script(
            ("tools", [call("toolu_1", "answer", length="thirty", unit="cm")]),
            ("tools", [call("toolu_2", "answer", length=30.48, unit="cm")]),
        )
        value = client.extract(provider.model, "A foot?", Measurement)
        assert value == Measurement(30.48, "cm")
        assert provider.results() == ["$.length: Expected `float`, got `str`\nCall the tool again."]

    def test_a_missing_call_is_asked_for(self, provider: Provider, client: Any) -> None:
        """An answer without the call is followed by a request for it, in a valid history."""
        provider.script(
            ("stop", [{"text": "30.48 cm."}]),
            ("tools", [call("toolu_1", "answer", length=30.48, unit="cm")]),
        )
        assert client.extract(provider.model, "A foot?", Measurement).unit == "cm"
        assert "Call the tool `answer`" in json.dumps(provider.bodies()[-1])

    def test_an_extraction_within_a_conversation(
        self, provider: Provider, chat: Conversation
    ) -> None:
        """The conversation continues after an extraction with a corrected misfit."""
        provider.script(
            ("tools", [thought("Hm.", FIRST), call("toolu_1", "answer", length=1)]),
            ("tools", [thought("Ah.", SECOND), call("toolu_2", "answer", length=1, unit="m")]),
            ("stop", [{"text": "A metre."}]),
        )
        assert chat.extract(Measurement, "How long?") == Measurement(1.0, "m")
        assert chat.ask("Say it.").text == "A metre."
        assert len(provider.bodies()) == 3
        assert provider.results()[-1] == "ok"

    def test_a_cut_off_answer(self, provider: Provider, client: Any) -> None:
        """An answer that ends by length is an error that says so."""
        cut = {"id": "toolu_1", "name": "answer", "json": '{"length": 30.'}
        provider.script(("length", [cut]))
        with pytest.raises(ExtractionError, match="max_tokens"):
            client.extract(provider.model, "A foot?", Measurement)

    def test_a_forced_tool_is_free_after_the_first_round(
        self, provider: Provider, client: Any
    ) -> None:
        """`tool_choice` forces the first round of `run` only, so that the model can answer."""
        provider.script(
            ("tools", [call("toolu_1", "weather", city="Oslo")]), ("stop", [{"text": "Sunny."}])
        )
        chat = Conversation(client, provider.model, tools=[weather])
        assert chat.run("Go.", tool_choice={"type": "tool", "name": "weather"}).text == "Sunny."
        first, second = (body.get("tool_choice") for body in provider.bodies())
        assert "weather" in json.dumps(first)
        assert second in (None, "auto", {"type": "auto"})
