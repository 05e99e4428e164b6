"""Checks that this process, and this interpreter in it, can run the package's threads.

Green threads must not have replaced the real ones: the timer thread sleeps in a C queue, which
blocks an event loop, and a cancel shuts down a socket that another thread is blocked in. Tried with
gevent 26.9: with everything patched the queue's lock is missing, with `queue=False` the first turn
never ends, and with `thread=False` the second turn meets a hub of a dead thread.
"""

from __future__ import annotations

import queue
import socket
import threading

from ..errors import ConfigurationError, PiNativeError

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


def thread_failure(exc: RuntimeError) -> PiNativeError:
    """Return the error for a thread that could not be started.

    It is a `ConfigurationError` in an isolated subinterpreter, which allows no daemon threads.
    Other threads would keep the process alive until the answer is complete.
    """
    try:
        threading.Thread(daemon=True)
    except RuntimeError:
        return ConfigurationError(
            "pi_native needs daemon threads, which this subinterpreter does not allow",
            hint="call it in the main interpreter, or in a process of its own",
        )
    return PiNativeError(f"no thread can be started: {exc}")
