"""However a run ends, each call in its history has its result, and the next run continues."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from hypothesis import given, settings, strategies as st

from pi_native import (
    AbortController,
    AssistantMessage,
    Client,
    Conversation,
    Message,
    ToolCall,
    ToolError,
    UserMessage,
    from_wire,
    to_wire,
    tool,
)
from pi_native.testing import FakeGateway, Reply

from .conftest import MODEL, assert_closed

ACTIONS = ["succeed", "fail", "misfit", "unknown", "refuse", "interrupt approval", "break"]
ENDS = ["crash", "exit", "cancel", "no json"]
STOPS = ["toolUse", "stop", "length", "error"]

calls = st.lists(st.sampled_from(ACTIONS * 3 + ENDS), min_size=1, max_size=4)
rounds = st.lists(st.tuples(calls, st.sampled_from(STOPS[:1] * 8 + STOPS)), max_size=4)


class Scene:
    """A conversation whose tool does what its argument says."""

    def __init__(self, client: Client, *, parallel: bool) -> None:
        self.controller = AbortController()
        act = tool(approve=True, parallel=parallel)(self.act)
        self.conversation = Conversation(client, MODEL, tools=[act])

    def act(self, how: str) -> Any:
        """Do it."""
        if how == "fail":
            raise ToolError(how)
        if how == "crash":
            raise RuntimeError(how)
        if how == "exit":
            raise SystemExit(how)
        if how == "cancel":
            self.controller.abort()
        return object() if how == "no json" else how

    def approve(self, call: ToolCall) -> bool | str:
        """Approve a call, unless it says otherwise."""
        if call.arguments["how"] == "interrupt approval":
            raise KeyboardInterrupt
        return "no" if call.arguments["how"] == "refuse" else True

    def on_tool(self, call: ToolCall, _result: object) -> None:
        """Raise if the call says so."""
        if call.arguments.get("how") == "break":
            raise io.UnsupportedOperation

    def run(self, prompt: str | None, *, stop_after: int | None, **settings: Any) -> None:
        """Run all rounds, or leave them after some streams."""
        streams = self.conversation.rounds(
            prompt,
            approve=self.approve,
            on_tool=self.on_tool,
            signal=self.controller.signal,
            **settings,
        )
        between = []
        with contextlib.suppress(BaseException), streams:
            for number, stream in enumerate(streams):
                stream.result()
                between.append(list(self.conversation.messages))
                if number == stop_after:
                    break
        for messages in between:
            assert_closed(messages)
        self.controller = AbortController()


def reply(actions: list[str], stop: str) -> Reply:
    """Return a reply that makes these calls."""
    made = []
    for number, how in enumerate(actions):
        name = "nope" if how == "unknown" else "act"
        arguments = {"how": 5 if how == "misfit" else how}
        made.append(ToolCall(f"call_{number}", name, arguments))
    return Reply(tool_calls=made, stop_reason=stop)


@settings(max_examples=60)
@given(
    script=rounds,
    opened=st.none() | calls,
    parallel=st.booleans(),
    workers=st.integers(1, 3),
    max_rounds=st.integers(1, 4),
    stop_after=st.none() | st.integers(0, 2),
)
def test_no_call_stays_open(
    script: list[tuple[list[str], str]],
    opened: list[str] | None,
    parallel: bool,
    workers: int,
    max_rounds: int,
    stop_after: int | None,
) -> None:
    """For every sequence of outcomes, the history is complete, can be saved, and continues."""
    with FakeGateway() as gateway, Client(gateway.url, gateway.api_key, max_retries=0) as client:
        for actions, stop in script:
            gateway.add(reply(actions, stop))
        scene = Scene(client, parallel=parallel)
        conversation = scene.conversation
        if opened is not None:
            answer = AssistantMessage(list(reply(opened, "toolUse").tool_calls))  # type: ignore[arg-type]
            conversation.add(UserMessage("Go"), answer)
            conversation.messages[:] = [copy(message) for message in conversation.messages]
        history = list(conversation.messages)
        scene.run("Next", stop_after=stop_after, workers=workers, max_rounds=max_rounds)
        if conversation.messages != history:  # the open calls were answered
            assert_closed(conversation.messages)
            assert conversation.messages[: len(history)] == history
        assert [copy(message) for message in conversation.messages] == conversation.messages
        gateway.default = Reply("The end.")
        for _ in range(len(script) + 2):
            scene.run("Continue", stop_after=None)
        assert str(conversation.messages[-1]) == "The end."
        assert_closed(conversation.messages)


def copy(message: Message) -> Message:
    """Return the message as it is read from a file."""
    read: Message = from_wire(to_wire(message), Message)  # type: ignore[arg-type]
    return read
