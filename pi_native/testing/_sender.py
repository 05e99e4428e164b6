"""Send one response of the fake gateway, with the faults that its script asks for."""

import threading
import time
from typing import Protocol

from ._faults import position
from ._request import RecordedRequest
from ._response import Response

__all__ = ["ResponseSender"]


class Wire(Protocol):
    """The connection that a response is sent on."""

    def send(self, data: bytes) -> None:
        """Send all of the data."""

    def wait(self, seconds: float, event: threading.Event | None = None) -> None:
        """Wait for so many seconds or for the event; stop when the client closes the connection."""

    def hang_up(self, *, reset: bool) -> None:
        """Cut the connection from this side."""


class ResponseSender:
    """Sends one response; its faults change how."""

    def __init__(self, wire: Wire, request: RecordedRequest, response: Response) -> None:
        self.delay = 0.0
        self.false_size: bytes | None = None
        self._wire = wire
        self._request = request
        self._response = response
        self._faults = list(response.faults)
        self._chunked = False  # the head is not chunked

    def run(self, *, keep_alive: bool) -> None:
        """Send the response."""
        self._wait_until_due(0)
        self._send_head(self._response.head(keep_alive=keep_alive))
        for count, piece in enumerate(self._response.pieces):
            self._wait_until_due(count + 1)
            self._apply_faults(count, piece)
            self._wire.wait(self.delay)
            self.send_piece(piece)
        self._wait_until_due(-1)
        self._apply_faults(None, b"")
        if self._chunked:
            self._wire.send(self._size(b"") + b"\r\n\r\n")
        self._request.answered.set()

    def _send_head(self, head: bytes) -> None:
        self._apply_faults(-1, head)
        self._wire.send(head)
        self._chunked = self._response.framing == "chunked"

    def _wait_until_due(self, index: int) -> None:
        # Against the time of the request: pauses that are added up drift.
        if due := self._response.due:
            self._wire.wait(self._request.arrived_at + due[index] - time.monotonic())

    def _size(self, data: bytes) -> bytes:
        false, self.false_size = self.false_size, None
        return b"%x" % len(data) if false is None else false

    def _apply_faults(self, count: int | None, upcoming: bytes) -> None:
        """Apply the faults that are due after `count` pieces; None applies all that are left."""
        while self._faults and (count is None or position(self._faults[0]) <= count):
            self._faults.pop(0).strike(self, upcoming)

    # What a fault may do

    def send_piece(self, data: bytes) -> None:
        """Send the data as one piece of the body."""
        if self._chunked:
            data = b"%b\r\n%b\r\n" % (self._size(data), data)
        self._wire.send(data)

    def repeat(self, data: bytes, seconds: float) -> None:
        """Send the data every so many seconds until the request is released."""
        while not self._request.released.is_set():
            self.send_piece(data)
            self._wire.wait(seconds)

    def send_half(self, data: bytes) -> None:
        """Send half of the data, framed as if all of it followed."""
        half = data[: (len(data) + 1) // 2]
        if self._chunked:
            half = b"%x\r\n%b" % (len(data), half)
        self._wire.send(half)

    def stall(self, seconds: float | None) -> None:
        """Send nothing for so many seconds, or until the request is released."""
        self._request.stalled.set()
        self._wire.wait(float("inf") if seconds is None else seconds, self._request.released)

    def hang_up(self, *, reset: bool) -> None:
        """Cut the connection."""
        self._wire.hang_up(reset=reset)
