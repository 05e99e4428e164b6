"""A real kernel as a notebook page uses it: cells go in, outputs come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

LIMIT = 60  # seconds for a cell; each needs less than one


class Kernel(NotebookClient):
    """Runs cells one by one, and calls a function as soon as a text is shown."""

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
        """Run a cell, and check that it fails with an exception of that name, or does not fail.

        Calls `do` as soon as an output shows the text `once_shown`. Afterwards `writings` is the
        number of times that an output was written.
        """
        self.writings = 0
        self.plain_texts: list[str] = []
        self._failure: str | None = None
        self._awaited, self._action = once_shown, do
        self.nb.cells.append(nbformat.v4.new_code_cell(source))
        cell = self.execute_cell(self.nb.cells[-1], len(self.nb.cells) - 1)
        assert self._awaited is None, f"{self._awaited!r} was never shown"
        assert self._failure == fails_with, cell.outputs
        return cell

    def note_failure(self, execute_reply: dict[str, Any], **_about: Any) -> None:
        """Note that a cell failed, as the reply of the kernel says; nbclient calls this."""
        self._failure = execute_reply["content"]["ename"]

    def press_stop(self) -> None:
        """Interrupt the kernel, as the stop button does."""
        self._interrupt = asyncio.ensure_future(self.km.interrupt_kernel())

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        """Handle a message of the kernel; nbclient calls this for each."""
        output = super().process_message(msg, cell, cell_index)
        content = msg["content"]
        self.writings += "data" in content
        if msg["msg_type"] in ("display_data", "execute_result"):
            self.plain_texts.append(content["data"]["text/plain"])
        shown = content.get("data") or content.get("text")
        if self._awaited is not None and self._awaited in str(shown):
            self._awaited = None
            self._action()
        return output


@contextlib.contextmanager
def running_kernel(environment: dict[str, str]) -> Iterator[Kernel]:
    """Start a kernel with that environment, and stop it at the end of the block."""
    # Unless failures are allowed, a kernel drops requests that arrive just after a failure.
    kernel = Kernel(
        nbformat.v4.new_notebook(), timeout=LIMIT, kernel_name="python3", allow_errors=True
    )
    kernel.on_cell_error = kernel.note_failure
    with kernel.setup_kernel(env=environment):
        yield kernel


def html_of(cell: NotebookNode) -> list[str]:
    """Return the HTML of the cell's outputs, in order, without outputs that are empty."""
    shown = (output.get("data", {}).get("text/html") for output in cell.outputs)
    return [html for html in shown if html]


def console_of(kernel: Kernel) -> str:
    """Return what a front end prints that shows plain text and ignores updates of outputs."""
    return "\n".join(kernel.plain_texts)


def printed_by(cell: NotebookNode) -> str:
    """Return what the cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def errors_of(cell: NotebookNode) -> list[NotebookNode]:
    """Return the errors that the cell shows."""
    return [output for output in cell.outputs if output.output_type == "error"]
