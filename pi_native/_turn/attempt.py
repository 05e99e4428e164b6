"""One HTTP attempt of a turn: send, check the response, read the events, drain, publish.

All of it runs in the worker thread, in one straight line. The worker holds the turn and never the
stream, closes what it opened, and checks whether the turn is over before it handles an
exception: after a cut any exception may be raised, or the response may even end cleanly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .._http.connection import SocketHandle
from .._http.gateway_response import GatewayResponse
from .._http.timeouts import longest_of
from .._http.transport import Transport
from .._protocol.decoder import EventDecoder
from .._protocol.error_response import MAX_BODY_BYTES, refusal
from .._protocol.request import Request
from .._protocol.rules import ended_early, quote
from .._threads.signals import is_set
from .._threads.timers import timer_thread
from .._types.events import AssistantMessageEvent
from .._types.failure import failure_of
from .._types.options import ResponseInfo, SseEvent
from ..errors import (
    AuthGatewayError,
    GatewayConnectionError,
    PiNativeError,
    ProviderError,
    StreamProtocolError,
)
from .logs import callback_raised
from .state import TurnOutcome
from .turn import Turn

# What follows the terminal event is read so that the connection can serve the next turn. Publishing
# before that made a caller's next turn open a second connection in a quarter of the tries. Waiting
# for a peer that never ends its response would delay the caller.
_DRAIN_SECONDS = 1.0
_DRAIN_BYTES = 1024 * 1024
_PUBLISH_SECONDS = 0.04
_ERROR_BODY_SECONDS = 10.0
_QUOTED_BYTES = 400
# No line of an event stream begins with these: they are JSON or HTML with the wrong content type.
_PAGES = (b"{", b"[", b"<", b'"')

Read = Callable[[], bool]


class TurnFailedError(Exception):
    """The provider failed the turn before any content came, and another attempt is allowed."""

    def __init__(self, failure: ProviderError, delay: float) -> None:
        super().__init__(failure)
        self.failure = failure
        self.delay = delay


def run_attempt(turn: Turn, transport: Transport, request: Request, *, may_retry: bool) -> None:
    """Make one request and publish its outcome.

    With `may_retry`, a failure before any content leaves no trace in the stream. Raises
    `TurnFailedError` for a failure of the provider that is worth another attempt.
    """
    handle = turn.begin_attempt(request, may_retry=may_retry)
    try:
        response = _send(turn, transport, request, handle)
        with contextlib.closing(response):
            turn.responded(response.info)
            _check_response(turn, response, handle)
            turn.streaming(response.info)
            read = response.reader() if transport.owns_sockets else _releasing(response, handle)
            decoder = EventDecoder(turn.model, turn.options.max_event_bytes, _observer(turn))
            outcome = _read_events(turn, response, read, decoder)
            turn.end(outcome)
            _drain(turn, response, read, decoder, handle, outcome)
            turn.channel.settle(outcome)
    finally:
        turn.end_attempt()


def _send(
    turn: Turn, transport: Transport, request: Request, handle: SocketHandle
) -> GatewayResponse:
    limits = turn.limits
    if transport.owns_sockets:
        return transport.send(request, handle, connect_timeout=limits["connect"], progress=turn)
    # The sockets of a caller's session come into reach with the headers. Until then only its own
    # timeouts end the worker; the caller is freed by the turn's clock all the same.
    turn.await_headers()
    response = transport.send(
        request,
        handle,
        connect_timeout=limits["connect"],
        read_timeout=longest_of(limits["first_event"], limits["idle"]),
    )
    if (descriptor := response.descriptor()) is not None:
        handle.adopt(descriptor)
    return response


def _check_response(turn: Turn, response: GatewayResponse, handle: SocketHandle) -> None:
    """Raise an error for a response that is not a stream."""
    if not 200 <= response.info.status <= 299:
        turn.refused()
        raise _refusal(turn, response, handle)
    if response.has_no_body:
        raise AuthGatewayError(
            "auth-gateway returned empty body",
            status=response.info.status,
            headers=response.info.headers,
            request_id=response.info.request_id,
        )


def _refusal(turn: Turn, response: GatewayResponse, handle: SocketHandle) -> AuthGatewayError:
    body = bytearray()
    limit = timer_thread().call_later(_ERROR_BODY_SECONDS, handle.cut)
    # The status is what counts; a body that breaks off, or never ends, does not hide it.
    with contextlib.suppress(PiNativeError):
        for data in response.chunks():
            body += data
            if len(body) >= MAX_BODY_BYTES:
                break
    limit.cancel()
    turn.check()
    return refusal(
        response.info.status,
        response.reason,
        response.info.headers,
        bytes(body[:MAX_BODY_BYTES]),
        request_id=response.info.request_id,
        retry_after=response.retry_after(),
        authorization=response.authorization,
    )


def _read_events(
    turn: Turn, response: GatewayResponse, read: Read, decoder: EventDecoder
) -> TurnOutcome:
    """Hand over events until one ends the turn, or until the response ends."""
    beginning = b""
    outcome = None
    while not decoder.closed:
        turn.channel.wake()  # just before a read that may block; earlier the reader sleeps again
        if not _read_part(turn, response, read):
            outcome = _hand_over(turn, decoder, decoder.finish())
            break
        body = response.body
        turn.received(body.size)
        beginning = beginning or body.content()[:_QUOTED_BYTES]
        outcome = _hand_over(turn, decoder, decoder.feed(body.data, body.spans))
    if outcome is None:
        return _incomplete(turn, decoder, response.info, beginning)
    if outcome.result is not None and outcome.result.stop_reason == "error":
        failure = failure_of(outcome.result)
        if (delay := turn.retry_delay(failure)) is not None:
            raise TurnFailedError(failure, delay)
    turn.give_up_retrying()
    return outcome


def _read_part(turn: Turn, response: GatewayResponse, read: Read) -> bool:
    """Read the next part of the body; return False at its end."""
    try:
        more = read()
    except Exception as exc:  # noqa: BLE001 - after a cut even AttributeError was seen
        turn.check()
        failure = response.failure(exc)
    else:
        turn.check()
        return more
    turn.truncated = isinstance(failure, GatewayConnectionError)
    try:
        raise failure  # not in the handler: its exception would be the context, with the request
    finally:
        del failure


def _hand_over(
    turn: Turn, decoder: EventDecoder, events: Iterator[AssistantMessageEvent]
) -> TurnOutcome | None:
    """Hand over the events of one read at once; return the outcome if one of them is terminal.

    No event is late by that: the next one is behind the next read.
    """
    batch: list[AssistantMessageEvent] = []
    outcome = None
    try:
        for event in events:
            batch.append(event)  # one by one: the events before a failure are handed over
    finally:
        if batch:
            outcome = turn.progress(batch, at_end=decoder.closed)
    return outcome


def _incomplete(
    turn: Turn, decoder: EventDecoder, response: ResponseInfo, beginning: bytes
) -> TurnOutcome:
    """Return the outcome of a response that ended without a terminal event."""
    turn.give_up_retrying()
    if not decoder.framed:
        _check_content_type(response, beginning)
    turn.truncated = True
    if is_set(turn.options.signal):
        return turn.cancelled_outcome(None)
    outcome = ended_early(turn.model, turn.options.on_incomplete)
    return outcome if outcome.failure is None else turn.failed(outcome.failure)


def _check_content_type(response: ResponseInfo, beginning: bytes) -> None:
    """Refuse a page that is no event stream; read as one, it would be an empty success."""
    kind = response.headers.get("content-type", "")
    says_stream = "text/event-stream" in kind.lower() and not beginning.lstrip().startswith(_PAGES)
    if says_stream or not beginning.strip():
        return
    start = quote(beginning.decode("utf-8", "replace"))
    raise StreamProtocolError(f"the answer is no event stream but {kind or 'untyped'}: {start}")


def _drain(
    turn: Turn,
    response: GatewayResponse,
    read: Read,
    decoder: EventDecoder,
    handle: SocketHandle,
    outcome: TurnOutcome,
) -> None:
    """Read what follows the end, so that the connection can serve the next turn.

    The outcome is published after 40 ms, however long this takes.
    """
    timers = timer_thread()
    publish = timers.call_later(_PUBLISH_SECONDS, lambda: turn.channel.settle(outcome))
    limit = timers.call_later(_DRAIN_SECONDS, handle.cut)
    drained = 0
    # What follows the end is dropped, and so is any fault in it.
    with contextlib.suppress(Exception):
        while (more := read()) and drained <= _DRAIN_BYTES:
            body = response.body
            drained += body.size
            for _ in decoder.feed(body.data, body.spans):
                pass
        if not more:
            response.give_back()
    publish.cancel()
    limit.cancel()


def _releasing(response: GatewayResponse, handle: SocketHandle) -> Read:
    """Return the reader of a session's response.

    The last read may give the connection back to the session, and then it belongs to another turn.
    """
    read = response.reader()

    def read_and_release() -> bool:
        more = read()
        if not response.has_connection:
            handle.release()
        return more

    return read_and_release


def _observer(turn: Turn) -> Callable[[SseEvent], None] | None:
    callback = turn.options.on_sse_event
    if callback is None:
        return None

    def observe(event: SseEvent) -> None:
        try:
            callback(event)
        except Exception:  # noqa: BLE001 - an observer must not break a turn
            callback_raised("on_sse_event")

    return observe
