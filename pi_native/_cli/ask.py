"""`ask`: make one turn, and show the answer as it arrives."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

from pi_native import (
    AssistantMessage,
    AssistantMessageEvent,
    AssistantMessageEventStream,
    ConfigurationError,
    Conversation,
    DoneEvent,
    ErrorEvent,
    RetryInfo,
    TextDeltaEvent,
    ThinkingDeltaEvent,
    UserMessage,
    to_wire,
)

from .chat.tools import call_line
from .console import Console, what_happened, whole_characters
from .conversations import ConversationFile
from .inputs import client_for_turns, read_prompt, turn_options


def ask(args: argparse.Namespace, console: Console) -> int:
    """Send the prompt and show the answer."""
    with client_for_turns(args) as client:
        file = ConversationFile.chosen(args)
        conversation = file.open(args, client, console)
        prompt = read_prompt(args, console)
        known = len(conversation.messages)
        try:
            with start_turn(conversation, prompt, args, console) as stream:
                _show(stream, args, console)
        finally:  # the answer may be complete although stdout has failed
            if len(conversation.messages) > known:
                file.save(conversation)
    return 0


def start_turn(
    conversation: Conversation,
    prompt: UserMessage | str,
    args: argparse.Namespace,
    console: Console,
) -> AssistantMessageEventStream:
    """Start a turn with the options of the arguments. Raises `ConfigurationError`."""
    try:
        return conversation.stream(prompt, **noted_options(args, console))
    except TypeError as exc:  # an option of -o that does not exist, or not with such a value
        raise ConfigurationError(f"-o: {exc}") from None


def noted_options(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the options of the arguments, and a note about each retry."""
    return {"on_retry": functools.partial(_note_retry, console), **turn_options(args)}


def _note_retry(console: Console, retry: RetryInfo) -> None:
    console.problem(
        f"attempt {retry.attempt} failed: {what_happened(retry.failure)}; "
        f"trying again in {retry.delay:.1f} s"
    )


def _show(stream: AssistantMessageEventStream, args: argparse.Namespace, console: Console) -> None:
    if args.json:
        _show_message(stream, console)
    elif args.events:
        _show_events(stream, console)
    else:
        show_answer(stream, console, thinking=args.thinking, plain=args.plain)


def show_answer(
    stream: AssistantMessageEventStream,
    console: Console,
    *,
    thinking: bool | None = None,
    plain: bool = False,
    with_summary: bool = False,
) -> None:
    """Show a turn: rendered with rich where that is possible, else as text. Raises its failure.

    `thinking` None shows the thinking only where it looks different from the answer, that is where
    rich draws. A line about tokens and cost follows when a person watches, or `with_summary`.
    """
    terminal = None if plain else console.rich_terminal()
    if terminal is None:
        message = show_text(stream, console, thinking=bool(thinking))
        if with_summary or console.is_watched:
            console.aside(summary(message))
        return
    from .live import show_live  # rich is optional

    _checked(show_live(stream, console, terminal, thinking=thinking is not False), console)


def _show_message(stream: AssistantMessageEventStream, console: Console) -> None:
    """Show the finished message as one JSON object, also a failed one. Raises its failure."""
    message = stream.result()
    console.json(to_wire(message))
    _checked(message, console)


def _show_events(stream: AssistantMessageEventStream, console: Console) -> None:
    """Show each event as one line of JSON, without its snapshot. Raises the turn's failure."""
    for event in stream:
        data = to_wire(event)
        # 5,000 words with a snapshot each were 115 MB; the terminal event has the whole message.
        data.pop("partial", None)
        console.json(data)
    _checked(stream.result(), console)


def show_text(
    stream: AssistantMessageEventStream, console: Console, *, thinking: bool = False
) -> AssistantMessage:
    """Show a turn as text, and its thinking on request. Raises the turn's failure."""
    answer = _TextPrinter(console, thinking=thinking)
    try:
        for event in stream:
            answer.show(event)
    finally:
        answer.end()
    console.finish()
    message = stream.result()
    for call in message.tool_calls:
        console.note(f"pi-native: tool call {call_line(call)}")
    return _checked(message, console)


def _checked(message: AssistantMessage, console: Console) -> AssistantMessage:
    message.raise_for_error()
    if message.stop_reason == "length":
        console.problem(
            "the answer is not complete: it reached the limit of output tokens; "
            "--max-tokens raises it as far as the model allows"
        )
    return message


class _TextPrinter:
    """Writes the text of events to stdout and the thinking to stderr."""

    def __init__(self, console: Console, *, thinking: bool) -> None:
        self._text = WholeCharacters(console.text)
        self._thought = WholeCharacters(console.thinking)
        self._thinking = thinking

    def show(self, event: AssistantMessageEvent) -> None:
        """Write the text that an event adds."""
        if isinstance(event, TextDeltaEvent):
            self._text.write(event.delta or "")
        elif isinstance(event, ThinkingDeltaEvent) and self._thinking:
            self._thought.write(event.delta or "")
        elif isinstance(event, (DoneEvent, ErrorEvent)) and not self._text.any_written:
            self._text.write(event.partial.text)  # a text may come without deltas

    def end(self) -> None:
        """Write what is still held back."""
        self._text.end()


class WholeCharacters:
    """Joins characters that arrive in two deltas, as the halves of a surrogate pair."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._half = ""
        self.any_written = False

    def write(self, piece: str) -> None:
        """Write a piece, except a last half whose other half may follow."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        self._pass_on(text[: len(text) - len(self._half)])

    def end(self) -> None:
        """Write the half that is left, as U+FFFD."""
        half, self._half = self._half, ""
        self._pass_on(half)

    def _pass_on(self, text: str) -> None:
        self.any_written = self.any_written or bool(text)
        self._write(whole_characters(text))


def summary(message: AssistantMessage) -> str:
    """Return one line about the tokens and the cost of a turn."""
    # A gateway may leave the usage out, against the annotation.
    return "no usage was reported" if message.usage is None else str(message.usage)
