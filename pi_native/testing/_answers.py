"""The answers of the gateway: given events, bytes and errors, and the union of all answers.

An answer makes a `Response` to a request. Wrong types raise `TypeError` when a script is written,
in the line that is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from . import _frames
from ._checks import check_bytes, check_events, check_optional_text, check_status, shown
from ._event_stream import and_done, as_wire, event_stream
from ._faults import Fault, in_order
from ._recording.replay import Recorded
from ._replies import FailedTurn, Reply
from ._request import RecordedRequest
from ._response import Framing, Response, merged, phrase

__all__ = [
    "Answer",
    "Events",
    "HTTPError",
    "Raw",
    "Scripted",
    "Verbatim",
    "answer_of",
    "check_answer",
]

_ERROR_TYPES = {
    401: "authentication_error",
    403: "authentication_error",
    429: "rate_limit_error",
    499: "request_aborted",
}


@attrs.frozen
class Events:
    """A turn of given events, objects of `pi_native` or wire JSON; `done` adds `[DONE]`."""

    events: Sequence[Any] = attrs.field(validator=check_events)
    done: bool = attrs.field(default=True, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, _api: str) -> Response:
        """Return the events unchanged."""
        frames = [_frames.frame(as_wire(event)) for event in self.events]
        pieces = and_done(frames) if self.done else frames
        return event_stream(request, pieces, faults=self.fault)


@attrs.frozen
class Raw:
    """A body of given bytes. Each item of a list is one piece, and one HTTP chunk when chunked."""

    body: bytes | Sequence[bytes] = attrs.field(validator=check_bytes)
    framing: Framing = attrs.field(default="chunked", kw_only=True)
    status: int = attrs.field(default=200, kw_only=True, validator=check_status)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, request: RecordedRequest, _api: str) -> Response:
        """Return the body, as an event stream unless the headers say otherwise."""
        return event_stream(
            request,
            _byte_pieces(self.body),
            status=self.status,
            headers=self.headers,
            framing=self.framing,
            faults=self.fault,
        )


@attrs.frozen
class Verbatim:
    """A whole HTTP response of given bytes, status line included; then the connection is closed."""

    response: bytes | Sequence[bytes] = attrs.field(validator=check_bytes)
    keep_alive: bool = attrs.field(default=False, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, _request: RecordedRequest, _api: str) -> Response:
        """Return the bytes."""
        pieces = _byte_pieces(self.response)
        return Response(pieces=pieces, framing=None, faults=self.fault, keep_alive=self.keep_alive)


@attrs.frozen
class HTTPError:
    """An HTTP error: `{"error": {"type", "message"}}`, or another body.

    `type` defaults to the one that the gateway uses for the status. A `body` of bytes or str is
    sent unchanged, any other as JSON.
    """

    status: int = attrs.field(validator=[check_status, attrs.validators.instance_of(int)])
    message: str | None = attrs.field(default=None, validator=check_optional_text)
    type: str | None = attrs.field(default=None, kw_only=True)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    body: Any = attrs.field(default=None, kw_only=True)
    fault: tuple[Fault, ...] = attrs.field(default=(), kw_only=True, converter=in_order)

    def respond(self, _request: RecordedRequest, _api: str) -> Response:
        """Return the error."""
        content, body = self._content()
        return Response(
            pieces=_byte_pieces(body),
            status=self.status,
            headers=merged({"Content-Type": content, "Cache-Control": "no-store"}, self.headers),
            framing="length",
            faults=self.fault,
        )

    def _content(self) -> tuple[str, bytes]:
        if isinstance(self.body, bytes):
            return "application/octet-stream", self.body
        if isinstance(self.body, str):
            return "text/plain; charset=utf-8", self.body.encode()
        body = self.body if self.body is not None else {"error": self._error()}
        return "application/json; charset=utf-8", _frames.dumps(body)

    def _error(self) -> dict[str, str]:
        message = phrase(self.status) if self.message is None else self.message
        return {"type": self.type or _error_type(self.status), "message": message}


Answer: TypeAlias = Reply | FailedTurn | Events | Raw | Verbatim | HTTPError | Recorded
#: An entry of a script.
Scripted: TypeAlias = Answer | Callable[[RecordedRequest], Answer]


def answer_of(entry: Any, request: RecordedRequest) -> Answer:
    """Return the answer of a script entry, which may be a function of the request."""
    answer = entry if hasattr(entry, "respond") else entry(request)
    return check_answer(answer, "the function in the script returned")


def check_answer(answer: Answer, what: str = "an entry of the script is") -> Answer:
    """Return the answer. Raise TypeError if it is not one."""
    if not hasattr(answer, "respond"):
        raise TypeError(f"{what} {shown(answer)}; expected an answer such as Reply('Hello')")
    return answer


def _byte_pieces(body: bytes | Sequence[bytes]) -> list[bytes]:
    # An empty chunk would be the last one.
    return [piece for piece in ([body] if isinstance(body, bytes) else body) if piece]


def _error_type(status: int) -> str:
    return _ERROR_TYPES.get(status, "upstream_error" if status >= 500 else "invalid_request_error")
