"""A recorded response as an answer: the same bytes in the same pieces, at the recorded pace."""

import os
from collections.abc import Iterator

import attrs

from .._faults import Fault, HangUp, Stall
from .._request import RecordedRequest, asked_model
from .._response import Framing, Response
from .file import RecordedTurn, load

__all__ = ["Recorded", "recorded"]

# These headers depend on the connection, or were true before the body was decompressed.
_NOT_REPLAYED = {"connection", "keep-alive", "transfer-encoding", "content-encoding"}


@attrs.frozen(repr=False)
class Recorded:
    """A recorded response. `speed` 2 is twice as fast as recorded, None is without delays."""

    exchange: RecordedTurn
    speed: float | None = None
    keep_alive: bool = True

    def __repr__(self) -> str:
        exchange = self.exchange
        status = "no answer" if exchange.status is None else exchange.status
        asked = " ".join(filter(None, [exchange.method, exchange.path, self.model]))
        return f"<recorded {asked}: {status}>"

    @property
    def model(self) -> str | None:
        """The model of the request; None for a page."""
        return asked_model(self.exchange.body)

    def respond(self, _request: RecordedRequest, _api: str) -> Response:
        """Return the response; where it was cut or left, it hangs up or stalls."""
        exchange = self.exchange
        return Response(
            pieces=[data for _, data in exchange.pieces],
            status=exchange.status or 200,
            reason=exchange.reason,
            headers=self._headers(),
            framing=self._framing(),
            faults=self._fault(),
            keep_alive=self.keep_alive,
            due=self._due(),
        )

    def _headers(self) -> dict[str, str]:
        names = {name.lower() for name in self.exchange.headers}
        unwanted = set(_NOT_REPLAYED)
        if self.exchange.end == "complete" or "content-encoding" in names:
            unwanted.add("content-length")  # counted again: the file may have been edited
        headers = self.exchange.headers.items()
        return {name: value for name, value in headers if name.lower() not in unwanted}

    def _framing(self) -> Framing:
        headers = {name.lower(): value for name, value in self.exchange.headers.items()}
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return "chunked"
        return "length" if "content-length" in headers else "close"

    def _fault(self) -> tuple[Fault, ...]:
        exchange = self.exchange
        after = None if exchange.status is None else len(exchange.pieces)
        if exchange.end == "complete":
            return ()
        if exchange.end == "left":
            return (Stall(after),)
        return (HangUp(after, reset=exchange.end == "reset"),)

    def _due(self) -> list[float]:
        """Return the times of the head, each piece and the end, in seconds after the request."""
        if self.speed is None:
            return []
        exchange = self.exchange
        head = exchange.ended_at if exchange.status is None else exchange.answered_at
        times = [head, *(at for at, _ in exchange.pieces), exchange.ended_at]
        return [at / self.speed for at in times]


def recorded(path: str | os.PathLike[str], speed: float | None) -> Iterator[Recorded]:
    """Yield the answers of a recording, in the order of their requests."""
    if speed is not None and not speed > 0:
        raise ValueError(f"speed must be more than 0, but is {speed}")
    exchanges = load(path)
    # When a kept connection is closed without a response, a client sends the request again on a new
    # one. That would take the next answer.
    keep_alive = all(exchange.status is not None for exchange in exchanges)
    for exchange in exchanges:
        yield Recorded(exchange, speed, keep_alive)
