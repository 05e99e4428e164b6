"""What may look on while a transport works. `pi_native.testing.record` does; nothing else here.

A transport that nobody looks at asks once an exchange whether somebody does, and never a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .._protocol.request import Request
    from .connection import SocketHandle
    from .gateway_response import GatewayResponse


class Watch(Protocol):
    """Looks on at one exchange. What it does must not raise: it is no part of the turn."""

    def failed(self, error: Exception) -> None:
        """There is no answer."""

    def answered(self, answer: GatewayResponse) -> None:
        """The answer's headers are in."""

    def read(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Hand the body through, as it is."""

    def closed(self) -> None:
        """Nothing more is read. Called at least once for an exchange that has an answer."""


class Tap(Protocol):
    """Looks on at every exchange of a transport."""

    def sending(self, request: Request, lifeline: SocketHandle) -> Watch | None:
        """A request is about to be sent; what is returned looks on at what becomes of it."""
