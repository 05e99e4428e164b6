"""A stream in a notebook: one output that is written anew while the answer comes.

This is the one door to IPython, which is imported when something is to be shown. Showing takes no
events: it looks at the newest snapshot ten times a second, and less often when that is long, since
each look sends all of it to the page. So a long turn costs a notebook what its time costs, however
many pieces it comes in, and whoever iterates the stream still gets every event.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .markdown import CANCELLED, message_markdown, partial_markdown

if TYPE_CHECKING:
    from .._turn.stream import AssistantMessageEventStream
    from .._types.messages import AssistantMessage

_SECONDS_BETWEEN_LOOKS = 0.1
# A Jupyter server drops the output of a cell that sends more than a million bytes a second.
_CHARACTERS_A_SECOND = 200_000

_UNDER_WAY = "…"
_INTERRUPTED = "Interrupted. This is what had arrived."


def show(stream: AssistantMessageEventStream) -> AssistantMessage:
    """Show the stream until it ends, and return its message. Raises what went wrong with it."""
    ipython = _ipython()
    with stream:
        if _shows_markdown(ipython):
            return _show_live(stream, _Output(ipython))
        message = stream.result()
        ipython.display.display(message)
        return message


def show_as_result(stream: AssistantMessageEventStream) -> None:
    """Show the stream that is the last expression of a cell; what goes wrong fails the cell."""
    ipython = _ipython()
    if not _shows_markdown(ipython):
        # Nothing is missing: in IPython's protocol this is how `_ipython_display_` says that it has
        # shown nothing. IPython catches it, and shows the repr as it does for any object.
        raise NotImplementedError("IPython shows the repr")
    try:
        show(stream)
    except Exception as exc:  # noqa: BLE001  (whatever the stream fails with)
        _fail_cell(ipython.get_ipython(), exc)


def _ipython() -> Any:
    try:
        import IPython.display
    except ImportError as exc:
        raise ConfigurationError(
            "showing a stream needs IPython: pip install 'pi-native[jupyter]'"
        ) from exc
    return IPython


def _shows_markdown(ipython: Any) -> bool:
    """Whether this is a notebook; a terminal's shell, or none at all, has no outputs to change."""
    shell = ipython.get_ipython()
    return shell is not None and "text/markdown" in shell.display_formatter.active_types


class _Output:
    """One output of a cell."""

    def __init__(self, ipython: Any) -> None:
        self.seconds_between_looks = _SECONDS_BETWEEN_LOOKS
        self._handle = ipython.display.DisplayHandle()

    def begin(self) -> None:
        """Put it on the page."""
        self._handle.display(_bundle(_UNDER_WAY), raw=True)

    def write(self, markdown: str, plain: str = _UNDER_WAY) -> None:
        """Replace what the output says."""
        self.seconds_between_looks = max(
            _SECONDS_BETWEEN_LOOKS, len(markdown) / _CHARACTERS_A_SECOND
        )
        self._handle.update(_bundle(markdown, plain), raw=True)


def _bundle(markdown: str, plain: str = _UNDER_WAY) -> dict[str, str]:
    return {"text/markdown": markdown, "text/plain": plain}


def _show_live(stream: AssistantMessageEventStream, output: _Output) -> AssistantMessage:
    try:
        output.begin()
        _follow(stream, output)
        message = stream.result()
        output.write(_complete(message, stream.partial), repr(message))
        return message
    except BaseException as exc:
        stream.close()
        output.write(partial_markdown(stream.partial, _remark(exc)), repr(stream.partial))
        if isinstance(exc, KeyboardInterrupt):
            _shorten(exc)
        raise


def _follow(stream: AssistantMessageEventStream, output: _Output) -> None:
    """Write what has arrived, again and again, until the stream has ended."""
    written = None
    while not stream.done:
        _wait(stream, output.seconds_between_looks)
        if (partial := stream.partial) is not written:
            output.write(partial_markdown(partial, _UNDER_WAY))
            written = partial


def _wait(stream: AssistantMessageEventStream, seconds: float) -> None:
    # It means nothing yet, or a deadline of the stream's own, by which it has ended.
    with contextlib.suppress(TimeoutError):
        stream.result(seconds)


def _complete(message: AssistantMessage, partial: AssistantMessage | None) -> str:
    if message.stop_reason == "aborted" and not message.content:  # a stand-in, made on this side
        return partial_markdown(partial, CANCELLED)
    return message_markdown(message)


def _remark(exc: BaseException) -> str:
    if isinstance(exc, KeyboardInterrupt):
        return _INTERRUPTED
    return f"Failed: {type(exc).__name__}: {exc}"


def _shorten(exc: BaseException) -> None:
    """Have IPython print one line for it: where in this package it struck helps nobody."""
    line = ": ".join(filter(None, (type(exc).__name__, str(exc))))
    exc._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]


def _fail_cell(shell: Any, exc: Exception) -> None:
    # IPython prints what is raised while it shows a result, and takes the cell for a success all
    # the same: "run all" would go on.
    _shorten(exc)
    try:
        shell.showtraceback((type(exc), exc, exc.__traceback__))
    finally:
        del exc._render_traceback_  # type: ignore[attr-defined]  # it could not be pickled
    result = getattr(shell.displayhook, "exec_result", None)
    if result is not None:
        result.error_in_exec = exc
