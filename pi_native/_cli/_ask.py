"""`ask`: one turn, shown as it comes."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from pi_native import (
    AssistantMessage,
    AssistantMessageEvent,
    AssistantMessageEventStream,
    DoneEvent,
    ErrorEvent,
    TextDeltaEvent,
    ThinkingDeltaEvent,
    to_wire,
)

from ._console import Console
from ._gateway import client_for_turns
from ._prompt import chosen_model, read_prompt


def ask(args: argparse.Namespace, console: Console) -> int:
    """Send the prompt and show the answer."""
    model = chosen_model(args)
    with client_for_turns(args) as client:
        prompt = read_prompt(args, console)
        with client.stream(model, prompt, system=args.system) as stream:
            if args.json:
                message = show_events(stream, console)
            else:
                message = show_text(stream, console, thinking=args.thinking)
    if console.is_watched:
        console.aside(summary(message))
    return 0


def show_events(stream: AssistantMessageEventStream, console: Console) -> AssistantMessage:
    """Show a turn as JSON, one event a line. Raises what went wrong with it."""
    for event in stream:
        console.json(to_wire(event))
    return _checked(stream.result(), console)


def show_text(
    stream: AssistantMessageEventStream, console: Console, *, thinking: bool = False
) -> AssistantMessage:
    """Show a turn as text, and its thinking if wanted. Raises what went wrong with it."""
    answer = _Answer(console, thinking=thinking)
    for event in stream:
        answer.show(event)
    console.finish()
    return _checked(stream.result(), console)


def _checked(message: AssistantMessage, console: Console) -> AssistantMessage:
    message.raise_for_error()
    if message.stop_reason == "length":
        console.problem("the answer is not complete: it reached the model's limit of output tokens")
    return message


class _Answer:
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
