"""One HTTP response: its head, and how each piece of its body is framed."""

from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Literal

import attrs

from . import _frames
from ._faults import Fault, in_order

__all__ = ["Framing", "Response", "merged", "phrase"]

Framing = Literal["chunked", "length", "close"]


@attrs.frozen(kw_only=True)
class Response:
    """One HTTP response, ready to be sent piece by piece.

    `framing` None means that the pieces are the response, head and all.
    """

    pieces: Iterable[bytes] = ()
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    framing: Framing | None = "chunked"
    faults: tuple[Fault, ...] = attrs.field(default=(), converter=in_order)
    keep_alive: bool = True
    reason: str | None = None
    #: When the head, each piece, and the end are due, in seconds after the request; empty: at once.
    due: Sequence[float] = ()

    @classmethod
    def json(cls, status: int, body: object) -> "Response":
        """Return a JSON response, its length known."""
        headers = {"Content-Type": "application/json"}
        return cls(pieces=[_frames.dumps(body)], status=status, headers=headers, framing="length")

    @classmethod
    def error(cls, status: int, kind: str, message: str) -> "Response":
        """Return an error as the protocol's handlers write it."""
        return cls.json(status, {"error": {"type": kind, "message": message}})

    def measured(self) -> "Response":
        """Return the response with its length in the headers, if that is how it is framed."""
        if self.framing != "length":
            return self
        pieces = list(self.pieces)
        length = {"Content-Length": str(sum(map(len, pieces)))}
        return attrs.evolve(self, pieces=pieces, headers=merged(length, self.headers))

    def head(self, *, keep_alive: bool) -> bytes:
        """Return the status line and headers, up to and with the empty line; none if verbatim."""
        if self.framing is None:
            return b""
        headers = {"Date": formatdate(usegmt=True)}
        if self.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        headers["Connection"] = "keep-alive" if keep_alive else "close"
        lines = [f"HTTP/1.1 {self.status} {self.reason or phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in merged(headers, self.headers).items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def merged(defaults: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return both, `own` winning; names are compared without case."""
    taken = {name.lower() for name in own}
    return {**{k: v for k, v in defaults.items() if k.lower() not in taken}, **own}


def phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
