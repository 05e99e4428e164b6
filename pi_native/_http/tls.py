"""A TLS socket whose handshake any thread can end."""

from __future__ import annotations

import errno
import ssl
from typing import Any

from .connection import RECHECK_SECONDS
from .sending import current_handle


class CancellableTLSSocket(ssl.SSLSocket):
    """A TLS socket whose handshake looks whether the connection was cut."""

    def getpeername(self) -> Any:
        """Return the address of the peer. Closes the socket if the connection is gone.

        The constructor of `ssl.SSLSocket` asks for it. Without a peer it would either return a
        socket without TLS, or raise and leave the socket open.
        """
        try:
            return super().getpeername()
        except OSError as exc:
            self.close()
            raise ConnectionResetError(
                errno.ECONNRESET, "the connection was closed before the TLS handshake"
            ) from exc

    def do_handshake(self, block: bool = False) -> None:
        handle, timeout = current_handle(), self.gettimeout()
        self.settimeout(RECHECK_SECONDS)
        try:
            while True:
                try:
                    super().do_handshake(block)
                    return
                except TimeoutError:
                    handle.check()
        finally:
            self.settimeout(timeout)
