"""A check that green threads have not replaced the real ones.

The package relies on real threads: the timer thread sleeps in a C queue, which blocks an event
loop, and a cancel shuts down a socket that another thread is blocked in. Tried with gevent 26.9:
with everything patched the queue's lock is missing, with `queue=False` the first turn never ends,
and with `thread=False` the second turn meets a hub of a dead thread.
"""

from __future__ import annotations

import queue
import socket
import threading

from ..errors import ConfigurationError

_LIBRARIES = ("gevent", "eventlet")


def require_real_threads() -> None:
    """Raise `ConfigurationError` in a process whose threads, sockets or queues were replaced."""
    for replaceable in (threading.get_ident, socket.socket, queue.Queue, queue.SimpleQueue):
        library = replaceable.__module__.partition(".")[0]
        if library in _LIBRARIES:
            raise ConfigurationError(
                f"pi_native needs real threads and sockets, and {library} has replaced them here: "
                f"call it in a process that is not patched"
            )
