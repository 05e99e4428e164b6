"""The worker's side of a turn: send, accept or refuse, read to the end, drain.

It holds the turn and never the stream, closes what it opened, and believes no exception before it
has looked whether the turn is over: after a cut, anything at all may be raised, even a clean end of
file.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from ._deadlines import watchdog
from ._http import Answer, Transport
from ._limits import Limits
from ._options import ResponseInfo, SseEvent
from ._protocol import DONE, aborted, ended_early, is_progress, quote, read_event
from ._refusal import MAX_BODY_BYTES, refusal
from ._request import Request
from ._sse import read_sse
from ._stream import outcome_of
from ._turn import Turn, TurnOutcome
from .errors import (
    AuthGatewayError,
    GatewayConnectionError,
    PiNativeError,
    StreamProtocolError,
)

_log = logging.getLogger("pi_native")

# What follows the end is read so that the connection can serve the next turn. Telling the outcome
# before that made a caller's next turn open a second connection in a quarter of the tries; waiting
# for a peer that never ends its answer would hold the caller up.
_DRAIN_SECONDS = 1.0
_DRAIN_BYTES = 1024 * 1024
_HAND_OVER_SECONDS = 0.04
_ERROR_BODY_SECONDS = 10.0
_QUOTED_BYTES = 400


class Exchange:
    """One request and its answer."""

    def __init__(self, turn: Turn, transport: Transport, limits: Limits) -> None:
        self._turn = turn
        self._transport = transport
        self._limits = limits
        self._draining = False
        self._framed = False
        self._beginning = b""

    def run(self, request: Request) -> None:
        """Make the exchange. The outcome is held, not told, so that all is closed before."""
        answer = self._send(request)
        try:
            self._turn.response = answer.info
            self._accept(answer)
            self._turn.clock.enter("first_event", self._limits.first_event)
            self._turn.streaming = True
            if self._turn.options.on_response is not None:
                self._turn.options.on_response(answer.info)
            self._read(answer)
        finally:
            answer.close()

    def _send(self, request: Request) -> Answer:
        turn, limits = self._turn, self._limits
        if not self._transport.has_seam:
            return self._send_through_session(request)
        turn.clock.enter("connect", limits.connect)
        turn.lifeline.connect_timeout = limits.connect
        turn.lifeline.on_connecting = lambda: turn.clock.enter("connect", limits.connect)
        turn.lifeline.on_connected = lambda: turn.clock.enter("headers", limits.first_event)
        turn.check()
        return self._transport.send(request, turn.lifeline)

    def _send_through_session(self, request: Request) -> Answer:
        # Its sockets come into reach with the headers. Until then only its own timeouts end the
        # worker; the caller is freed by the clock all the same.
        limits = self._limits
        self._turn.clock.enter("headers", _sum(limits.connect, limits.first_event))
        answer = self._transport.send(
            request,
            self._turn.lifeline,
            connect_timeout=limits.connect,
            read_timeout=_longest(limits.first_event, limits.idle),
        )
        if (descriptor := answer.descriptor()) is not None:
            self._turn.lifeline.adopt(descriptor)
        return answer

    def _accept(self, answer: Answer) -> None:
        """Raise what an answer other than a stream means."""
        self._turn.check()
        if not 200 <= answer.info.status <= 299:
            self._turn.clock.stop()
            raise self._refusal(answer)
        if answer.has_no_body:
            raise _empty(answer.info)

    def _refusal(self, answer: Answer) -> AuthGatewayError:
        body = bytearray()
        limit = watchdog().call_later(_ERROR_BODY_SECONDS, self._turn.lifeline.cut)
        # The status is the news; a body that breaks off, or never ends, does not hide it.
        with contextlib.suppress(PiNativeError):
            for data in answer.chunks():
                body += data
                if len(body) >= MAX_BODY_BYTES:
                    break
        limit.cancel()
        self._turn.check()
        return refusal(
            answer.info.status,
            answer.reason,
            answer.info.headers,
            bytes(body[:MAX_BODY_BYTES]),
            request_id=answer.info.request_id,
            retry_after=answer.retry_after(),
        )

    def _read(self, answer: Answer) -> None:
        frames = read_sse(self._body(answer), self._turn.options.max_event_bytes)
        outcome = self._events(frames) or self._incomplete()
        self._turn.channel.hold(outcome)
        self._turn.clock.stop()
        self._drain(frames)

    def _events(self, frames: Iterator[tuple[SseEvent, bool]]) -> TurnOutcome | None:
        """Hand on the events until one ends the turn; None when the stream ends without one."""
        turn = self._turn
        progressed = False
        for frame, trailing in frames:
            self._framed = True
            self._observe(frame)
            if frame.data == DONE:
                break
            event = read_event(frame.data, trailing=trailing, model=turn.model)
            if event is None:
                continue
            outcome = outcome_of(event)
            if outcome is not None:
                turn.channel.note(event)
                return outcome
            if is_progress(event):
                progressed = self._progress(progressed)
            turn.channel.push(event)
        return None

    def _progress(self, before: bool) -> bool:
        if before:
            self._turn.clock.restart()
        else:
            self._turn.clock.enter("idle", self._limits.idle)
        return True

    def _incomplete(self) -> TurnOutcome:
        turn = self._turn
        self._check_kind()
        turn.truncated = True
        if turn.caller_aborted():
            return aborted(turn.model)
        outcome = ended_early(turn.model, turn.options.on_incomplete)
        return outcome if outcome.failure is None else turn.failed(outcome.failure)

    def _check_kind(self) -> None:
        """Refuse a page that is no event stream; read as one, it would be an empty success."""
        info = self._turn.response
        kind = info.headers.get("content-type", "") if info is not None else ""
        if self._framed or "text/event-stream" in kind.lower() or not self._beginning.strip():
            return
        start = quote(self._beginning.decode("utf-8", "replace"))
        raise StreamProtocolError(f"the answer is no event stream but {kind or 'untyped'}: {start}")

    def _body(self, answer: Answer) -> Iterator[bytes]:
        drained = 0
        try:
            for data in answer.chunks():
                self._check()
                self._beginning = self._beginning or data[:_QUOTED_BYTES]
                yield data
                if self._draining:
                    drained += len(data)
                    if drained > _DRAIN_BYTES:
                        return
        except GatewayConnectionError:
            self._check()
            self._turn.truncated = not self._draining
            raise
        self._check()

    def _check(self) -> None:
        if not self._draining:
            self._turn.check()

    def _drain(self, frames: Iterator[tuple[SseEvent, bool]]) -> None:
        self._draining = True
        hand_over = watchdog().call_later(_HAND_OVER_SECONDS, self._turn.channel.release)
        limit = watchdog().call_later(_DRAIN_SECONDS, self._turn.lifeline.cut)
        # Whatever follows the end is dropped, and so is whatever is wrong with it.
        with contextlib.suppress(PiNativeError):
            for frame, _ in frames:
                self._observe(frame)
        hand_over.cancel()
        limit.cancel()

    def _observe(self, frame: SseEvent) -> None:
        if self._turn.options.on_sse_event is None:
            return
        try:
            self._turn.options.on_sse_event(frame)
        except Exception:  # noqa: BLE001 - an observer must not disturb what it observes
            _log.exception("on_sse_event raised")


def _empty(info: ResponseInfo) -> AuthGatewayError:
    return AuthGatewayError(
        "auth-gateway returned empty body",
        status=info.status,
        headers=info.headers,
        request_id=info.request_id,
    )


def _longest(*limits: float | None) -> float | None:
    return None if None in limits else max(limit for limit in limits if limit is not None)


def _sum(*limits: float | None) -> float | None:
    return None if None in limits else sum(limit for limit in limits if limit is not None)
