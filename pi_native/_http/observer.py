"""The interface for code that watches a transport, such as `pi_native.testing.record`.

A transport without an observer asks for one once per exchange, and never per chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from .._protocol.request import Request
    from .connection import SocketHandle
    from .gateway_response import GatewayResponse


class TransportObserver(Protocol):
    """Watches one exchange. Its methods must not raise: the turn would fail."""

    def failed(self, error: Exception) -> None:
        """Note that there is no response."""

    def answered(self, response: GatewayResponse) -> None:
        """Note the head of the response."""

    def read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the chunks of the body unchanged."""

    def closed(self) -> None:
        """Note the end. Called at least once for an exchange that has a response."""


Observe: TypeAlias = "Callable[[Request, SocketHandle], TransportObserver | None]"
"""Called for each request that is about to be sent; returns its observer, or None."""
