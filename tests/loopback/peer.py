"""A peer that runs a script of the test at its socket, and records the requests."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = OK + b"Connection: close\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return one HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Connection:
    """One accepted connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = b""

    def read_request(self) -> bytes:
        """Read one whole request, headers and body."""
        while b"\r\n\r\n" not in self.request:
            self._more()
        head, _, body = self.request.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        while len(body) < length:
            body += self._more()
        request, self.request = head + b"\r\n\r\n" + body[:length], body[length:]
        return request

    def send(self, *pieces: bytes) -> None:
        """Send each piece in a separate write."""
        for piece in pieces:
            self.sock.sendall(piece)

    def close(self) -> None:
        """Close the connection with an orderly end."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a reset instead of an orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def wait_closed(self) -> None:
        """Block until the other side has closed."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass

    def _more(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("the client closed")
        self.request += data
        return data


def answers(
    *pieces: bytes, then: Callable[[Connection], object] = lambda _: None
) -> Callable[[Connection], None]:
    """Return a script: read the request, send the pieces, call `then`, and send nothing more."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(*pieces)
        then(connection)

    return script


class Peer:
    """Listener on loopback that runs a script for each connection, each in a new thread."""

    def __init__(
        self, script: Callable[[Connection], object], tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.accepted = 0
        self.closed = threading.Event()  # a client has closed its connection
        self.errors: list[BaseException] = []
        port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"

    def __enter__(self) -> Peer:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        if self.errors:
            raise self.errors[0]

    def _run(self, target: Callable[[], object]) -> None:
        thread = threading.Thread(target=target, name="peer", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(sock)
            self._run(lambda sock=sock: self._serve(sock))  # type: ignore[misc]

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.closing(sock):
            try:
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_side=True)
                    self._open.append(sock)
                connection = Connection(sock)
                with contextlib.closing(sock):
                    self._script(connection)
                    connection.wait_closed()
            except (OSError, ConnectionError):
                pass
            except BaseException as exc:  # noqa: BLE001 - raised in the test when the peer ends
                self.errors.append(exc)
            finally:
                self.closed.set()


class FullBacklog:
    """Listener with a full backlog: connecting to it hangs."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        listener = self._stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        self._port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        for _ in range(4):
            filler = self._stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self._port))
        self._fillers = self._syns()

    def __enter__(self) -> FullBacklog:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def has_caller(self) -> bool:
        """Return whether a connection waits beside those that fill the backlog."""
        return self._syns() > self._fillers

    def _syns(self) -> int:
        with open("/proc/self/net/tcp") as table:
            rows = [line.split() for line in table][1:]
        return sum(row[2].endswith(f":{self._port:04X}") and row[3] == "02" for row in rows)
