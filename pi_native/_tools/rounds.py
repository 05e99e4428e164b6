"""The rounds of a conversation with tools, as an iterator of streams."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from .._turn.stream import AssistantMessageEventStream
from .._types.messages import AssistantMessage
from ..errors import PiNativeError
from .loop import ToolLoop
from .toolbox import OnTool

if TYPE_CHECKING:
    from typing_extensions import Self


class Rounds(Iterator[AssistantMessageEventStream]):
    """The rounds of `Conversation.rounds`: the stream of each request, one after the other.

    Asking for the next stream waits for the end of the current one, and runs the tools that its
    answer calls. The iteration ends after an answer without calls, which is `message`. Use it as a
    context manager or call `close()`, unless the iteration runs to its end: until then the
    conversation is busy.

        >>> chat = Conversation(Client(), "anthropic/claude-sonnet-4-5")
        >>> with chat.rounds("Why is the sky blue?") as rounds:
        ...     for stream in rounds:
        ...         print("".join(stream.text_stream))
        Because of the air.
        >>> rounds.message.stop_reason
        'stop'
    """

    def __init__(self, loop: ToolLoop) -> None:
        self._loop = loop
        self._streams = loop.streams()

    @property
    def message(self) -> AssistantMessage | None:
        """The last message; None until the rounds have ended well."""
        return self._loop.final

    def __next__(self) -> AssistantMessageEventStream:
        """Finish the current round, and return the stream of the next one.

        Raises the errors of `Conversation.run`.
        """
        return next(self._streams)

    def abort(self, reason: object = None) -> None:
        """Cancel the rounds, from any thread; return at once. Tools that run are not waited for.

        The thread that waits for a stream or for tools gets `reason` (an exception as it is, else
        an `AbortError`).
        """
        self._loop.abort(reason)

    def display(self) -> AssistantMessage:
        """Show the rounds while they arrive, and return the last message.

        In a notebook, tool calls and results are folded; elsewhere, the text and the results are
        printed. Raises the errors of `Conversation.run`, and in a notebook `ConfigurationError`
        without the extra `pi-native[jupyter]`.
        """
        from .._notebook.rounds import show_rounds  # only notebooks need it

        show_rounds(self)
        if self.message is None:
            raise PiNativeError("the rounds were closed before their last message")
        return self.message

    def _ipython_display_(self) -> None:
        """Display the rounds if they are the last expression of a cell."""
        from .._notebook.rounds import show_rounds_as_result

        show_rounds_as_result(self)

    def observe(self, on_tool: OnTool) -> None:
        """Call another function with each call and its result, as `on_tool`."""
        self._loop.toolbox.observers.append(on_tool)

    def close(self) -> None:
        """End the rounds: cancel the turn if it still runs, and answer open calls as not run.

        While another thread, or a callback, is inside of the iteration, this is `abort()`.
        """
        if inspect.getgeneratorstate(self._streams) == inspect.GEN_RUNNING:
            self.abort()
        else:
            self._streams.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
