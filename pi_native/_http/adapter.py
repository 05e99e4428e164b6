"""The classes under requests that hand every socket to the attempt that uses it.

This is the only file that relies on private names of urllib3, requests and http.client. They are
checked when it is imported, and setup.cfg has an upper bound for each library.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import importlib.metadata
import platform
import queue
import socket
import ssl
import sys
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.poolmanager import PoolManager
from urllib3.util.connection import allowed_gai_family
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.ssltransport import SSLTransport

from .._threads.clock import monotonic, since_boot
from .connection import RECHECK_SECONDS, SocketHandle, keep_alive, open_connection, send_all
from .response import ChunkedResponse
from .sending import DeadConnectionError, current_handle, current_progress
from .socks import negotiate
from .tls import CancellableTLSSocket

# A router or firewall that forgets an idle connection does not say so. Keep-alive packets find out
# on a connection in use; one that was idle for longer is not used again.
MAX_IDLE_SECONDS = 60.0
_RESEND_SECONDS = 0.5  # a request that waited for longer may have reached the model, and be billed
_FAILURES = (OSError, http.client.HTTPException)
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


# Connections


class CancellableConnection:
    """Mixed into urllib3's connections: gives their sockets to the handle of the attempt."""

    response_class: Any
    _owner: SocketHandle | None = None
    _opened_for: SocketHandle | None = None
    _idle_since: float | None = None
    _sent_at = 0.0
    _send_failed = False

    @property
    def is_connected(self) -> bool:
        """False for a connection that is closed, or was idle for too long."""
        idle = 0.0 if self._idle_since is None else since_boot() - self._idle_since
        return idle <= MAX_IDLE_SECONDS and super().is_connected  # type: ignore[misc]

    def hand_back(self: Any) -> None:
        """Release the attempt. A cancel of it must not reach the next one's connection."""
        owner, self._owner, self._opened_for = self._owner, None, None
        self.response_class = ChunkedResponse
        self._idle_since = since_boot()
        if owner is not None:
            owner.release()
            if self._send_failed:  # the peer waits for the rest of a request
                self.close()

    def _belong_to(self: Any, handle: SocketHandle) -> None:
        self._owner = handle
        self.response_class = functools.partial(ChunkedResponse, handle=handle)

    def _new_conn(self: Any) -> socket.socket:
        handle, progress = current_handle(), current_progress()
        self._opened_for = handle
        self._belong_to(handle)
        handle.stage = "connecting"
        if progress is not None:
            progress.connecting()
        try:
            sock: socket.socket = self._open(handle)
        except socket.gaierror as exc:
            raise NameResolutionError(self.host, self, exc) from exc
        except OSError as exc:
            raise NewConnectionError(self, f"cannot connect: {exc}") from exc
        sys.audit("http.client.connect", self, self.host, self.port)
        sock.settimeout(self.timeout)
        handle.stage = self._next_stage()
        return sock

    def _next_stage(self: Any) -> str:
        if self.proxy is not None:
            return f"CONNECT and TLS through the proxy {self.host}:{self.port}"
        return f"TLS handshake with {self.host}:{self.port}"

    def _open(self: Any, handle: SocketHandle) -> Any:
        return self._connect_to(self._dns_host.strip("[]"), self.port, handle)

    def _connect_to(self: Any, host: str, port: int, handle: SocketHandle) -> socket.socket:
        handle.stage = f"looking up the host {host}"
        found: Any = socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)
        handle.check()
        return open_connection(found, self._prepare, handle)

    def _prepare(self: Any, sock: socket.socket) -> None:
        for option in self.socket_options or ():
            sock.setsockopt(*option)
        keep_alive(sock)
        if self.source_address:
            sock.bind(self.source_address)

    def request(self: Any, *args: Any, **kwargs: Any) -> None:
        """Send the request over a new or a kept connection."""
        handle, progress = self._owner or current_handle(), current_progress()
        if self.sock is None:
            self.connect()
            handle = self._owner or handle
        elif self._owner is None:
            self._belong_to(handle)
            handle.adopt(self.sock.fileno())
        handle.stage = None
        if progress is not None:
            progress.connected()
        # A send through TLS in TLS cannot be continued after a timeout.
        self.sock.settimeout(None if isinstance(self.sock, SSLTransport) else RECHECK_SECONDS)
        self._send_failed = True
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
            self._send_failed = False
        except BrokenPipeError:
            raise  # urllib3 reads the response that may be there already
        except _FAILURES as exc:
            self._raise_if_dead(exc)
            raise
        finally:
            self._sent_at = monotonic()

    def getresponse(self: Any) -> Any:
        """Return the response once its head is in."""
        try:
            return super().getresponse()  # type: ignore[misc]
        except _FAILURES as exc:
            self._raise_if_dead(exc)
            raise

    def _raise_if_dead(self, exc: Exception) -> None:
        """Raise `DeadConnectionError` if the request can be sent again on another connection."""
        if self._opened_for is self._owner:
            return  # a new connection
        waited = monotonic() - self._sent_at
        if self._send_failed or (isinstance(exc, _CLOSED) and waited <= _RESEND_SECONDS):
            raise DeadConnectionError(errno.ECONNRESET, "a kept connection was closed") from None

    def send(self: Any, data: Any) -> None:
        """Send bytes. A TLS peer that has closed is a broken pipe, as without TLS.

        urllib3 then reads the response that may be there already, for example a 413.
        """
        if self.sock is None or self._owner is None or not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
            return
        sys.audit("http.client.send", self, data)
        try:
            if isinstance(self.sock, SSLTransport):
                self.sock.sendall(data)
            else:
                send_all(self.sock, data, self._owner)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
            raise BrokenPipeError(errno.EPIPE, "the peer closed the TLS connection") from exc


class _Connection(CancellableConnection, HTTPConnection):
    pass


class _TLSConnection(CancellableConnection, HTTPSConnection):
    def connect(self) -> None:
        """Connect with a TLS context of its own."""
        if self.ssl_context is None:
            self.ssl_context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
            self.ssl_context.sslsocket_class = CancellableTLSSocket
        super().connect()


# SOCKS


class _SocksConnection(CancellableConnection, HTTPConnection):
    """A connection through a SOCKS proxy, on a socket of ours."""

    def __init__(self, *args: Any, _socks_options: dict[str, Any], **kwargs: Any) -> None:
        self._socks = _socks_options
        super().__init__(*args, **kwargs)

    def _open(self: Any, handle: SocketHandle) -> Any:
        options = self._socks
        host, port = options["proxy_host"], int(options["proxy_port"] or 1080)
        sock = self._connect_to(host.strip("[]"), port, handle)
        handle.stage = f"waiting for the SOCKS proxy {host}:{port}"
        return negotiate(sock, options, (self.host, self.port), handle)


class _SocksTLSConnection(_SocksConnection, _TLSConnection):
    pass


# Pools and the adapter


class _Pool:
    """Mixed into urllib3's pools: gives connections back without a warning when it is full."""

    def _put_conn(self: Any, conn: Any) -> None:
        if conn is not None:
            conn.hand_back()
        pool = self.pool
        if pool is None or conn is None:
            super()._put_conn(conn)  # type: ignore[misc]
            return
        try:  # urllib3 would log a warning about a full pool
            pool.put(conn, block=False)
        except queue.Full:
            conn.close()


class _HTTPPool(_Pool, HTTPConnectionPool):
    ConnectionCls = _Connection


class _HTTPSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _SocksHTTPPool(_Pool, HTTPConnectionPool):
    ConnectionCls = _SocksConnection


class _SocksHTTPSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _SocksTLSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
_SOCKS_POOLS = {"http": _SocksHTTPPool, "https": _SocksHTTPSPool}


class CancellableAdapter(HTTPAdapter):
    """An adapter for requests whose connections can be cut, direct ones and through proxies."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Build the pools from the classes above."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Build the pools for a proxy from the classes above."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        is_socks = proxy.lower().startswith("socks")
        manager.pool_classes_by_scheme = _SOCKS_POOLS if is_socks else _POOLS
        return manager

    def close(self) -> None:
        """Close the kept connections now; urllib3 waits until the last response is collected."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated over
                with contextlib.suppress(KeyError):
                    manager.pools[key].close()
        super().close()


# Reading


def direct_response(raw: Any) -> ChunkedResponse | None:
    """Return the response whose chunked body can be read without urllib3; None for other bodies.

    urllib3 takes a third of the time per event when events come one by one. A read through urllib3
    must follow, as only that gives the connection back.
    """
    response = getattr(raw, "_original_response", None)
    if not isinstance(response, ChunkedResponse) or not response.chunked:
        return None
    return None if "content-encoding" in raw.headers else response


def check_private_names() -> None:
    """Raise `ImportError` if a library lacks a name that this package relies on."""
    urllib3_version = importlib.metadata.version("urllib3")
    connection = HTTPConnection("localhost")
    needed: list[tuple[str, str, object, tuple[str, ...]]] = [
        ("urllib3", urllib3_version, connection, ("_new_conn", "_dns_host", "socket_options")),
        ("urllib3", urllib3_version, connection, ("is_connected", "source_address")),
        ("urllib3", urllib3_version, HTTPConnectionPool, ("_put_conn", "ConnectionCls")),
        ("urllib3", urllib3_version, PoolManager(), ("pool_classes_by_scheme", "pools")),
        ("urllib3", urllib3_version, urllib3.HTTPResponse(), ("_original_response",)),
        ("requests", requests.__version__, HTTPAdapter, ("init_poolmanager", "proxy_manager_for")),
        ("Python", platform.python_version(), HTTPConnection, ("response_class", "send")),
    ]
    for library, version, owner, names in needed:
        for name in names:
            if not hasattr(owner, name):
                raise ImportError(
                    f"pi_native does not work with {library} {version}, which has no {name}: "
                    f"install a version of {library} that the requirements of pi_native allow"
                )


check_private_names()
