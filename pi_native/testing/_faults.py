"""Faults of a response, and where they occur.

Every fault has an `after`: the number of events (frames or pieces of a body; the final `[DONE]` is
one) that are sent before it. 0 is after the response headers and before the first event. None is
before any byte of the response. A number past the end is after the last piece, before the end of
the body.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import attrs

from ._checks import check_after, check_seconds

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
    """The response that a fault changes."""

    delay: float
    false_size: bytes | None

    def stall(self, seconds: float | None) -> None:
        """Send nothing for so many seconds, or until the request is released."""

    def send_piece(self, data: bytes) -> None:
        """Send the data as one piece of the body."""

    def repeat(self, data: bytes, seconds: float) -> None:
        """Send the data every so many seconds until the request is released."""

    def send_half(self, data: bytes) -> None:
        """Send half of the data, framed as if all of it followed."""

    def hang_up(self, *, reset: bool) -> None:
        """Cut the connection."""


@attrs.frozen
class Stall:
    """Sends nothing more for `seconds`, or until the request is released.

    The test releases it with `RecordedRequest.release()` or `FakeGateway.release()`; after that the
    response continues. It also ends when the client closes the connection or the gateway closes.
    """

    after: int | None = attrs.field(default=0, validator=check_after)
    seconds: float | None = attrs.field(default=None, validator=check_seconds)

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Stop sending."""
        wire.stall(self.seconds)


@attrs.frozen
class HangUp:
    """Closes the TCP connection, with `reset=True` by an RST.

    `mid_event=True` first sends half of the next piece, so that the cut is inside an event and its
    HTTP chunk, or inside the headers.
    """

    after: int | None = attrs.field(default=0, validator=check_after)
    reset: bool = attrs.field(default=False, kw_only=True)
    mid_event: bool = attrs.field(default=False, kw_only=True)

    def strike(self, wire: FaultTarget, upcoming: bytes) -> None:
        """Close the connection."""
        if self.mid_event:
            wire.send_half(upcoming)
        wire.hang_up(reset=self.reset)


@attrs.frozen
class Garbage:
    """Sends bytes that are not an event between two events; then the response continues.

    The default is the text of a proxy that gives up. With `after=None` the bytes come before the
    response, otherwise they are a piece of the body.
    """

    after: int | None = attrs.field(default=0, validator=check_after)
    data: bytes = b"data: 429 Too Many Requests\n\n"

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Send the garbage."""
        wire.send_piece(self.data)


@attrs.frozen
class Slow:
    """Waits for `delay` seconds before each of the following events."""

    delay: float = attrs.field(validator=check_seconds)
    after: int | None = attrs.field(default=0, validator=check_after)

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Delay the following pieces."""
        wire.delay = self.delay


@attrs.frozen
class BadChunk:
    """Sends a wrong size of the next HTTP chunk of a chunked response; then continues.

    `size` replaces the size: hexadecimal digits, or bytes that are not a number. Past the end it is
    the size of the last chunk.
    """

    after: int | None = attrs.field(default=0, validator=check_after)
    size: bytes = b"zz"

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Replace the next size."""
        wire.false_size = self.size


@attrs.frozen
class Endless:
    """Sends `data` every `seconds` until the request is released; see `Stall`.

    The default is a keep-alive comment, which is no event. An event without an end is
    `Endless(data=b"x" * 65536, seconds=0)`.
    """

    after: int | None = attrs.field(default=0, validator=check_after)
    data: bytes = b": still there\n\n"
    seconds: float = attrs.field(default=0.01, kw_only=True, validator=check_seconds)

    def strike(self, wire: FaultTarget, _upcoming: bytes) -> None:
        """Repeat the data."""
        wire.repeat(self.data, self.seconds)


Fault: TypeAlias = Stall | HangUp | Garbage | Slow | BadChunk | Endless


def position(fault: Fault) -> int:
    """Return the number of pieces before the fault, -1 for before the response."""
    return -1 if fault.after is None else fault.after


def in_order(faults: Fault | Sequence[Fault]) -> tuple[Fault, ...]:
    """Return one fault or several as a tuple, the earliest first."""
    several = faults if isinstance(faults, Sequence) else (faults,)
    for fault in several:
        if not isinstance(fault, Fault):
            raise TypeError(f"a fault must be an object such as HangUp(after=3), not {fault!r}")
    return tuple(sorted(several, key=position))
