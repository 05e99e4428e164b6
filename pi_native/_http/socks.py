"""The handshake with a SOCKS proxy, on a connection that can be cut.

PySocks, the extra `requests[socks]`, speaks the protocol. Its sockets connect by themselves, so
they get a socket that is connected to the proxy already.
"""

from __future__ import annotations

import functools
import socket
from typing import Any

from .connection import RECHECK_SECONDS, SocketHandle, receive_into


def negotiate(
    sock: socket.socket, options: dict[str, Any], target: tuple[str, int], handle: SocketHandle
) -> socket.socket:
    """Have the SOCKS proxy behind `sock` connect to the target. PySocks speaks the protocol."""
    negotiator = _socks_socket_class()(sock.family, sock.type, sock.proto, fileno=sock.detach())
    try:
        negotiator.handle = handle
        negotiator.set_proxy(
            options["socks_version"],
            options["proxy_host"],
            int(options["proxy_port"] or 1080),
            options["rdns"],
            options["username"],
            options["password"],
        )
        negotiator.settimeout(RECHECK_SECONDS)
        negotiator.connect(target)
        return socket.socket(sock.family, sock.type, sock.proto, fileno=negotiator.detach())
    except BaseException:
        negotiator.close()
        raise


@functools.cache
def _socks_socket_class() -> Any:
    import socks  # type: ignore[import-untyped]  # the extra requests[socks]

    class Connected(socket.socket):
        def connect(self, address: Any) -> None:
            """Do nothing: the socket is connected to the proxy already."""

    class Negotiator(socks.socksocket, Connected):  # type: ignore[misc]
        """Asks the proxy over a connected socket; a cut ends the wait for its answer."""

        handle: SocketHandle

        def recv_into(self, buffer: Any, *_: Any) -> int:
            return receive_into(super(), buffer, self.handle)

    return Negotiator
