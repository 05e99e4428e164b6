"""The progress of a batch on the screen: tqdm where it is installed, else a line on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

from .._threads.clock import monotonic
from .progress import Progress

_TERMINAL_SECONDS = 0.1
_LOG_SECONDS = 10.0  # where a line cannot be written over, for example in a log file


class Display(Protocol):
    """Shows the progress of one batch."""

    def update(self, progress: Progress) -> None:
        """Show a new state."""

    def close(self) -> None:
        """Show the last state, and end."""


def make_display(progress: bool | Callable[[Progress], object]) -> Display | None:
    """Return the display for a `progress` argument; None for False."""
    if callable(progress):
        return _Callback(progress)
    if not progress:
        return None
    try:
        from tqdm.auto import tqdm  # lazy: an optional dependency, extra [batch]
    except ImportError:
        return _Line()
    return _Bar(tqdm)


class _Callback:
    """Calls the caller's function with each new state."""

    def __init__(self, function: Callable[[Progress], object]) -> None:
        self._function = function

    def update(self, progress: Progress) -> None:
        self._function(progress)

    def close(self) -> None:
        pass


class _Bar:
    """A bar of tqdm, in notebooks too."""

    def __init__(self, tqdm: Any) -> None:
        # No monitor thread of tqdm's, which would stay until the end of the process.
        self._tqdm = type("tqdm", (tqdm,), {"monitor_interval": 0})
        self._bar: Any = None

    def update(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = self._tqdm(
                total=progress.total, initial=progress.reused, unit="prompt", miniters=1
            )
        fields: dict[str, object] = {"running": progress.running}
        if progress.failed:
            fields["failed"] = progress.failed
        if progress.cost:
            fields["cost"] = f"${progress.cost:,.4f}"
        self._bar.set_postfix(fields, refresh=False)
        self._bar.update(progress.done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Line:
    """A line on stderr, written over in a terminal."""

    def __init__(self) -> None:
        self._shown_at = float("-inf")
        self._last: Progress | None = None
        self._width = 0

    def update(self, progress: Progress) -> None:
        self._last = progress
        pause = _TERMINAL_SECONDS if self._is_terminal() else _LOG_SECONDS
        if monotonic() - self._shown_at >= pause:
            self._show("\r" if self._is_terminal() else "\n")

    def close(self) -> None:
        if self._last is not None:
            self._show("\n")

    def _is_terminal(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    def _show(self, end: str) -> None:
        self._shown_at = monotonic()
        text = str(self._last)
        self._width = max(self._width, len(text)) if self._is_terminal() else 0
        print(text.ljust(self._width), end=end, file=sys.stderr, flush=True)
