"""What can go wrong on the wire, and where.

Every fault has an `after`: how many events (frames, pieces of a body; the closing `[DONE]` counts
as one) are sent before it strikes. 0 is after the response headers and before the first event, None
before any byte of the response, and a number past the end means after the last piece, where the end
of the body is still to come.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import attrs

__all__ = [
    "BadChunk",
    "Endless",
    "Fault",
    "FaultTarget",
    "Garbage",
    "HangUp",
    "Slow",
    "Stall",
    "in_order",
    "position",
]


class FaultTarget(Protocol):
    """The response being sent, as a fault sees it."""

    delay: float
    false_size: bytes | None

    def stall(self, seconds: float | None) -> None:
        """Send nothing for this long, or until released."""

    def send_piece(self, data: bytes) -> None:
        """Send this as one piece of the body."""

    def repeat(self, data: bytes, seconds: float) -> None:
        """Send this again and again, so many seconds apart, until released."""

    def send_half(self, data: bytes) -> None:
        """Send half of this piece of the body."""

    def hang_up(self, *, reset: bool) -> None:
        """Cut the connection."""


def _check_after(_instance: object, _attribute: object, value: int | None) -> None:
    if value is not None and value < 0:
        raise ValueError(f"after must not be negative, but is {value}")


@attrs.frozen
class Stall:
    """Sends nothing more, for `seconds`, or else until somebody lets go.

    That is the client by hanging up, the test by `RecordedRequest.release()` or
    `FakeGateway.release()`, or the gateway's closing. Once released or past `seconds`, the answer
    goes on as if nothing had been.
    """

    after: int | None = attrs.field(default=0, validator=_check_after)
    seconds: float | None = None

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Stall."""
        wire.stall(self.seconds)


@attrs.frozen
class HangUp:
    """Cuts the TCP connection: with a FIN, or with `reset=True` an RST.

    `mid_event=True` sends half of what comes next before that, so that the cut falls inside an
    event and its HTTP chunk, or inside the headers.
    """

    after: int | None = attrs.field(default=0, validator=_check_after)
    reset: bool = attrs.field(default=False, kw_only=True)
    mid_event: bool = attrs.field(default=False, kw_only=True)

    def strike(self, wire: FaultTarget, upcoming: bytes) -> None:
        """Hang up."""
        if self.mid_event:
            wire.send_half(upcoming)
        wire.hang_up(reset=self.reset)


@attrs.frozen
class Garbage:
    """Puts bytes between two events that are no event; then the answer goes on.

    Without `data` it is what a proxy likes to write into a stream that it has given up. Before the
    response (`after=None`) the bytes are sent bare, else as a piece of the body.
    """

    after: int | None = attrs.field(default=0, validator=_check_after)
    data: bytes = b"data: 429 Too Many Requests\n\n"

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Send the garbage."""
        wire.send_piece(self.data)


@attrs.frozen
class Slow:
    """Waits for `delay` seconds before each of the events that follow."""

    delay: float
    after: int | None = attrs.field(default=0, validator=_check_after)

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Slow down from here on."""
        wire.delay = self.delay


@attrs.frozen
class BadChunk:
    """Lies about the size of the HTTP chunk that comes next, in a chunked answer; then goes on.

    `size` is what is said in its place: hexadecimal digits, or bytes that are no number at all.
    Past the end it is the last chunk that lies.
    """

    after: int | None = attrs.field(default=0, validator=_check_after)
    size: bytes = b"zz"

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Have the next size be false."""
        wire.false_size = self.size


@attrs.frozen
class Endless:
    """Never ends: sends `data` again and again, `seconds` apart, until somebody lets go.

    Without `data` these are keep-alives, in which there is no news. An event that never ends is
    `Endless(data=b"x" * 65536, seconds=0)`. For who lets go, see `Stall`.
    """

    after: int | None = attrs.field(default=0, validator=_check_after)
    data: bytes = b": still there\n\n"
    seconds: float = attrs.field(default=0.01, kw_only=True)

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Send no end of data."""
        wire.repeat(self.data, self.seconds)


Fault: TypeAlias = Stall | HangUp | Garbage | Slow | BadChunk | Endless


def position(fault: Fault) -> int:
    """Return after how many pieces the fault strikes, -1 for before the response."""
    return -1 if fault.after is None else fault.after


def in_order(faults: Fault | Sequence[Fault]) -> tuple[Fault, ...]:
    """Return one fault or several as a tuple, the earliest first."""
    several = faults if isinstance(faults, Sequence) else (faults,)
    return tuple(sorted(several, key=position))
