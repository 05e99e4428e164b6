"""A TCP connection that any thread can cut: how it is opened, read, written and cut.

`Response.close()` from another thread does not cancel: it waits for the reader's lock until the
read times out (5.6 s seen). Shutting the socket down wakes the reader in about 1 ms. Wrapping in
TLS detaches the socket, and shutting down an `SSLSocket` makes its reader see ciphertext, so the
handle keeps a duplicate of the descriptor and shuts that down.

On Windows a shutdown ends neither a blocked `recv` nor a pending `connect` (python/cpython#91913).
So no wait here is longer than RECHECK_SECONDS: the worker looks whether the connection was cut, and
waits again. This moves no deadline; deadlines are timers that cut the connection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from .._threads.clock import monotonic

RECHECK_SECONDS = 2.0
_RECHECK_CONNECT_SECONDS = 0.1
_NEXT_ADDRESS_SECONDS = 0.3  # RFC 8305, section 8, recommends 250 ms
_UNDER_WAY = {errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", -1)}
_SEND_BYTES = 64 * 1024
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}

Address = tuple[int, int, int, str, Any]
"""One row of `socket.getaddrinfo`."""


class SendProgress(Protocol):
    """Receives the steps of one `Transport.send`, in the thread that sends."""

    def connecting(self) -> None:
        """Note that a new connection is about to be opened."""

    def connected(self) -> None:
        """Note that the connection, new or reused, can take the request."""

    def resending(self) -> None:
        """Note that a reused connection was dead, and that the request is sent once more."""


class SocketHandle:
    """The connection of one attempt: any thread may cut it.

    `stage` says what the connection waits for while it is opened, for the text of a timeout; it is
    None once the connection can take the request.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        # Reentrant, because a finaliser may call `cut` in the middle of any of these methods.
        self._lock = threading.RLock()
        self._descriptor: int | None = None
        self._cut = False
        self.stage: str | None = "connecting"

    @property
    def is_cut(self) -> bool:
        """True once `cut` was called."""
        return self._cut

    def adopt(self, descriptor: int) -> None:
        """Hold this socket from now on. After a cut it is shut down at once."""
        with self._lock:
            self.release()
            self._descriptor = socket.dup(descriptor)
            if self._cut:
                _shut_down(self._descriptor)

    def cut(self) -> None:
        """End every wait for the socket. Idempotent; closes nothing.

        A forked child shares the socket with its parent, so there this does nothing.
        """
        if self._process != os.getpid():
            return
        with self._lock:
            self._cut = True
            if self._descriptor is not None:
                _shut_down(self._descriptor)

    def release(self) -> None:
        """Release the socket: from now on it may belong to another attempt."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                socket.close(descriptor)

    def __del__(self) -> None:
        """Close the duplicate: the descriptor is a number, which no collection closes."""
        self.release()

    def check(self) -> None:
        """Raise `ConnectionAbortedError` after a cut."""
        if self._cut:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the connection was cut")


def _shut_down(descriptor: int) -> None:
    # The family is given because detecting it fails on Windows for a socket that is not bound.
    wrapped = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=descriptor)
    try:
        wrapped.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not connected yet, or closed by the peer
    finally:
        wrapped.detach()


# Reading and writing


def receive_into(sock: Any, buffer: Any, handle: SocketHandle | None) -> int:
    """Receive into the buffer; return the number of bytes, 0 at the end.

    `sock` has a timeout of RECHECK_SECONDS. Raises `ConnectionAbortedError` after a cut.
    """
    while True:
        try:
            return int(sock.recv_into(buffer))
        except TimeoutError as exc:
            check_timeout(exc, handle)


def check_timeout(exc: TimeoutError, handle: SocketHandle | None) -> None:
    """Return if the wait for a socket may go on after this timeout; else raise."""
    if exc.errno is not None:  # ETIMEDOUT: the peer answers no keep-alive packet
        raise ConnectionResetError(exc.errno, "the peer no longer answers") from None
    if handle is None:
        raise exc
    handle.check()


def send_all(sock: Any, data: bytes, handle: SocketHandle) -> None:
    """Send all of the data, like `sendall`, which cannot be continued after a timeout."""
    view = memoryview(data).cast("B")
    while view:
        try:
            view = view[sock.send(view[:_SEND_BYTES]) :]
        except TimeoutError as exc:
            if exc.errno is not None:
                raise ConnectionResetError(exc.errno, "the peer no longer answers") from None
            handle.check()


# Connecting


def keep_alive(sock: socket.socket) -> None:
    """Have the system find out if a router or firewall has forgotten the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):  # not on every system that has the name
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def open_connection(
    addresses: Sequence[Address],
    prepare: Callable[[socket.socket], object],
    handle: SocketHandle,
) -> socket.socket:
    """Return a blocking socket that is connected to the first address that answers.

    A new address is tried every 0.3 s, or as soon as one fails, while the earlier ones are still
    waited for (RFC 8305). `prepare(sock)` sets options before the connect. Raises the last
    address's `OSError`, and `ConnectionAbortedError` after a cut.
    """
    race = _Race(addresses, prepare, handle)
    try:
        return race.run()
    finally:
        race.close()


class _Race:
    """Connection attempts to several addresses, of which the first success is kept."""

    def __init__(
        self,
        addresses: Sequence[Address],
        prepare: Callable[[socket.socket], object],
        handle: SocketHandle,
    ) -> None:
        self._waiting = deque(_alternate_families(addresses))
        self._prepare = prepare
        self._handle = handle
        self._selector = selectors.DefaultSelector()
        self._pending: set[socket.socket] = set()
        self._next_at = monotonic()
        self._error = OSError("the host name has no address")

    def run(self) -> socket.socket:
        while self._waiting or self._pending:
            if self._waiting and (monotonic() >= self._next_at or not self._pending):
                self._begin(self._waiting.popleft())
                self._handle.check()
            winner = self._wait()
            self._handle.check()
            if winner is not None:
                return winner
        raise self._error

    def close(self) -> None:
        for sock in self._pending:
            sock.close()
        self._selector.close()

    def _begin(self, address: Address) -> None:
        family, kind, protocol, _, target = address
        self._next_at = monotonic() + _NEXT_ADDRESS_SECONDS
        self._handle.stage = f"TCP connection to {_shown(target)}"
        sock = socket.socket(family, kind, protocol)
        try:
            self._prepare(sock)
            self._handle.adopt(sock.fileno())
            sock.setblocking(False)
            # `connect` and not `connect_ex`: guards of test suites replace it.
            sock.connect(target)
        except BlockingIOError:
            pass
        except OSError as exc:
            if exc.errno not in _UNDER_WAY:
                self._failed(sock, exc)
                return
        except BaseException:
            sock.close()
            raise
        self._pending.add(sock)
        self._selector.register(sock, selectors.EVENT_WRITE)

    def _wait(self) -> socket.socket | None:
        """Return a socket that has connected; None after a moment without one."""
        if not self._pending:
            return None
        moment = _RECHECK_CONNECT_SECONDS
        if self._waiting:
            moment = max(0.0, min(moment, self._next_at - monotonic()))
        for key, _ in self._selector.select(moment):
            sock: Any = key.fileobj
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._selector.unregister(sock)
            self._pending.discard(sock)
            if not code:
                return self._won(sock)
            self._failed(sock, _os_error(code))
        return None

    def _won(self, sock: socket.socket) -> socket.socket:
        self._handle.adopt(sock.fileno())
        sock.setblocking(True)
        return sock

    def _failed(self, sock: socket.socket, error: OSError) -> None:
        self._error = error
        self._next_at = monotonic()
        sock.close()


def _alternate_families(addresses: Iterable[Address]) -> list[Address]:
    """Put addresses of the other family in between (RFC 8305, section 4)."""
    found = list(addresses)
    first = [address for address in found if address[0] == found[0][0]]
    others = [address for address in found if address[0] != found[0][0]]
    mixed: list[Address] = []
    while first or others:
        mixed += first[:1] + others[:1]
        del first[:1], others[:1]
    return mixed


def _shown(target: Any) -> str:
    """Return an address as people write it."""
    host, port = target[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _os_error(code: int) -> OSError:
    # On Windows `os.strerror` does not know the codes of sockets, but this table does.
    texts: dict[int, str] = getattr(socket, "errorTab", {})
    return OSError(code, texts.get(code) or os.strerror(code))
