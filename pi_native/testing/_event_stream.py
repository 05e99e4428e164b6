"""Responses with a stream of events."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pi_native import to_wire

from . import _frames
from ._request import RecordedRequest
from ._response import Response, merged

__all__ = ["and_done", "as_wire", "event_stream", "identity"]

_EVENT_STREAM = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


def event_stream(request: RecordedRequest, pieces: Iterable[bytes], **more: Any) -> Response:
    """Return a response with these pieces and the headers of an event stream."""
    headers = merged({**_EVENT_STREAM, **identity(request)}, more.pop("headers", {}))
    return Response(pieces=pieces, headers=headers, **more)


def identity(request: RecordedRequest) -> dict[str, str]:
    """Return the headers that identify the response to a turn."""
    named = {"x-request-id": request.request_id, "request-id": request.request_id}
    if request.method != "POST":
        return named  # a page has no model
    return {**named, "x-litellm-model-id": request.model.partition("/")[2]}


def and_done(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the frames and the closing `[DONE]`."""
    yield from frames
    yield _frames.DONE


def as_wire(value: Any) -> Mapping[str, Any]:
    """Return wire JSON for an object of `pi_native`; a mapping is returned unchanged."""
    return value if isinstance(value, Mapping) else to_wire(value)
