"""`ask`: one turn, shown as it comes."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable

from pi_native import (
    AssistantMessage,
    AssistantMessageEvent,
    AssistantMessageEventStream,
    DoneEvent,
    ErrorEvent,
    RetryInfo,
    TextDeltaEvent,
    ThinkingDeltaEvent,
    ToolCall,
    to_wire,
)

from .console import Console, one_line, showable
from .gateway import client_for_turns
from .history import keep_conversation, open_conversation
from .problems import what_happened
from .prompt import chosen_model, read_prompt
from .rich import canvas_for_rich


def ask(args: argparse.Namespace, console: Console) -> int:
    """Send the prompt and show the answer."""
    model = chosen_model(args)
    with client_for_turns(args) as client:
        prompt = read_prompt(args, console)
        conversation = open_conversation(args, client, model)
        tell = functools.partial(_tell_retry, console)
        with conversation.stream(prompt, on_retry=tell) as stream:
            if args.json:
                show_events(stream, console)
            else:
                show_answer(stream, console, console.is_watched, thinking=args.thinking)
        keep_conversation(args, conversation)
    return 0


def _tell_retry(console: Console, retry: RetryInfo) -> None:
    console.problem(
        f"attempt {retry.attempt} failed: {what_happened(retry.failure)}; "
        f"trying again in {retry.delay:.1f} s"
    )


def show_answer(
    stream: AssistantMessageEventStream,
    console: Console,
    sum_up: bool,
    *,
    thinking: bool | None = None,
) -> None:
    """Show a turn, drawn where that can be, else as text. Raises what went wrong with it.

    `sum_up` says whether a text is followed by what the turn took. `thinking` None: only where it
    can be told apart, which is where it is drawn.
    """
    terminal = canvas_for_rich(console)
    if terminal is None:
        message = show_text(stream, console, thinking=bool(thinking))
        if sum_up:
            console.aside(summary(message))
        return
    from .live import show_live  # rich is not for everybody

    _checked(show_live(stream, console, terminal, thinking=thinking is not False), console)


def show_events(stream: AssistantMessageEventStream, console: Console) -> None:
    """Show a turn as JSON, one event a line. Raises what went wrong with it."""
    for event in stream:
        console.json(to_wire(event))
    message = _checked(stream.result(), console)
    if console.is_watched:
        console.aside(summary(message))


def show_text(
    stream: AssistantMessageEventStream, console: Console, *, thinking: bool = False
) -> AssistantMessage:
    """Show a turn as text, and its thinking if wanted. Raises what went wrong with it."""
    answer = _AnswerPrinter(console, thinking=thinking)
    for event in stream:
        answer.show(event)
    console.finish()
    message = stream.result()
    for call in message.tool_calls:  # without a word, there would be nothing to see at all
        console.note(f"pi-native: tool call {_spelled_out(call)}")
    return _checked(message, console)


def _spelled_out(call: ToolCall) -> str:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return one_line(showable(f"{call.name or '?'} {arguments}"))


def _checked(message: AssistantMessage, console: Console) -> AssistantMessage:
    message.raise_for_error()
    if message.stop_reason == "length":
        console.problem("the answer is not complete: it reached the model's limit of output tokens")
    return message


class _AnswerPrinter:
    """Shows events as text: what is said on stdout, what is thought on stderr."""

    def __init__(self, console: Console, *, thinking: bool) -> None:
        self._said = WholeCharacters(console.text)
        self._thought = WholeCharacters(console.thinking)
        self._thinking = thinking

    def show(self, event: AssistantMessageEvent) -> None:
        """Show what an event adds to the answer."""
        if isinstance(event, TextDeltaEvent):
            self._said.write(event.delta or "")
        elif isinstance(event, ThinkingDeltaEvent) and self._thinking:
            self._thought.write(event.delta or "")
        elif isinstance(event, (DoneEvent, ErrorEvent)):
            self._end(event.partial)

    def _end(self, message: AssistantMessage) -> None:
        if not self._said.anything:  # there need not be a delta for every text
            self._said.write(message.text)
        self._said.end()


class WholeCharacters:
    """Puts together the characters that come in two pieces: halves of surrogate pairs."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._half = ""
        self.anything = False

    def write(self, piece: str) -> None:
        """Write a piece, but for a last half that may find its other."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        self._pass_on(text[: len(text) - len(self._half)])

    def end(self) -> None:
        """Write the half that has not found its other."""
        half, self._half = self._half, ""
        self._pass_on(half)

    def _pass_on(self, text: str) -> None:
        self.anything = self.anything or bool(text)
        self._write(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def summary(message: AssistantMessage) -> str:
    """What the turn took, in a line."""
    # Left out by the gateway, whatever the annotation says.
    return "no usage was reported" if message.usage is None else str(message.usage)
