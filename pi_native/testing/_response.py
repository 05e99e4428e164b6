"""One HTTP response, and how it is sent with the faults that its script asks for."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Literal, Protocol

import attrs

from . import _frames
from ._faults import Fault, in_order, position
from ._request import RecordedRequest

__all__ = ["Framing", "Response", "ResponseSender", "merged", "phrase"]

Framing = Literal["chunked", "length", "close"]


@attrs.frozen(kw_only=True)
class Response:
    """One HTTP response, ready to be sent piece by piece.

    With `framing=None` the pieces are the whole response, status line included.
    """

    pieces: Iterable[bytes] = ()
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    framing: Framing | None = "chunked"
    faults: tuple[Fault, ...] = attrs.field(default=(), converter=in_order)
    keep_alive: bool = True
    reason: str | None = None
    #: Seconds after the request at which the head, each piece and the end are sent. Empty: at once.
    due: Sequence[float] = ()

    @classmethod
    def json(cls, status: int, body: object) -> "Response":
        """Return a JSON response with its length."""
        headers = {"Content-Type": "application/json"}
        return cls(pieces=[_frames.dumps(body)], status=status, headers=headers, framing="length")

    @classmethod
    def error(cls, status: int, kind: str, message: str) -> "Response":
        """Return an error in the form of the protocol."""
        return cls.json(status, {"error": {"type": kind, "message": message}})

    def measured(self) -> "Response":
        """Return the response with Content-Length, if it is framed by its length."""
        if self.framing != "length":
            return self
        pieces = list(self.pieces)
        length = {"Content-Length": str(sum(map(len, pieces)))}
        return attrs.evolve(self, pieces=pieces, headers=merged(length, self.headers))

    def head(self, *, keep_alive: bool) -> bytes:
        """Return the status line, the headers and the empty line; nothing if verbatim."""
        if self.framing is None:
            return b""
        headers = {"Date": formatdate(usegmt=True)}
        if self.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        headers["Connection"] = "keep-alive" if keep_alive else "close"
        lines = [f"HTTP/1.1 {self.status} {self.reason or phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in merged(headers, self.headers).items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


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


def merged(defaults: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return both, with `own` replacing defaults of the same name in any case."""
    taken = {name.lower() for name in own}
    return {**{k: v for k, v in defaults.items() if k.lower() not in taken}, **own}


def phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
