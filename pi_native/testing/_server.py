"""The HTTP server of the fake gateway: `http.server` with one thread for each connection."""

import contextlib
import selectors
import socket
import socketserver
import ssl
import sys
import threading
import warnings
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

from ._handler import Handler, HungUp
from ._request import RecordedRequest
from ._response import Response

__all__ = ["Server"]

_JOIN_TIMEOUT = 5.0  # seconds; only a function in the script can hold a thread for that long


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 from its creation until `close()`."""

    request_queue_size = 256
    allow_reuse_address = sys.platform != "win32"  # on Windows it would share the port

    def __init__(
        self,
        port: int,
        tls: ssl.SSLContext | None,
        respond: Callable[[RecordedRequest], Response],
    ) -> None:
        self.respond = respond
        self.accepted = 0
        self.closing = threading.Event()
        self._tls = tls
        self._lock = threading.Lock()  # keeps close() off a descriptor that is being closed
        self._open: set[socket.socket] = set()
        self._workers: list[threading.Thread] = []
        super().__init__(("127.0.0.1", port), Handler)
        self._wake, self._woken = socket.socketpair()
        self._name = f"fake-gateway-{self.server_port}"
        self._accepter = threading.Thread(target=self._accept, name=self._name, daemon=True)
        self._accepter.start()

    @property
    def open(self) -> int:
        """The number of connections that are open on this side."""
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        """Stop listening, cut every connection and wait for every thread."""
        self.closing.set()
        self._wake.close()
        self._accepter.join()
        with self._lock:
            for sock in self._open:
                _cut(sock)
        for thread in self._workers:
            thread.join(_JOIN_TIMEOUT)
            if thread.is_alive():
                warnings.warn(
                    f"{thread.name} did not end within {_JOIN_TIMEOUT:g} s; "
                    "a function in the script does not return",
                    ResourceWarning,
                    stacklevel=3,
                )

    def _accept(self) -> None:
        # Not serve_forever: it notices its shutdown only after a poll interval.
        with self, self._woken, selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while all(key.fileobj is not self._woken for key, _ in selector.select()):
                self.handle_request()

    # What `socketserver` calls

    def server_bind(self) -> None:
        """Bind, without the look-up of a host name that `HTTPServer` makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def server_close(self) -> None:
        """Close the listening socket; `close()` waits for the threads."""
        self.socket.close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Its own thread makes the TLS handshake."""
        sock, address = self.socket.accept()
        sock.setblocking(True)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection in a thread of its own."""
        with self._lock:
            self.accepted += 1
            self._open.add(request)
            # The gateway may run for days: keep only threads that are alive.
            self._workers = [thread for thread in self._workers if thread.is_alive()]
            thread = threading.Thread(
                target=self.process_request_thread,
                args=(request, (*client_address, self.accepted)),
                name=f"{self._name}-{self.accepted}",
                daemon=True,
            )
            self._workers.append(thread)
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close the connection; count it as closed before the client can see that."""
        with self._lock:
            self._open.discard(request)
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback, unless the connection has ended."""
        if not isinstance(sys.exc_info()[1], (OSError, HungUp)):
            super().handle_error(request, client_address)


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not SSLSocket.shutdown, which removes the TLS layer while another thread reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
