"""Says at once that green threads will not do, instead of hanging later.

What this package promises rests on real threads: the watchdog sleeps in a C queue that no event
loop gets past, and a cancel shuts down a socket that another thread is blocked in. Tried with
gevent 26.9: with everything patched the queue's lock is missing, with `queue=False` the first turn
never ends, and with `thread=False` the second turn meets a hub that belongs to a dead thread.
"""

from __future__ import annotations

import queue
import socket
import threading

from ..errors import ConfigurationError

_LIBRARIES = ("gevent", "eventlet")


def require_real_threads() -> None:
    """Raise `ConfigurationError` in a process whose threads, sockets or queues were replaced."""
    for thing in (threading.get_ident, socket.socket, queue.Queue, queue.SimpleQueue):
        library = thing.__module__.partition(".")[0]
        if library in _LIBRARIES:
            raise ConfigurationError(
                f"pi_native needs real threads and sockets, and {library} has replaced them here: "
                f"call it in a process that is not patched"
            )
