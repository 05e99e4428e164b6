"""The cancel of a run of tools: the caller's signal of either kind, and the signal of the tools."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from .._threads.abort import AbortController, AbortSignal, as_exception

if TYPE_CHECKING:
    from typing_extensions import Self

_EVENT_SECONDS = 0.05
# As in _threads/channel.py: the main thread looks for signals of the system this often.
_MAIN_THREAD_SECONDS = 0.2


class RunSignal:
    """Aborts `signal`, which tools get, when the caller's signal is set, or by `abort`.

    Use it as a context manager: it listens to the caller's signal inside of the block only.
    """

    def __init__(self, given: AbortSignal | threading.Event | None) -> None:
        self._given = given
        self._controller = AbortController()
        self._unlisten: Callable[[], None] | None = None

    @property
    def signal(self) -> AbortSignal:
        """The signal of the tools."""
        return self._controller.signal

    @property
    def cancelled(self) -> bool:
        """True once the run is cancelled."""
        if isinstance(self._given, AbortSignal):
            return self._given.aborted or self.signal.aborted
        return self.signal.aborted or (self._given is not None and self._given.is_set())

    @property
    def wait_seconds(self) -> float | None:
        """The time after which a thread that waits must look at `cancelled` again."""
        if self._given is not None and not isinstance(self._given, AbortSignal):
            return _EVENT_SECONDS
        main = threading.current_thread() is threading.main_thread()
        return _MAIN_THREAD_SECONDS if main else None

    def abort(self, reason: object = None) -> None:
        """Cancel the run, from any thread."""
        self._controller.abort(reason)

    def check(self) -> None:
        """Raise the reason of the cancel, if the run is cancelled."""
        if self.cancelled:
            raise self.error()

    def error(self) -> BaseException:
        """Return the reason of the cancel as an exception."""
        if isinstance(self._given, AbortSignal) and self._given.aborted:
            return as_exception(self._given.reason)
        return as_exception(self.signal.reason)

    def __enter__(self) -> Self:
        given = self._given
        if isinstance(given, AbortSignal):
            self._unlisten = given.add_listener(lambda: self.abort(given.reason))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.abort()  # tools that still run listen to the signal
        if self._unlisten is not None:
            self._unlisten()
