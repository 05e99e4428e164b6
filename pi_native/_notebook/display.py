"""Show a stream while it arrives: in a notebook, in the terminal of IPython, in a plain REPL.

Showing takes no events from callers that iterate. It looks at the newest snapshot ten times a
second, and less often when the snapshot is long, because each look sends all of it to the page.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ProviderError
from .cells import current_shell
from .sanitize import safe_html
from .short_traceback import mark_as_shown
from .terminal import TerminalView
from .views import CANCELLED, ending_of, message_html, partial_html

if TYPE_CHECKING:
    from .._turn.stream import AssistantMessageEventStream
    from .._types.messages import AssistantMessage

_SECONDS_BETWEEN_LOOKS = 0.1
# A Jupyter server drops the output of a cell that sends more than a million bytes a second.
_CHARACTERS_PER_SECOND = 200_000
_RENDERING_SHARE = 0.2  # of the time: the kernel has other work

_PENDING = "…"
_INTERRUPTED = "Interrupted. This is what had arrived."


class View(Protocol):
    """The place that shows a stream."""

    seconds_between_looks: float

    def begin(self) -> None:
        """Show that the stream runs."""

    def show_partial(self, message: AssistantMessage | None) -> None:
        """Show what has arrived so far."""

    def end(self, message: AssistantMessage | None, remark: str | None) -> None:
        """Show a complete message, or with a remark what there is of it."""


def show(stream: AssistantMessageEventStream) -> AssistantMessage:
    """Show the stream until it ends and return its message.

    Raises the failure of the stream, and `ProviderError` when the provider failed.
    """
    with stream:
        return show_on(stream, NotebookView() if in_notebook() else TerminalView())


def show_as_result(stream: AssistantMessageEventStream) -> None:
    """Show the stream that is the last expression of a cell; its failure fails the cell."""
    fail_cell_with(lambda: show(stream))


def fail_cell_with(show: Callable[[], object]) -> None:
    """Show the last expression of a cell; what it raises fails the cell."""
    try:
        show()
    except Exception as exc:  # noqa: BLE001 - any failure of a stream
        _fail_cell(current_shell(), exc)


def in_notebook() -> bool:
    """Return True where an output can be HTML."""
    shell = current_shell()
    return shell is not None and "text/html" in shell.display_formatter.active_types


class NotebookView:
    """One output of a cell that is replaced while the answer arrives. Tool calls may be folded."""

    def __init__(self, *, folded: bool = False) -> None:
        from IPython.display import DisplayHandle

        safe_html("")  # raises early if the extra is not installed
        self.seconds_between_looks = _SECONDS_BETWEEN_LOOKS
        self._folded = folded
        self._handle = DisplayHandle()

    def begin(self) -> None:
        """Show dots."""
        self._handle.display(_bundle(partial_html(None, _PENDING), _PENDING), raw=True)

    def show_partial(self, message: AssistantMessage | None) -> None:
        """Replace the output."""
        began = time.perf_counter()
        html = partial_html(message, _PENDING, folded=self._folded)
        self.seconds_between_looks = max(
            _SECONDS_BETWEEN_LOOKS,
            len(html) / _CHARACTERS_PER_SECOND,
            (time.perf_counter() - began) / _RENDERING_SHARE,
        )
        self._handle.update(_bundle(html, _PENDING), raw=True)

    def end(self, message: AssistantMessage | None, remark: str | None) -> None:
        """Show the final state as an output of its own, and empty the live one.

        `jupyter console` and `ipywidgets.Output` ignore updates of an output.
        """
        if message is not None and remark is None:
            html, remark = message_html(message, folded=self._folded), ending_of(message)
        else:
            html = partial_html(message, remark or "", folded=self._folded)
        text = message.text if message else ""
        show_output(html, "\n".join(filter(None, [text, remark])))
        self._handle.update(_bundle("", ""), raw=True)


def show_output(html: str, plain: str) -> None:
    """Add an output to the cell, in two forms."""
    from IPython.display import display

    display(_bundle(html, plain), raw=True)


def _bundle(html: str, plain: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": plain}


def show_on(stream: AssistantMessageEventStream, view: View) -> AssistantMessage:
    """Show the stream on a view until it ends and return its message. Raises as `show` does."""
    try:
        view.begin()
        _follow(stream, view)
        message = stream.result()
        if message.stop_reason == "aborted" and not message.content:  # made on this side
            view.end(stream.partial, CANCELLED)
        else:
            view.end(message, None)
    except BaseException as exc:
        stream.close()
        view.end(stream.partial, _remark(exc))
        mark_as_shown(exc)
        raise
    if message.failed and not _cancelled(stream):
        _raise_failure(message)
    return message


def _cancelled(stream: AssistantMessageEventStream) -> bool:
    producer = stream._producer
    return producer is not None and producer.cancelled


def _raise_failure(message: AssistantMessage) -> None:
    try:
        message.raise_for_error()
    except ProviderError as exc:
        mark_as_shown(exc)
        raise


def _follow(stream: AssistantMessageEventStream, view: View) -> None:
    """Show what has arrived, again and again, until the stream has ended."""
    shown = None
    while not stream.done:
        _wait(stream, view.seconds_between_looks)
        if (partial := stream.partial) is not shown:
            view.show_partial(partial)
            shown = partial


def _wait(stream: AssistantMessageEventStream, seconds: float) -> None:
    # The exception means that the time is over, or that a timeout ended the stream.
    with contextlib.suppress(TimeoutError):
        stream.result(seconds)


def _remark(exc: BaseException) -> str:
    if isinstance(exc, KeyboardInterrupt):
        return _INTERRUPTED
    return f"Failed: {type(exc).__name__}: {exc}"


def _fail_cell(shell: Any, exc: Exception) -> None:
    # IPython prints an exception that is raised while it shows a result, and still counts the cell
    # as a success: "run all" would continue.
    shell.showtraceback((type(exc), exc, exc.__traceback__))
    exc.__dict__.pop("_render_traceback_", None)  # it cannot be pickled
    result = getattr(shell.displayhook, "exec_result", None)
    if result is not None:
        result.error_in_exec = exc
