"""Cancelling a run: it ends at once, tools are not waited for, and no call stays open."""

from __future__ import annotations

import contextlib
import os
import signal as signals
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pi_native import (
    AbortController,
    AbortError,
    AbortSignal,
    Client,
    Conversation,
    ConversationBusyError,
    GatewayConnectionError,
    ProviderError,
    Rounds,
    ToolCall,
    tool,
)
from pi_native.testing import FakeGateway, HangUp, Stall

from ...conftest import wait_until
from .conftest import MODEL, Chat, assert_closed, calls, results


class Hanging:
    """A tool that runs until the end of its test."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.released = threading.Event()
        self.then: Callable[[], object] = self.started.set
        self.signal: AbortSignal | None = None

    def hang(self, signal: AbortSignal) -> str:
        """Run until the test ends."""
        self.signal = signal
        self.then()
        self.started.set()
        self.released.wait(20)
        return "late"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Return a tool that ends with its test."""
    tool = Hanging()
    yield tool
    tool.released.set()


def after(event: threading.Event, do: Callable[[], object]) -> threading.Thread:
    """Call a function in another thread once the event is set."""

    def wait() -> None:
        event.wait(20)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def assert_continues(conversation: Conversation, gateway: FakeGateway) -> None:
    """Check that the history has no open call, and that the conversation makes its next turn."""
    assert_closed(conversation.messages)
    gateway.reply("Continued.")
    assert conversation.run("Next").text == "Continued."
    assert_closed(conversation.messages)


@pytest.mark.parametrize("kind", ["signal", "event", "rounds"])
def test_a_cancel_does_not_wait_for_tools(
    chat: Chat, gateway: FakeGateway, hanging: Hanging, kind: str
) -> None:
    """The run ends while its tool hangs; the tool's signal is set, and its result dropped."""
    calls(gateway, ("hang", {}), ("hang", {}))
    conversation = chat(tool(parallel=False)(hanging.hang))
    controller, event = AbortController(), threading.Event()
    given: Any = {"signal": controller.signal, "event": event}.get(kind)
    rounds = conversation.rounds("Go", signal=given)
    cancel: Callable[[], object] = {
        "signal": controller.abort,
        "event": event.set,
        "rounds": rounds.abort,
    }[kind]
    canceller = after(hanging.started, cancel)
    next(rounds)
    with pytest.raises(AbortError) as caught:
        next(rounds)
    canceller.join()
    assert not hanging.released.is_set()
    assert hanging.signal is not None
    assert hanging.signal.aborted
    assert results(conversation.messages) == [("cancelled", True), ("not run", True)]
    assert caught.value.partial is conversation.messages[1]
    hanging.released.set()
    assert_continues(conversation, gateway)
    assert ("late", False) not in results(conversation.messages)


def test_a_result_that_was_there_before_the_cancel_is_kept(
    chat: Chat, gateway: FakeGateway, hanging: Hanging
) -> None:
    """Only calls without a result are answered as cancelled."""
    ended = threading.Event()

    def quick() -> str:
        """End at once."""
        return "quick"

    calls(gateway, ("quick", {}), ("hang", {}))
    conversation = chat(quick, hanging.hang)
    controller = AbortController()
    canceller = after(ended, controller.abort)
    with pytest.raises(AbortError):
        conversation.run("Go", signal=controller.signal, on_tool=lambda *_: ended.set())
    canceller.join()
    assert results(conversation.messages) == [("quick", False), ("cancelled", True)]


def test_the_reason_of_a_signal_is_raised(
    chat: Chat, gateway: FakeGateway, hanging: Hanging
) -> None:
    """An exception as the reason is raised as it is, for example the timeout of a signal."""
    calls(gateway, ("hang", {}))
    conversation = chat(hanging.hang)
    with pytest.raises(TimeoutError, match=r"timed out after 0.05 s"):
        conversation.run("Go", signal=AbortSignal.timeout(0.05))
    hanging.released.set()
    assert_closed(conversation.messages)


def test_a_signal_that_is_set_sends_no_request(chat: Chat, gateway: FakeGateway) -> None:
    """Nothing is sent, and nothing is added."""
    controller = AbortController()
    controller.abort("enough")
    conversation = chat()
    with pytest.raises(AbortError, match="enough"):
        conversation.run("Go", signal=controller.signal)
    assert (conversation.messages, gateway.requests) == ([], [])


def test_ctrl_c_while_a_tool_runs(chat: Chat, gateway: FakeGateway, hanging: Hanging) -> None:
    """`KeyboardInterrupt` is raised at once, and the call is answered."""
    hanging.then = lambda: os.kill(os.getpid(), signals.SIGINT)
    calls(gateway, ("hang", {}))
    conversation = chat(hanging.hang)
    with pytest.raises(KeyboardInterrupt):
        conversation.run("Go")
    assert hanging.signal is not None
    assert hanging.signal.aborted
    assert results(conversation.messages) == [("cancelled", True)]
    hanging.released.set()
    assert_continues(conversation, gateway)


@pytest.mark.parametrize("callback", ["approve", "on_tool"])
def test_ctrl_c_in_a_callback(chat: Chat, gateway: FakeGateway, callback: str) -> None:
    """The calls are answered, and the conversation continues."""

    @tool(approve=True)
    def quick() -> str:
        """End at once."""
        return "quick"

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    callbacks: dict[str, Any] = {"approve": lambda _: True, callback: interrupted}
    calls(gateway, ("quick", {}), ("quick", {}))
    conversation = chat(quick)
    with pytest.raises(KeyboardInterrupt):
        conversation.run("Go", workers=1, **callbacks)
    first = ("not run", True) if callback == "approve" else ("quick", False)
    assert results(conversation.messages) == [first, ("not run", True)]
    assert_closed(conversation.messages)


class TestTurns:
    @pytest.mark.parametrize("after", [None, 4], ids=["before it answers", "while it answers"])
    @pytest.mark.parametrize("kind", ["signal", "event", "stream", "rounds", "block"])
    def test_a_cancelled_turn_is_an_abort_error(
        self, chat: Chat, gateway: FakeGateway, kind: str, after: int | None
    ) -> None:
        """In each phase and by each way; what came before is in the history."""
        calls(gateway, ("quick", {}))
        gateway.reply("one two three four", fault=Stall(after=after))

        def quick() -> str:
            """End at once."""
            return "quick"

        conversation = chat(quick)
        controller, event = AbortController(), threading.Event()
        given: Any = {"signal": controller.signal, "event": event}.get(kind)
        rounds = conversation.rounds("Go", signal=given)
        next(rounds)
        stream = next(rounds)
        assert wait_until(lambda: not gateway.pending)
        if after is not None:
            next(stream)
        cancel: dict[str, Callable[[], object]] = {
            "signal": controller.abort,
            "event": event.set,
            "stream": stream.abort,
            "rounds": rounds.abort,
            "block": lambda: stream.__exit__(None, None, None),
        }
        cancel[kind]()
        with pytest.raises(AbortError):
            next(rounds)
        assert results(conversation.messages) == [("quick", False)]
        assert conversation.messages[-1].role == "toolResult"
        assert list(rounds) == []
        assert_continues(conversation, gateway)

    def test_ctrl_c_while_a_turn_runs(self, chat: Chat, gateway: FakeGateway) -> None:
        """`KeyboardInterrupt` is raised, and the turn is cancelled."""
        conversation = chat()
        gateway.reply(fault=Stall(after=None))

        def interrupt() -> None:
            assert wait_until(lambda: not gateway.pending)
            os.kill(os.getpid(), signals.SIGINT)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            conversation.run("Go")
        interrupter.join()
        assert conversation.messages == []
        assert_continues(conversation, gateway)

    @pytest.mark.parametrize(
        ("reply", "error"),
        [
            ({"error_message": "overloaded"}, ProviderError),
            ({"fault": HangUp(after=0)}, GatewayConnectionError),
        ],
        ids=["provider", "connection"],
    )
    def test_a_failed_turn_keeps_the_rounds_before_it(
        self, chat: Chat, gateway: FakeGateway, reply: dict[str, Any], error: type[Exception]
    ) -> None:
        """The history ends in the results, and the conversation continues with them."""

        def quick() -> str:
            """End at once."""
            return "quick"

        calls(gateway, ("quick", {})).reply("half", **reply)
        conversation = chat(quick)
        with pytest.raises(error):
            conversation.run("Go")
        roles = [message.role for message in conversation.messages]
        assert roles == ["user", "assistant", "toolResult"]
        gateway.reply("Ok.")
        assert conversation.run().text == "Ok."


def leave_early(rounds: Rounds, way: str) -> None:
    """Leave a loop over rounds after the first one."""
    for stream in rounds:
        stream.result()
        if way == "exception":
            raise RuntimeError
        break


class TestLeaving:
    """A round whose answer is complete, and whose tools never run."""

    def quick(self) -> str:
        """End at once."""
        return "quick"

    def start(self, chat: Chat, gateway: FakeGateway) -> tuple[Conversation, Rounds]:
        """Return a conversation, and rounds whose first answer has a call."""
        calls(gateway, ("quick", {}))
        conversation = chat(self.quick)
        return conversation, conversation.rounds("Go")

    @pytest.mark.parametrize("way", ["break", "close", "drop", "with", "exception"])
    def test_rounds_that_are_left_answer_their_calls(
        self, chat: Chat, gateway: FakeGateway, way: str
    ) -> None:
        """The answer is kept, with its call answered as not run."""
        conversation, rounds = self.start(chat, gateway)
        if way in ("break", "exception"):
            left = [rounds]
            del rounds
            with contextlib.suppress(RuntimeError):
                leave_early(left.pop(), way)  # the loop has the only reference
        else:
            next(rounds).result()
            if way == "close":
                rounds.close()
                rounds.close()
            elif way == "with":
                with rounds:
                    pass
            else:
                del rounds
        assert results(conversation.messages) == [("not run", True)]
        assert_continues(conversation, gateway)

    def test_a_turn_that_runs_is_cancelled(self, chat: Chat, gateway: FakeGateway) -> None:
        """Nothing of it is kept."""
        conversation = chat()
        gateway.reply("one two", fault=Stall(after=3))
        with conversation.rounds("Go") as rounds:
            next(next(rounds))  # has arrived, so the gateway has taken the script's entry
        assert conversation.messages == []
        assert_continues(conversation, gateway)

    def test_rounds_that_never_start_send_nothing(self, chat: Chat, gateway: FakeGateway) -> None:
        """The conversation is free, and the history unchanged."""
        conversation = chat()
        conversation.rounds("Go")
        conversation.rounds("Go").close()
        assert (conversation.messages, gateway.requests) == ([], [])
        assert_continues(conversation, gateway)

    def test_a_conversation_is_busy_between_rounds(self, chat: Chat, gateway: FakeGateway) -> None:
        """Half-used rounds keep other turns out until they are closed."""
        conversation, rounds = self.start(chat, gateway)
        next(rounds).result()
        for use in (conversation.ask, conversation.run):
            with pytest.raises(ConversationBusyError, match=r"close\(\)"):
                use("Hi")
        rounds.close()
        assert_continues(conversation, gateway)

    def test_the_history_has_no_open_call_between_rounds(
        self, chat: Chat, gateway: FakeGateway
    ) -> None:
        """An answer is added together with the results of its calls."""
        conversation, rounds = self.start(chat, gateway)
        gateway.reply("Ok.")
        seen = []
        for stream in rounds:
            stream.result()
            assert_closed(conversation.messages)
            seen.append(len(conversation.messages))
        assert seen == [0, 4]
        assert rounds.message is conversation.messages[-1]


@pytest.mark.parametrize("way", ["callback", "thread"])
def test_close_inside_of_the_iteration_is_a_cancel(
    chat: Chat, gateway: FakeGateway, hanging: Hanging, way: str
) -> None:
    """A generator cannot be closed while it runs; the rounds end with an `AbortError`."""
    calls(gateway, ("hang", {}), ("nope", {}))
    conversation = chat(hanging.hang)
    rounds = conversation.rounds("Go", on_tool=lambda *_: way == "callback" and rounds.close())
    closer = after(hanging.started, rounds.close if way == "thread" else lambda: None)
    next(rounds)
    if way == "callback":
        hanging.started.set()
    with pytest.raises(AbortError):
        next(rounds)
    closer.join()
    hanging.released.set()
    assert_continues(conversation, gateway)


def test_the_signal_of_a_cancelled_tool_has_no_exception_of_the_caller(
    chat: Chat, gateway: FakeGateway, hanging: Hanging
) -> None:
    """A tool that raises its signal's reason raises an `AbortError`, also after a Ctrl-C."""
    hanging.then = lambda: os.kill(os.getpid(), signals.SIGINT)
    calls(gateway, ("hang", {}))
    with pytest.raises(KeyboardInterrupt):
        chat(hanging.hang).run("Go")
    assert hanging.signal is not None
    with pytest.raises(AbortError):
        hanging.signal.throw_if_aborted()


def test_rounds_are_streams(chat: Chat, gateway: FakeGateway) -> None:
    """Each round can be read as any stream."""

    def quick() -> str:
        """End at once."""
        return "quick"

    calls(gateway, ("quick", {}), text="Let me see.").reply("It is quick.")
    texts = ["".join(stream.text_stream) for stream in chat(quick).rounds("Go")]
    assert texts == ["Let me see.", "It is quick."]


def test_the_signal_of_a_run_is_released(client: Client, gateway: FakeGateway) -> None:
    """A program's one signal does not keep the runs that have ended."""
    controller = AbortController()
    listeners = len(vars(controller.signal)["_entries"])
    gateway.reply("Ok.")
    Conversation(client, MODEL).run("Go", signal=controller.signal)
    assert wait_until(lambda: len(vars(controller.signal)["_entries"]) == listeners)


def test_a_tool_that_is_cancelled_may_raise(
    chat: Chat, gateway: FakeGateway, recwarn: pytest.WarningsRecorder
) -> None:
    """A tool that listens to its signal ends with an exception that no thread reports."""
    started = threading.Event()

    def listens(signal: AbortSignal, call: ToolCall) -> str:
        """Wait for the cancel."""
        started.set()
        signal.wait(20)
        signal.throw_if_aborted()
        return call.id

    calls(gateway, ("listens", {}))
    controller = AbortController()
    canceller = after(started, controller.abort)
    conversation = chat(listens)
    with pytest.raises(AbortError):
        conversation.run("Go", signal=controller.signal)
    canceller.join()
    assert wait_until(lambda: not any(t.name == "tool-listens" for t in threading.enumerate()))
    assert not recwarn.list
