"""The seam to urllib3: each call knows its sockets, so that a cancel reaches them.

`Response.close()` from another thread does not cancel: it waits for the reader's lock. A shutdown
wakes the reader in about a millisecond, in every phase, if only one has the socket. While a TCP
connect, a TLS handshake or the wait for headers runs there is no response to ask for it, so the
connections here hand each socket to the running call's `SocketHandle`, before it is connected.

A lifeline keeps a duplicate of the descriptor. Wrapping in TLS detaches the socket it is given, and
shutting down an `SSLSocket` makes its reader see ciphertext; the duplicate is spared both.

What this relies on in urllib3: `HTTPConnection._new_conn`, `_dns_host`, `ConnectionCls` of a pool
and `pool_classes_by_scheme` of a pool manager, `_original_response` of a response, and
`response_class` of http.client's connections.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util import wait_for_write
from urllib3.util.connection import allowed_gai_family

from .._protocol.chunked import Piece
from .response import ChunkedResponse

_running = threading.local()
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK)


class SocketHandle:
    """What one call holds of the connection it uses: enough to cut it, from any thread.

    The lock is reentrant because a finaliser may cut in the middle of any of these methods. A
    forked child has the same socket as its parent, and must not shut it down.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._descriptor: int | None = None
        self._cut = False
        self.connected = False
        self.reused = False
        self.connect_timeout: float | None = None
        self.on_connecting: Callable[[], object] = _nothing
        self.on_connected: Callable[[], object] = _nothing

    @property
    def is_cut(self) -> bool:
        """Whether the connection was, or would be, cut."""
        return self._cut

    def adopt(self, descriptor: int) -> None:
        """Take care of a socket. One that comes after the cut is shut down at birth."""
        with self._lock:
            self.release()
            self._descriptor = socket.dup(descriptor)
            if self._cut:
                _shut_down(self._descriptor)

    def cut(self) -> None:
        """End whatever the call's socket is being waited for. Idempotent; closes nothing."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._cut = True
            if self._descriptor is not None:
                _shut_down(self._descriptor)

    def release(self) -> None:
        """Let go of the socket: it belongs to nobody, or to the next call, from here on."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                socket.close(descriptor)

    def forget_callbacks(self) -> None:
        """A kept connection remembers the last lifeline; the call behind it must not stay."""
        self.on_connecting = self.on_connected = _nothing

    def now_connecting(self) -> None:
        """A connection is about to be made."""
        self.connected = self.reused = False
        self.on_connecting()

    def now_connected(self, *, reused: bool) -> None:
        """The connection can take the request: TCP, TLS and proxies are behind us."""
        self.connected = True
        self.reused = reused
        self.on_connected()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Within this block, connections used in this thread belong to this lifeline."""
        _running.lifeline = self
        try:
            yield
        finally:
            _running.lifeline = None


def _nothing() -> None:
    pass


def _shut_down(descriptor: int) -> None:
    wrapped = socket.socket(fileno=descriptor)
    try:
        wrapped.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # not connected yet, or gone already
    finally:
        wrapped.detach()


class CancellableConnection:
    """Mixed into urllib3's connections: hands their sockets to the running call's lifeline."""

    _owner: SocketHandle | None = None
    _born_for: SocketHandle | None = None

    def _new_conn(self: Any) -> socket.socket:
        lifeline = getattr(_running, "lifeline", None)
        self._take_over(lifeline)
        self._born_for = lifeline
        if lifeline is not None:
            lifeline.now_connecting()
        try:
            return _connect(self, lifeline)
        except socket.gaierror as exc:
            raise NameResolutionError(self.host, self, exc) from exc
        except OSError as exc:
            raise NewConnectionError(self, f"cannot connect: {exc}") from exc

    def request(self: Any, *args: Any, **kwargs: Any) -> None:
        lifeline = getattr(_running, "lifeline", None)
        if self.sock is None:
            self.connect()
        elif self._owner is not lifeline:
            self._take_over(lifeline)
            if lifeline is not None:
                lifeline.adopt(self.sock.fileno())
        if lifeline is not None:
            lifeline.now_connected(reused=self._born_for is not lifeline)
        super().request(*args, **kwargs)  # type: ignore[misc]

    def _take_over(self, lifeline: SocketHandle | None) -> None:
        # urllib3 gives a connection back inside the last read. The call that read from it may be
        # cancelled a moment later, and must not reach the next call's socket then.
        if self._owner is not None and self._owner is not lifeline:
            self._owner.release()
        self._owner = lifeline


def _connect(connection: Any, lifeline: SocketHandle | None) -> socket.socket:
    """Connect to one of the host's addresses, each within its share of the time that is left."""
    host = connection._dns_host.strip("[]")
    found = socket.getaddrinfo(host, connection.port, allowed_gai_family(), socket.SOCK_STREAM)
    error: OSError = OSError("the host name has no address")
    connect_by = _connect_by(lifeline)
    for index, (family, kind, protocol, _, address) in enumerate(found):
        if _is_cut(lifeline):
            raise ConnectionAbortedError("cancelled")
        sock = socket.socket(family, kind, protocol)
        try:
            _prepare(sock, connection, lifeline)
            seconds = connection.timeout
            # The watchdog ends the whole wait; this only leaves time for the next address.
            if connect_by is not None and (left := len(found) - index) > 1:
                seconds = max(0.1, (connect_by - time.monotonic()) / left)
            _connect_to(sock, address, seconds, lifeline)
            sock.settimeout(connection.timeout)
            return sock
        except OSError as exc:
            error = exc
            sock.close()
    raise error


def _connect_to(
    sock: socket.socket, address: Any, seconds: float | None, lifeline: SocketHandle | None
) -> None:
    """Connect, waiting for at most `seconds`.

    A socket cannot be shut down before its connecting has begun: a cut at that moment would leave
    the `connect` behind it blocked for minutes. So it is begun first, then the cut is looked for,
    and then it is waited for.
    """
    sock.setblocking(False)
    error = sock.connect_ex(address)
    if error in _UNDER_WAY and not _is_cut(lifeline):
        if not wait_for_write(sock, seconds):
            raise TimeoutError("timed out")
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if _is_cut(lifeline):
        raise ConnectionAbortedError("cancelled")
    if error:
        raise OSError(error, os.strerror(error))


def _is_cut(lifeline: SocketHandle | None) -> bool:
    return lifeline is not None and lifeline.is_cut


def _connect_by(lifeline: SocketHandle | None) -> float | None:
    if lifeline is None or lifeline.connect_timeout is None:
        return None
    return time.monotonic() + lifeline.connect_timeout


def _prepare(sock: socket.socket, connection: Any, lifeline: SocketHandle | None) -> None:
    for option in connection.socket_options or ():
        sock.setsockopt(*option)
    if connection.source_address:
        sock.bind(connection.source_address)
    if lifeline is not None:
        lifeline.adopt(sock.fileno())


def direct_read(
    raw: Any, before_read: Callable[[], object], after_read: Callable[[], object]
) -> Callable[[int], Piece | None] | None:
    """What reads the body of urllib3's response `raw` without urllib3 in between, if anything does.

    A third of what an event costs when events come one by one is urllib3's own. But only a read
    through urllib3 that meets the end gives the connection back. `before_read()` is called just
    before a read that may block.
    """
    response = getattr(raw, "_original_response", None)
    if not isinstance(response, ChunkedResponse) or not response.chunked or _is_encoded(raw):
        return None
    response.before_read = before_read
    response.after_read = after_read
    return response.read_piece


def _is_encoded(raw: Any) -> bool:
    return "content-encoding" in raw.headers


class _Connection(CancellableConnection, HTTPConnection):
    response_class = ChunkedResponse


class _TLSConnection(CancellableConnection, HTTPSConnection):
    response_class = ChunkedResponse


class _QuietWhenFull:
    """A pool that closes a connection it has no room for, instead of warning about it."""

    def _put_conn(self: Any, conn: Any) -> None:
        if conn is not None and self.pool is not None and self.pool.full():
            conn.close()
        else:
            super()._put_conn(conn)  # type: ignore[misc]


class _Pool(_QuietWhenFull, HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(_QuietWhenFull, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS = {"http": _Pool, "https": _TLSPool}


class CancellableAdapter(HTTPAdapter):
    """An adapter for requests whose connections can be cut, directly and through HTTP proxies."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have the pools built from the connections above."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def close(self) -> None:
        """Close the kept connections now; urllib3 would when the last answer is collected."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it refuses to be iterated over
                with contextlib.suppress(KeyError):
                    manager.pools[key].close()
        super().close()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """The same for proxies. SOCKS brings connections of its own, which stay as they are."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
