"""One request on its way, which the connections that its thread uses can find."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from .connection import SendProgress, SocketHandle


class Sending:
    """One request on its way, and what happened to it so far."""

    def __init__(self, handle: SocketHandle, progress: SendProgress | None = None) -> None:
        self.handle = handle
        self.progress = progress
        self.connected = False
        self.reused = False
        self.send_failed = False
        self.sent_at: float | None = None

    def begin_connecting(self) -> None:
        """Note that a new connection is about to be opened."""
        self.connected = False
        if self.progress is not None:
            self.progress.connecting()

    def connected_now(self, *, reused: bool) -> None:
        """Note that the connection can take the request."""
        self.connected, self.reused = True, reused
        if self.progress is not None:
            self.progress.connected()


_thread = threading.local()


@contextlib.contextmanager
def in_this_thread(sending: Sending) -> Iterator[None]:
    """Let connections that this thread uses within the block belong to `sending`."""
    _thread.sending = sending
    try:
        yield
    finally:
        _thread.sending = None


def current_sending() -> Sending:
    """Return what this thread sends; outside of `in_this_thread` an object of no consequence."""
    sending: Sending | None = getattr(_thread, "sending", None)
    return sending or Sending(SocketHandle())
