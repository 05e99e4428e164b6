"""`chat`: ask one question after the other in the same conversation."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType

from pi_native import (
    AssistantMessageEventStream,
    ConfigurationError,
    Conversation,
    PiNativeError,
)

from ..ask import noted_options, show_answer, start_turn
from ..console import Console, explain
from ..conversations import ConversationFile, private_folder
from ..inputs import clean_text, client_for_turns
from .tools import ToolFile, asker, result_shower

_PROMPT = "> "
_LONGEST_HISTORY = 1000
_LEAVE = ("exit", "quit")


def chat(args: argparse.Namespace, console: Console) -> int:
    """Read prompts and answer each, until the end of the input."""
    tools = None if args.tools is None else _load(args.tools)
    with client_for_turns(args) as client:
        file = ConversationFile.chosen(args)
        conversation = file.open(args, client, console, None if tools is None else tools.tools)
        if _is_interactive():
            console.note(_greeting(conversation))
        with _line_editing():
            for prompt in _prompts(console):
                _answer(conversation, prompt, file, args, console, tools)
    return 0


def _load(file: str) -> ToolFile:
    """Return the tools of a file. Raises `ConfigurationError`."""
    tools = ToolFile(file)
    if tools.asks is not None and not _is_interactive():
        raise ConfigurationError(
            f"{file}: the tool {tools.asks!r} must be approved, and stdin is not a terminal"
        )
    return tools


def _greeting(conversation: Conversation) -> str:
    known = len(conversation.messages)
    earlier = f", {known} messages so far" if known else ""
    return (
        f"Chat with {conversation.model}{earlier}.\n"
        "Ctrl-C stops an answer, Ctrl-D leaves; a \\ at the end continues a prompt."
    )


def _is_interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _prompts(console: Console) -> Iterator[str]:
    """Yield what is typed, without empty prompts."""
    while True:
        try:
            prompt = clean_text(_read_lines(console), console).strip()
        except KeyboardInterrupt:  # as in a shell: the line is dropped
            console.interrupted()
            continue
        except EOFError:
            if _is_interactive():
                console.note("")
            return
        if prompt in _LEAVE:
            return
        if prompt:
            yield prompt


def _read_lines(console: Console) -> str:
    """Read a line, and the next one too after a backslash. Raises `EOFError`."""
    text = _read_line(_PROMPT, console)
    while text.endswith("\\"):
        text = f"{text[:-1]}\n{_read_line('. ', console)}"
    return text


def _read_line(prompt: str, console: Console) -> str:
    if sys.stdin is None:
        raise EOFError
    if not _is_interactive():
        return input()
    if console.columns is None:  # stdout is for the answers alone
        print(prompt, end="", file=sys.stderr, flush=True)
        return input()
    return input(prompt)


def _answer(
    conversation: Conversation,
    prompt: str,
    file: ConversationFile,
    args: argparse.Namespace,
    console: Console,
    tools: ToolFile | None,
) -> None:
    """Make one turn. A failed or cancelled turn does not end the chat, and is not kept."""
    known = len(conversation.messages)
    try:
        try:
            with contextlib.closing(
                _streams(conversation, prompt, args, console, tools)
            ) as streams:
                for stream in streams:
                    with stream:
                        show_answer(stream, console, thinking=args.thinking, plain=args.plain)
        finally:
            if len(conversation.messages) > known:
                file.save(conversation)
    except KeyboardInterrupt:
        console.interrupted()
        earlier = len(conversation.messages) > known
        kept = "the rounds before it are" if earlier else "this turn is not"
        console.problem(f"the answer was cancelled; {kept} part of the conversation")
    except PiNativeError as exc:
        console.problem(explain(exc))
    except (Exception, SystemExit) as exc:
        failure = None if tools is None else tools.failure(exc)
        if failure is None:
            raise
        console.problem(failure)


def _streams(
    conversation: Conversation,
    prompt: str,
    args: argparse.Namespace,
    console: Console,
    tools: ToolFile | None,
) -> Generator[AssistantMessageEventStream, None, None]:
    """Yield the stream of the turn, and with tools those of all its rounds."""
    if tools is None:
        yield start_turn(conversation, prompt, args, console)
        return
    try:
        rounds = conversation.rounds(
            prompt,
            approve=asker(console, _read_line),
            on_tool=result_shower(console),
            **noted_options(args, console),
        )
    except TypeError as exc:
        raise ConfigurationError(f"-o: {exc}") from None
    with rounds:
        yield from rounds


@contextlib.contextmanager
def _line_editing() -> Iterator[None]:
    """Edit lines, with a history that is kept from one chat to the next, where readline exists."""
    try:
        import readline
    except ImportError:  # Windows
        yield
        return
    folder = private_folder()
    if folder is None or not _is_interactive():
        yield
        return
    history = folder / "chat_history"
    _read_history(readline, history)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.set_history_length(_LONGEST_HISTORY)
            readline.write_history_file(history)


def _read_history(readline: ModuleType, history: Path) -> None:
    with contextlib.suppress(OSError):
        history.touch(mode=0o600)
        readline.read_history_file(history)
