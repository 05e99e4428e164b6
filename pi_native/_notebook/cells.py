"""Cancel the turns of a cell that is interrupted in the user's own code.

The stop button raises `KeyboardInterrupt` in the body of a loop as well. A variable of the notebook
then still holds the stream, so that its turn would continue, and be billed.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._turn.stream import AssistantMessageEventStream

_used: weakref.WeakSet[AssistantMessageEventStream] = weakref.WeakSet()
"""The streams that the current cell has started or iterated."""

_watched: weakref.WeakSet[Any] = weakref.WeakSet()


def current_shell() -> Any:
    """Return the shell of IPython that this process runs in, or None."""
    ipython = sys.modules.get("IPython")  # who runs in IPython has imported it
    return ipython and ipython.get_ipython()


def used_in_cell(stream: AssistantMessageEventStream) -> None:
    """Note that the current cell uses a stream.

    A stream of another thread is not noted: the stop button interrupts the main thread only.
    """
    shell = current_shell()
    if shell is None or threading.current_thread() is not threading.main_thread():
        return
    _used.add(stream)
    if shell not in _watched:
        _watched.add(shell)
        shell.events.register("post_run_cell", _cell_ended)


def _cell_ended(result: Any = None) -> None:
    streams = list(_used)
    _used.clear()
    if isinstance(getattr(result, "error_in_exec", None), KeyboardInterrupt):
        for stream in streams:
            stream.abort()
