"""The listening socket: one thread accepts, one more serves each connection."""

import contextlib
import selectors
import socket
import ssl
import threading
import warnings

from ._connection import Connection, Handler

__all__ = ["Listener"]

_BACKLOG = 256
_JOIN_TIMEOUT = 5.0  # seconds; only a script's own function can hold a thread that long


class Listener:
    """Listens from its creation until it is closed, and leaves nothing behind."""

    def __init__(self, port: int, tls: ssl.SSLContext | None, handle: Handler) -> None:
        self._tls = tls
        self._handle = handle
        self._lock = threading.Lock()
        self._accepted = 0
        self._threads: dict[Connection, threading.Thread] = {}
        self._socket = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._name = f"fake-gateway-{self.port}"
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept_all, name=self._name, daemon=True)
        self._thread.start()

    @property
    def accepted(self) -> int:
        """How many connections have been accepted so far."""
        with self._lock:
            return self._accepted

    @property
    def open(self) -> int:
        """How many of them are open on this side."""
        with self._lock:
            return sum(not connection.closed for connection in self._threads)

    def close(self) -> None:
        """Stop listening, cut every connection, wait for every thread."""
        self._wake.close()
        self._thread.join()
        for connection in self._threads:
            connection.cut()
        for thread in self._threads.values():
            thread.join(_JOIN_TIMEOUT)
            if thread.is_alive():
                warnings.warn(f"{thread.name} does not end", ResourceWarning, stacklevel=3)

    def _accept_all(self) -> None:
        with self._socket, self._woken, selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while all(key.fileobj is not self._woken for key, _ in selector.select()):
                # The client may have given up since.
                with contextlib.suppress(OSError):
                    self._start(self._socket.accept()[0])

    def _start(self, sock: socket.socket) -> None:
        with self._lock:
            self._accepted += 1
            connection = Connection(sock, self._tls, self._accepted, self._handle)
            name = f"{self._name}-{self._accepted}"
            thread = threading.Thread(target=connection.serve, name=name, daemon=True)
            # The gateway may serve for days: forget the connections of the past.
            self._threads = {c: t for c, t in self._threads.items() if t.is_alive()}
            self._threads[connection] = thread
            thread.start()
