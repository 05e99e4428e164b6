"""The attempt that a thread sends at the moment, which the connections that it uses can find."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from .connection import SendProgress, SocketHandle

_thread = threading.local()


class DeadConnectionError(ConnectionResetError):
    """A reused connection was closed before the gateway can have worked on the request."""


@contextlib.contextmanager
def in_this_thread(handle: SocketHandle, progress: SendProgress | None = None) -> Iterator[None]:
    """Let connections that this thread uses within the block belong to the handle."""
    _thread.handle, _thread.progress = handle, progress
    try:
        yield
    finally:
        _thread.handle = _thread.progress = None


def current_handle() -> SocketHandle:
    """Return the handle of this thread; outside of `in_this_thread` one that nothing cuts."""
    handle: SocketHandle | None = getattr(_thread, "handle", None)
    return handle or SocketHandle()


def current_progress() -> SendProgress | None:
    """Return what receives the steps of this thread's request; None if nothing does."""
    progress: SendProgress | None = getattr(_thread, "progress", None)
    return progress
