"""A real kernel, as a notebook's page sees it: cells go in, outputs come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

LIMIT = 60  # seconds for a cell, of which none needs more than one


class Kernel(NotebookClient):
    """Runs cells one by one, and does something at the moment when a text is on the page."""

    _awaited: str | None = None
    _action: Callable[[], Any]

    def run(
        self,
        source: str,
        *,
        once_shown: str | None = None,
        do: Callable[[], Any] = lambda: None,
        fails_with: str | None = None,
    ) -> NotebookNode:
        """Run a cell, which is to fail with an exception of that name, if any.

        As soon as one of its outputs shows the text `once_shown`, `do` is called. Afterwards
        `writings` is how often an output was written.
        """
        self.writings = 0
        self._failure: str | None = None
        self._awaited, self._action = once_shown, do
        self.nb.cells.append(nbformat.v4.new_code_cell(source))
        cell = self.execute_cell(self.nb.cells[-1], len(self.nb.cells) - 1)
        assert self._awaited is None, f"{self._awaited!r} was never shown"
        assert self._failure == fails_with, cell.outputs
        return cell

    def note_failure(self, execute_reply: dict[str, Any], **_about: Any) -> None:
        """A cell has failed, as the kernel's answer to the page says; nbclient calls this."""
        self._failure = execute_reply["content"]["ename"]

    def press_stop(self) -> None:
        """What the stop button does."""
        self._interrupt = asyncio.ensure_future(self.km.interrupt_kernel())

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        """Take a message of the kernel's; nbclient calls this for each."""
        output = super().process_message(msg, cell, cell_index)
        self.writings += "data" in msg["content"]
        if self._awaited is not None and self._awaited in str(msg["content"].get("data")):
            self._awaited = None
            self._action()
        return output


@contextlib.contextmanager
def running_kernel(environment: dict[str, str]) -> Iterator[Kernel]:
    """A kernel of its own, with that environment, as long as the block lasts."""
    # A kernel drops what comes within a moment of a failure, unless failures are allowed.
    kernel = Kernel(
        nbformat.v4.new_notebook(), timeout=LIMIT, kernel_name="python3", allow_errors=True
    )
    kernel.on_cell_error = kernel.note_failure
    with kernel.setup_kernel(env=environment):
        yield kernel


def markdown_of(cell: NotebookNode) -> list[str]:
    """What the cell's outputs show as Markdown, in order."""
    shown = (output.get("data", {}).get("text/markdown") for output in cell.outputs)
    return [markdown for markdown in shown if markdown is not None]


def printed_by(cell: NotebookNode) -> str:
    """What the cell has printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def errors_of(cell: NotebookNode) -> list[NotebookNode]:
    """The errors that the cell shows."""
    return [output for output in cell.outputs if output.output_type == "error"]
