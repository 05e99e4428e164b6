"""The loop of a conversation with tools: a request, the calls of its answer, the next request.

An answer and the results of its calls are added to the history together, so that no moment exists
in which a call in it has no result: providers refuse such a history.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .._prompts import expect_signal, messages_of
from .._turn.stream import AssistantMessageEventStream
from .._types.content import ToolCall
from .._types.messages import AssistantMessage, Message, ToolResultMessage
from ..errors import AbortError, ConfigurationError, PiNativeError, ToolRoundsError
from .cancel import RunSignal
from .round import Round, open_calls
from .toolbox import Approve, OnTool, Toolbox, expect_count, make_toolbox

if TYPE_CHECKING:
    from .._conversation import Conversation

_CUT_OFF = "not run: the answer was cut off at the limit of output tokens"
_EQUAL_FAILURES = 3
_FREE_CHOICES = (None, "auto", "none")


class ToolLoop:
    """One run of a conversation with its tools. Raises `ConfigurationError` and `TypeError`."""

    def __init__(
        self,
        conversation: Conversation,
        prompt: str | Message | Sequence[Message] | None,
        *,
        max_rounds: int,
        approve: Approve | None,
        workers: int,
        on_tool: OnTool | None,
        options: Mapping[str, Any],
    ) -> None:
        expect_count("max_rounds", max_rounds)
        self.final: AssistantMessage | None = None
        self._conversation = conversation
        self._said: list[Message] = [] if prompt is None else messages_of(prompt)
        if not self._said and not conversation.messages:
            raise ConfigurationError("there is nothing to say yet: give a prompt")
        self._client, self._model = conversation._ready()
        self._options: dict[str, Any] = {
            "session_id": conversation.session_id,
            **conversation.options,
            **options,
        }
        # Before the first tool runs; open calls run before the first request.
        expect_signal(self._client._options(self._options).signal)
        self._max_rounds = max_rounds
        self.toolbox: Toolbox = make_toolbox(
            conversation.context.tools,
            conversation._functions,
            approve=approve,
            workers=workers,
            on_tool=on_tool,
        )
        self._cancel = RunSignal(self._options.get("signal"))
        self._stream: AssistantMessageEventStream | None = None
        self._requests = 0
        self._failures: Counter[tuple[str, str, str]] = Counter()

    def run(self) -> AssistantMessage:
        """Make all rounds, and return the last message."""
        with self._running():
            while self.final is None:
                with self._start() as stream:
                    stream._channel.discard_events()
                    self._finish(stream)
            return self.final

    def streams(self) -> Generator[AssistantMessageEventStream, None, None]:
        """Yield the stream of each round; its tools run when the next one is asked for."""
        with self._running():
            while self.final is None:
                stream = self._start()
                try:
                    yield stream
                except GeneratorExit:
                    self._leave(stream)
                    raise
                self._finish(stream)

    def abort(self, reason: object = None) -> None:
        """Cancel the run, from any thread."""
        self._cancel.abort(reason)
        if self._stream is not None:
            self._stream.abort(reason)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Exclude other turns of the conversation, and begin with the open calls of its history."""
        with self._conversation._alone(), self._cancel:
            message, calls = open_calls(self._conversation.messages)
            if message is not None and calls:
                self._answer(message, calls)
            yield

    def _start(self) -> AssistantMessageEventStream:
        """Send the next request."""
        self._cancel.check()
        said = self._said

        def keep(answer: AssistantMessage) -> None:
            # An answer with calls is added with their results. A Ctrl-C may repeat this call.
            history = self._conversation.messages
            if not answer.tool_calls and not any(m is answer for m in history[-1:]):
                history.extend((*said, answer))

        context = self._conversation.context
        context = attrs.evolve(context, messages=[*context.messages, *said])
        stream = self._client._start_turn(self._model, context, self._options, keep)
        self._stream = stream
        if self._cancel.signal.aborted:  # by `abort`, which did not find this stream
            stream.abort(self._cancel.signal.reason)
        self._requests += 1
        if self._options.get("tool_choice") not in _FREE_CHOICES:
            # A model that must call a tool in each round could never answer.
            self._options["tool_choice"] = "auto"
        return stream

    def _finish(self, stream: AssistantMessageEventStream) -> None:
        """Wait for the answer of a round, and answer its calls."""
        message = self._message(stream)
        if not message.tool_calls:
            self.final = message  # `keep` has added it
            return
        self._answer(message, message.tool_calls, (*self._said, message))
        if message.stop_reason == "length":
            self.final = message
        elif self._requests >= self._max_rounds:
            raise ToolRoundsError(
                f"the model still calls tools after {_count(self._requests)}",
                rounds=self._requests,
                partial=message,
                hint="raise max_rounds, or continue with run()",
            )

    def _message(self, stream: AssistantMessageEventStream) -> AssistantMessage:
        """Return the answer. Raises the failure of the stream, also of a cancelled one."""
        message = stream.result()
        if message.failed and stream._producer is not None and stream._producer.cancelled:
            error = self._cancel.error()
            if isinstance(error, PiNativeError):
                error.partial = error.partial or stream.partial
            raise error
        return message.raise_for_error()

    def _answer(
        self, message: AssistantMessage, calls: Sequence[ToolCall], before: Sequence[Message] = ()
    ) -> None:
        """Run the calls of a message; add the messages `before` and the results to the history."""
        round = Round(calls)
        cut_off = message.stop_reason == "length"
        if cut_off:
            round.not_run = _CUT_OFF
        try:
            if not cut_off and self._requests < self._max_rounds:
                self.toolbox.run(round, self._cancel)
                self._count_failures(round, message)
        except AbortError as exc:
            exc.partial = exc.partial or message
            raise
        finally:
            self._conversation.messages.extend((*before, *round.results()))
            if before:
                self._said = []

    def _count_failures(self, round: Round, message: AssistantMessage) -> None:
        """Raise `ToolRoundsError` for the third equal call with an equal failing result."""
        answered = zip(round.calls, round.results(), strict=True)
        failed = {_key(call, result): call for call, result in answered if result.is_error}
        self._failures.update(failed.keys())
        for key, call in failed.items():
            if self._failures[key] >= _EQUAL_FAILURES:
                raise ToolRoundsError(
                    f"the model made the same failing call of {call.name!r} in "
                    f"{_EQUAL_FAILURES} rounds: {key[2]}",
                    rounds=self._requests,
                    partial=message,
                )

    def _leave(self, stream: AssistantMessageEventStream) -> None:
        """Cancel the turn; an answer that is complete is kept, and its tools do not run."""
        stream.close()
        try:
            message = stream.result(0)
        except Exception:  # noqa: BLE001 - the failure of the stream, which no reader waits for
            return
        if message.tool_calls and not message.failed:
            round = Round(message.tool_calls)
            self._conversation.messages.extend((*self._said, message, *round.results()))


def _key(call: ToolCall, result: ToolResultMessage) -> tuple[str, str, str]:
    arguments = json.dumps(call.arguments, sort_keys=True, default=repr)
    return call.name, arguments, str(result)


def _count(requests: int) -> str:
    return "1 request" if requests == 1 else f"{requests} requests"
