"""Show the rounds of tools while they arrive: each answer, then the results of its calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from .display import NotebookView, fail_cell_with, in_notebook, show_on, show_output
from .sanitize import whole_characters
from .terminal import TerminalView
from .views import result_html

if TYPE_CHECKING:
    from .._turn.stream import AssistantMessageEventStream
    from .._types.content import ToolCall
    from .._types.messages import ToolResultMessage

_SHOWN_CHARACTERS = 200


class RoundsOnShow(Protocol):
    """The streams of the rounds, and their results."""

    def __iter__(self) -> Iterator[AssistantMessageEventStream]: ...

    def close(self) -> None:
        """End the rounds."""

    def observe(self, on_tool: Callable[[ToolCall, ToolResultMessage], object]) -> None:
        """Call a function with each result."""


def show_rounds(rounds: RoundsOnShow) -> None:
    """Show the rounds until they end. Raises their failure."""
    notebook = in_notebook()
    rounds.observe(_show_result if notebook else _print_result)
    try:
        for stream in rounds:
            with stream:
                show_on(stream, NotebookView(folded=True) if notebook else TerminalView())
    finally:
        rounds.close()


def show_rounds_as_result(rounds: RoundsOnShow) -> None:
    """Show the rounds that are the last expression of a cell; their failure fails the cell."""
    fail_cell_with(lambda: show_rounds(rounds))


def _show_result(call: ToolCall, result: ToolResultMessage) -> None:
    show_output(result_html(call.name, result), _line(call, result))


def _print_result(call: ToolCall, result: ToolResultMessage) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    line = _line(call, result).encode(encoding, "replace").decode(encoding)
    print(line, flush=True)


def _line(call: ToolCall, result: ToolResultMessage) -> str:
    text = whole_characters(" ".join(str(result).split()))
    cut = "…" if len(text) > _SHOWN_CHARACTERS else ""
    name = whole_characters(str(call.name))
    return f"[{name}{' failed' if result.is_error else ''}: {text[:_SHOWN_CHARACTERS]}{cut}]"
